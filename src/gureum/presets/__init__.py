"""Presets: what a new cloud holds, from one YAML file.

Owns: reading and checking the file (`read`), making what is missing through the REST APIs (`apply`).
Must not: reach into a database. docs/simulated.md shows every key.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gureum.presets.apply import Made, apply
    from gureum.presets.document import PresetError
    from gureum.presets.schema import Preset, read

__all__ = ["Made", "Preset", "PresetError", "apply", "read"]

_WHERE = {"Made": "apply", "apply": "apply", "PresetError": "document", "Preset": "schema",
          "read": "schema"}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a part when it is asked for: most clouds start without a preset."""
    if name in _WHERE:
        import importlib

        found = getattr(importlib.import_module(f"gureum.presets.{_WHERE[name]}"), name)
        globals()[name] = found  # the submodule `apply` would else hide the function
        return found
    raise AttributeError(name)

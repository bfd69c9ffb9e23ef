"""Presets: what a new cloud holds, from one YAML file.

Owns: reading and checking the file (`read`), making what is missing through the REST APIs (`apply`).
Must not: reach into a database. docs/simulated.md shows every key.
"""

from gureum.presets.apply import Made, apply
from gureum.presets.document import PresetError, Problem
from gureum.presets.schema import Preset, read

__all__ = ["Made", "Preset", "PresetError", "Problem", "apply", "read"]

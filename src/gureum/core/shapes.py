"""Types that are decoded by several threads, made ready before there are any.

Owns: `ready`. msgspec learns a dataclass or Struct when it first meets it; two threads that are the first
at once end the process with a segmentation fault (0.22, shown by tests/unit/core_run/test_shapes.py).
Must not: be called from threads that work; a module calls it where it declares its types.
"""

from typing import Any

import msgspec


def ready(*types: Any) -> None:
    """Let msgspec learn types, and what they are made of. Raises: TypeError (it cannot decode one)."""
    for one in types:
        msgspec.msgpack.Decoder(one)

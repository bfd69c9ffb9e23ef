"""Import this first: the chaos tests use the worlds of the saga tests and the servers of the real ones."""

import sys
from pathlib import Path

sys.path[:0] = [
    str(Path(__file__).parents[1] / "saga" / "nova"),
    str(Path(__file__).parents[1] / "real"),
    str(Path(__file__).parents[1] / "api" / "glance"),
    str(Path(__file__).parents[1] / "unit" / "cli"),
]

"""Puts bench/ on the path: its simulated cloud in one process, and what fills it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

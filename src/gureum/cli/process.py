"""The command lines that bring a cloud's processes about.

Owns: which children the supervisor runs and how. Must not: start them.
"""

import os
import sys
from pathlib import Path

from gureum.cli.place import Place
from gureum.provision.supervisor import Child, Plan

CONTROL = "control"
NODE = "node"
SIMULATED = "simulated"


def plan(
    place: Place, *, simulated: bool, user: str | None, python: Path, source: Path, stamp: str
) -> Plan:
    """The children: one of everything when simulated, else control (as `user`) and node (as root).

    python: the interpreter; source: the folder that holds the package, for an environment without
    it; stamp: changes with the program and the settings.
    """
    if simulated:
        children = [_child(place, SIMULATED, ["--bus", "hub", "--bootstrap"], None, python, source)]
    else:
        children = [
            _child(place, CONTROL, ["--bus", "hub", "--bootstrap"], user, python, source),
            _child(place, NODE, ["--bus", "leaf"], None, Path(sys.executable), _own_source()),
        ]
    return Plan(str(place.run_dir), children, stamp)


def _child(
    place: Place, name: str, words: list[str], user: str | None, python: Path, source: Path
) -> Child:
    ready = place.run_dir / f"{name}.ready"
    log = place.log_dir / f"{name}.log"
    argv = [str(python), "-m", "gureum", "run", name]
    if not place.is_production:
        argv += ["--state-dir", str(place.state_dir)]
    argv += ["--process-name", name, "--log-file", str(log), "--ready-file", str(ready), *words]
    env = {
        "PYTHONPATH": str(source),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MALLOC_ARENA_MAX": "2",  # many threads would else keep many heaps
        "PATH": os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin",
        "HOME": str(place.state_dir) if user else os.environ.get("HOME", "/"),
    }
    return Child(name, argv, str(log), str(ready), user, env)


def _own_source() -> Path:
    import gureum

    return Path(gureum.__file__).resolve().parent.parent


def own_source() -> Path:
    """The folder that holds this package."""
    return _own_source()

"""The command lines that bring a cloud's processes about.

Owns: which children the supervisor runs and how. Must not: start them.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gureum import components
from gureum.cli.place import Place
from gureum.provision import daemons
from gureum.provision.daemons import Daemons
from gureum.provision.supervisor import Child, Plan

CONTROL = "control"
NODE = "node"
SIMULATED = "simulated"
BOOTSTRAP = "bootstrap"


MULTIPLIED = ("-api", "-conductor", "-scheduler")
"""How the names end of components that may stand side by side on one machine, beside these two:"""
MULTIPLIED_TOO = ("keystone", "neutron-server")
NOT_MULTIPLIED = ("nova-metadata-api",)


@dataclass(frozen=True, slots=True)
class Makeup:
    """How a cloud's processes are cut.

    simulated: fake drivers. daemons: the database server and the rest of a distributed one; each
    component is a process then. processes: of each API, conductor and scheduler.
    """

    simulated: bool
    daemons: Daemons | None = None
    processes: int = 1


def plan(
    place: Place, makeup: Makeup, *, user: str | None, python: Path, source: Path, stamp: str
) -> Plan:
    """The children: one of everything when simulated, else control (as `user`) and node (as root).

    python: the interpreter; source: the folder that holds the package, for an environment without
    it; stamp: changes with the program and the settings.
    """
    if makeup.daemons is not None:
        children = [
            *daemons.children(makeup.daemons),
            *_distributed(place, makeup, user, python, source),
        ]
    elif makeup.simulated:
        children = [_child(place, SIMULATED, ["--bus", "hub", "--bootstrap"], None, python, source)]
    else:
        control = _child(place, CONTROL, ["--bus", "hub", "--bootstrap"], user, python, source)
        node = _child(place, NODE, ["--bus", "leaf"], None, Path(sys.executable), _own_source())
        children = [control, msgspec.structs.replace(node, stage=2)]
    return Plan(str(place.run_dir), children, stamp)


def multiplied(component: str) -> bool:
    """Whether several processes of a component share the work of one machine."""
    return component in MULTIPLIED_TOO or (
        component.endswith(MULTIPLIED) and component not in NOT_MULTIPLIED
    )


def process_names(component: str, processes: int) -> list[str]:
    """The processes of one component: its name, numbered where there are several."""
    if processes == 1 or not multiplied(component):
        return [component]
    return [f"{component}-{number}" for number in range(1, processes + 1)]


def _distributed(
    place: Place, makeup: Makeup, user: str | None, python: Path, source: Path
) -> list[Child]:
    assert makeup.daemons is not None
    control = components.names(components.CONTROL)
    node = components.simulated_names() if makeup.simulated else components.names(components.NODE)
    found = [_bootstrap(place, list(makeup.daemons.names), user, python, source)]
    after = [found[0].name]
    for component in dict.fromkeys([*control, *node]):
        ours = component in control
        for name in process_names(component, makeup.processes):
            how = (user, python, source) if ours else (None, Path(sys.executable), _own_source())
            words = ["--share-ports"] if name != component else []
            child = _child(place, name, words, *how, parts=[component])
            found.append(msgspec.structs.replace(child, after=after, stage=1 if ours else 2))
    return found


def _bootstrap(
    place: Place, after: list[str], user: str | None, python: Path, source: Path
) -> Child:
    """What must be true of the databases before anything starts."""
    child = _child(place, BOOTSTRAP, [], user, python, source)
    argv = [str(python), "-m", "gureum", "db", "bootstrap"]
    if not place.is_production:
        argv += ["--state-dir", str(place.state_dir)]
    return msgspec.structs.replace(child, argv=argv, after=after, own=False, once=True)


def _child(
    place: Place,
    name: str,
    words: list[str],
    user: str | None,
    python: Path,
    source: Path,
    *,
    parts: Sequence[str] = (),
) -> Child:
    ready = place.run_dir / f"{name}.ready"
    log = place.log_dir / f"{name}.log"
    argv = [str(python), "-m", "gureum", "run", *(parts or [name])]
    if not place.is_production:
        argv += ["--state-dir", str(place.state_dir)]
    argv += ["--process-name", name, "--log-file", str(log), "--ready-file", str(ready), *words]
    env = {
        "PYTHONPATH": str(source),
        **_bytecode(user, source),
        "MALLOC_ARENA_MAX": "2",  # many threads would else keep many heaps
        "PATH": os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin",
        "HOME": str(place.state_dir) if user else os.environ.get("HOME", "/"),
    }
    return Child(name, argv, str(log), str(ready), user, env)


def _bytecode(user: str | None, source: Path) -> dict[str, str]:
    """Let Python keep what it compiled beside the source where that is ours.

    Without it every start of every process compiles the program anew, a second of work each. In somebody
    else's folder root leaves nothing behind.
    """
    try:
        ours = user is None and (source / "gureum").stat().st_uid == os.geteuid()
    except OSError:
        ours = False
    return {"PYTHONDONTWRITEBYTECODE": "" if ours else "1"}


def _own_source() -> Path:
    import gureum

    return Path(gureum.__file__).resolve().parent.parent


def own_source() -> Path:
    """The folder that holds this package."""
    return _own_source()

"""Which machine a process runs on, so that two of them cannot go by one host name.

Owns: the file with the machine's own random name, and the error of a host name that another one has.
Must not: know who keeps the names. A machine's file is made once and stays; whoever keeps host names
writes down the first machine that reports under one, and refuses every other.
"""

import os
import uuid
from datetime import datetime
from pathlib import Path

from gureum.core.bus.contract import AgentError

FILE = "machine_id"


class HostNameTaken(AgentError):
    """Another machine has this host name; what this one says is not taken."""

    code = "host_name_taken"


def machine_id(state_dir: str | Path) -> str:
    """Return the random name of this machine, which is made at the first call. Raises: OSError."""
    path = Path(state_dir) / FILE
    while True:
        try:
            found = path.read_text().strip()
        except FileNotFoundError:
            _make(path)
            continue
        return found


def _make(path: Path) -> None:
    """Write the file whole or not at all; of two processes that do so at once one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = str(uuid.uuid4())
    part = path.with_name(f"{path.name}.{made}")
    part.write_text(made + "\n")
    try:
        os.link(part, path)
    except FileExistsError:
        return
    finally:
        part.unlink()


def taken(host: str, holder: str, heard_at: datetime | None) -> HostNameTaken:
    """Return the refusal of a machine that is not the holder of a host name."""
    heard = f", heard of last at {heard_at:%Y-%m-%d %H:%M:%S} UTC" if heard_at else ""
    return HostNameTaken(
        f"the host name {host} belongs to another machine ({holder}{heard}), so this one does nothing."
        " Give it a name of its own ([gureum] host). If it is meant to take that one's place, with its"
        f" guests, write {holder} to the file {FILE} in its state_dir; if that one is gone for good,"
        " delete its compute service and network agents"
    )

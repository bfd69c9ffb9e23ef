"""Nova's nouns as plain data, and the state machine of a server.

Owns: states, which verb may start in which state, how states are shown, the request a server is built
from. Must not: do I/O. Follows the Compute API guide, "Server concepts" and "Server status".
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from gureum.core.shapes import ready

# -- states of a server ----------------------------------------------------------------------------

BUILDING = "building"
ACTIVE = "active"
STOPPED = "stopped"
PAUSED = "paused"
SUSPENDED = "suspended"
ERROR = "error"
DELETED = "deleted"

VM_STATES = (BUILDING, ACTIVE, STOPPED, PAUSED, SUSPENDED, ERROR, DELETED)

SCHEDULING = "scheduling"
NETWORKING = "networking"
SPAWNING = "spawning"
POWERING_ON = "powering-on"
POWERING_OFF = "powering-off"
REBOOTING = "rebooting"
REBOOTING_HARD = "rebooting_hard"
PAUSING = "pausing"
UNPAUSING = "unpausing"
SUSPENDING = "suspending"
RESUMING = "resuming"
DELETING = "deleting"

POWER_NUMBERS = {
    "nostate": 0,
    "running": 1,
    "paused": 3,
    "shutdown": 4,
    "crashed": 6,
    "suspended": 7,
}
"""The API's numbers for the names that the agent's contract uses."""

STATUS_OF_VM_STATE = {
    BUILDING: "BUILD",
    ACTIVE: "ACTIVE",
    STOPPED: "SHUTOFF",
    PAUSED: "PAUSED",
    SUSPENDED: "SUSPENDED",
    ERROR: "ERROR",
    DELETED: "DELETED",
}

STATUS_OF_TASK = {
    (ACTIVE, REBOOTING): "REBOOT",
    (ACTIVE, REBOOTING_HARD): "HARD_REBOOT",
    (STOPPED, REBOOTING_HARD): "HARD_REBOOT",
    (PAUSED, REBOOTING_HARD): "HARD_REBOOT",
    (SUSPENDED, REBOOTING_HARD): "HARD_REBOOT",
    (ERROR, REBOOTING_HARD): "HARD_REBOOT",
}

OTHER_STATUSES = (
    "MIGRATING",
    "PASSWORD",
    "REBUILD",
    "RESCUE",
    "RESIZE",
    "REVERT_RESIZE",
    "SHELVED",
    "SHELVED_OFFLOADED",
    "SOFT_DELETED",
    "UNKNOWN",
    "VERIFY_RESIZE",
)
"""Statuses of the API that no server here can have yet: filters by them find nothing."""


def status(vm_state: str, task_state: str | None) -> str:
    """Return the `status` that the API shows."""
    special = STATUS_OF_TASK.get((vm_state, task_state or ""))
    return special or STATUS_OF_VM_STATE.get(vm_state, "UNKNOWN")


def states_of_status(wanted: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return the (vm states, task states) that a status filter selects; None for an unknown word.

    Empty task states mean any. A status that no server can have gives no vm states.
    """
    word = wanted.upper()
    for vm_state, shown in STATUS_OF_VM_STATE.items():
        if shown == word:
            return (vm_state,), ()
    pairs = [pair for pair, shown in STATUS_OF_TASK.items() if shown == word]
    if pairs:
        return tuple(vm for vm, _ in pairs), tuple({task for _, task in pairs})
    return ((), ()) if word in OTHER_STATUSES else None


# -- verbs -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verb:
    """What a power verb needs and leads to.

    name: as the API's conflict texts and instance actions call it. action: of the agent's contract.
    """

    name: str
    action: str
    allowed: tuple[str, ...]
    task_state: str
    vm_state: str


START = Verb("start", "start", (STOPPED,), POWERING_ON, ACTIVE)
STOP = Verb("stop", "stop", (ACTIVE, ERROR), POWERING_OFF, STOPPED)
REBOOT_SOFT = Verb("reboot", "reboot_soft", (ACTIVE,), REBOOTING, ACTIVE)
REBOOT_HARD = Verb(
    "reboot", "reboot_hard", (ACTIVE, STOPPED, PAUSED, SUSPENDED, ERROR), REBOOTING_HARD, ACTIVE
)
PAUSE = Verb("pause", "pause", (ACTIVE,), PAUSING, PAUSED)
UNPAUSE = Verb("unpause", "unpause", (PAUSED,), UNPAUSING, ACTIVE)
SUSPEND = Verb("suspend", "suspend", (ACTIVE,), SUSPENDING, SUSPENDED)
RESUME = Verb("resume", "resume", (SUSPENDED,), RESUMING, ACTIVE)

POWER_VERBS = {
    verb.action: verb
    for verb in (START, STOP, REBOOT_SOFT, REBOOT_HARD, PAUSE, UNPAUSE, SUSPEND, RESUME)
}
"""By the action that goes to the agent."""

METADATA_STATES = (ACTIVE, PAUSED, SUSPENDED, STOPPED)
INTERFACE_STATES = (ACTIVE, PAUSED, STOPPED)


def vm_state_of_power(power: int, vm_state: str) -> str:
    """Return the vm state that a guest's own change of power (nobody asked for it) leads to."""
    if vm_state in (BUILDING, ERROR, DELETED):
        return vm_state
    if power in (POWER_NUMBERS["shutdown"], POWER_NUMBERS["crashed"]):
        return STOPPED
    if power == POWER_NUMBERS["paused"]:
        return PAUSED
    if power == POWER_NUMBERS["suspended"]:
        return SUSPENDED
    return ACTIVE if power == POWER_NUMBERS["running"] else vm_state


# -- what a server is built from -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestedNic:
    """One network card asked for: a network to make a port in, or a port that exists.

    `id` is made when the request is accepted, so that a port made for it is found again by its name.
    """

    id: str
    network_id: str | None = None
    port_id: str | None = None
    fixed_ip: str | None = None
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class InjectedFile:
    """A personality file, base64."""

    path: str
    contents_base64: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What was asked for besides what the server's row says; kept in `server_requests`.

    security_groups: ids in Neutron, for ports that are made. force_host/force_node: administrators chose
    the host and no filter is asked (zone:host:node). requested_host/requested_node: the filters still
    decide. group_id: the server group. zone: the wanted availability zone.
    """

    nics: tuple[RequestedNic, ...] = ()
    security_groups: tuple[str, ...] = ()
    scheduler_hints: dict[str, object] = field(default_factory=dict)
    zone: str | None = None
    force_host: str | None = None
    force_node: str | None = None
    requested_host: str | None = None
    requested_node: str | None = None
    group_id: str | None = None
    count: int = 1


ready(BuildRequest)


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a server. kind is "fixed" or "floating"."""

    address: str
    version: int
    kind: str = "fixed"


@dataclass(frozen=True, slots=True)
class Group:
    """A security group that a port wears."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Nic:
    """One port of a server as Neutron said last; `spec` is the agent contract's PortSpec as builtins.

    keep: the port outlives the server.
    """

    port_id: str
    network_id: str
    network_label: str
    mac: str
    tag: str | None = None
    keep: bool = False
    spec: dict[str, object] = field(default_factory=dict)
    addresses: tuple[Address, ...] = ()
    groups: tuple[Group, ...] = ()


def host_id(project_id: str, host: str | None) -> str:
    """Return `hostId`: tells a project's servers on one host apart, names no host."""
    if not host:
        return ""
    return hashlib.sha224((project_id + host).encode()).hexdigest()


def hostname_of(name: str, server_id: str) -> str:
    """Return a host name made from a display name: letters, digits and single hyphens."""
    words = "".join(char if char.isascii() and char.isalnum() else _joint(char) for char in name)
    clean = "-".join(part for part in words.lower().replace("_", "-").split("-") if part)
    return clean[:63].strip("-") or f"server-{server_id}"


def _joint(char: str) -> str:
    return "-" if char in " _.-" else ""


def zone_parts(zone: str) -> tuple[str, str | None, str | None]:
    """Split `zone:host:node`, of which host and node may be missing or empty."""
    parts: Iterable[str] = zone.split(":")
    first, *rest = parts
    host = rest[0] if rest else None
    node = rest[1] if len(rest) > 1 else None
    return first, host or None, node or None

"""The sagas that the API submits: their names and parameters.

The API's logic submits them by name with `logic/submit.py`; `gureum/nova/sagas` holds a `Saga` of each
name whose `params` is the class here. A saga's resource is always the server's id.
Must not: import a saga. Evaluated at run time: no postponed annotations.
"""

from dataclasses import dataclass, field

from gureum.nova.model import InjectedFile, RequestedNic

SERVER_CREATE = "nova.server.create"
SERVER_DELETE = "nova.server.delete"
SERVER_POWER = "nova.server.power"
INTERFACE_ATTACH = "nova.server.interface-attach"
INTERFACE_DETACH = "nova.server.interface-detach"


@dataclass(frozen=True, slots=True)
class ServerCreateParams:
    """Build a server whose row, request and metadata are in nova_cell1.

    The saga declares `secrets=("admin_pass", "personality")`.
    """

    server_id: str
    admin_pass: str = field(default="", repr=False)
    personality: tuple[InjectedFile, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ServerDeleteParams:
    """Delete a server, wherever its row is. Submitted with supersede=True."""

    server_id: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class ServerPowerParams:
    """Do a power verb. action: a key of model.POWER_VERBS; timeout_s bounds an orderly shutdown."""

    server_id: str
    action: str
    timeout_s: int = 60


@dataclass(frozen=True, slots=True)
class InterfaceAttachParams:
    """Plug one more card into a server. nic: a network to make a port in, or an existing port."""

    server_id: str
    nic: RequestedNic
    security_groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InterfaceDetachParams:
    """Unplug a port; a port that was made for the server is deleted."""

    server_id: str
    port_id: str


PARAMS = {
    SERVER_CREATE: ServerCreateParams,
    SERVER_DELETE: ServerDeleteParams,
    SERVER_POWER: ServerPowerParams,
    INTERFACE_ATTACH: InterfaceAttachParams,
    INTERFACE_DETACH: InterfaceDetachParams,
}

TASK_STATES = {
    SERVER_CREATE: "scheduling",
    SERVER_DELETE: "deleting",
    SERVER_POWER: None,
    INTERFACE_ATTACH: None,
    INTERFACE_DETACH: None,
}
"""Shown from the moment of submission; power verbs say theirs (model.Verb.task_state)."""

"""Delete a server from any state: guest, ports, room in placement, row.

It only goes forward: every step accepts that there is nothing left to remove. When a service stays away
for too long the server is in ERROR, and may be deleted again. Follows docs/adr/0003-sagas.md.
"""

from gureum.core.saga.model import Result, Saga, Step
from gureum.nova.logic.saga_params import SERVER_DELETE, ServerDeleteParams
from gureum.nova.model import DELETING
from gureum.nova.sagas.host_jobs import Context, destroy_guest
from gureum.nova.sagas.server_ports import give_back
from gureum.nova.sagas.server_rows import at_mark_of, mark_error
from gureum.nova.store import consoles, groups, mappings
from gureum.nova.store import servers as store

GIVE_UP_S = 900.0


def remove_guest(step: Context) -> Result:
    """Remove the guest and its disks from the host, if it has one."""
    deps = step.deps
    with deps.cells[deps.cell_of(step.resource_id)].read() as tx:
        row = store.get(tx, step.resource_id)
    if row is None or row.host is None:
        return {"host": None}
    destroy_guest(step, row.host)
    return {"host": row.host}


def release_ports(step: Context) -> Result:
    """Delete the ports that were made for the server, and take it from the others."""
    ports = step.deps.ports.of_servers([step.resource_id])
    give_back(step, ports)
    return {"ports": [port.id for port in ports]}


def release_room(step: Context) -> Result:
    """Give its room in placement back."""
    step.deps.placement.release(step.resource_id)
    return None


def forget_server(step: Context) -> Result:
    """Say that the server is gone, in its cell and where quota is counted."""
    deps, server_id = step.deps, step.resource_id
    database = deps.cells[deps.cell_of(server_id)]
    with deps.api.write() as tx:
        mappings.mark_deleted(tx, server_id)
        groups.remove_member(tx, server_id)
        consoles.forget_server(tx, server_id)
    at_mark_of(step, database, lambda tx: store.mark_deleted(tx, server_id))
    return None


def record_failure(step: Context) -> Result:
    """Put the server in ERROR; it may be deleted again."""
    mark_error(step)
    return None


DELETE = Saga(
    SERVER_DELETE,
    Step("guest", do=remove_guest, task_state=DELETING, tries=None, timeout_s=GIVE_UP_S),
    Step("ports", do=release_ports, tries=None, timeout_s=GIVE_UP_S),
    Step("room", do=release_room, tries=None, timeout_s=GIVE_UP_S),
    Step("forget", do=forget_server, tries=None, timeout_s=GIVE_UP_S),
    params=ServerDeleteParams,
    on_failed=record_failure,
    cancellable=False,
)

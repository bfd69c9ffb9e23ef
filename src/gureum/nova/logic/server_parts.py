"""What hangs on a server: metadata, tags, addresses, ports, security groups, password."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gureum.core.context import Context
from gureum.core.db.engine import Tx
from gureum.nova import model
from gureum.nova.deps import Deps
from gureum.nova.errors import (
    Bad,
    MetadataNotFound,
    NotFound,
    PortNotFound,
    SecurityGroupNotFound,
    TagNotFound,
)
from gureum.nova.logic import quotas
from gureum.nova.logic.server_create import check_metadata
from gureum.nova.logic.server_load import Server, check_lock
from gureum.nova.logic.server_verbs import check_vm_state
from gureum.nova.model import Group
from gureum.nova.outside import GroupFacts, PortFacts
from gureum.nova.store import server_nics
from gureum.nova.store import servers as store

MAX_TAGS = 50

# -- metadata --------------------------------------------------------------------------------------


def metadata(server: Server) -> dict[str, str]:
    """Return the user's metadata."""
    with server.database.read() as tx:
        return store.metadata_of(tx, [server.id]).get(server.id, {})


def write_metadata(
    ctx: Context, deps: Deps, server: Server, values: Mapping[str, str], *, replace: bool
) -> dict[str, str]:
    """Write metadata, with `replace` all of it; returns what is there now. Raises: OverQuota."""
    check_lock(ctx, deps, server)
    with deps.api.read() as tx:
        limit = quotas.limits(tx, server.project_id, server.user_id)["metadata_items"]

    def work(tx: Tx) -> dict[str, str]:
        check_vm_state(tx, server, "update metadata", model.METADATA_STATES)
        store.change(tx, server.id)
        if replace:
            check_metadata(limit, dict(values))
            store.replace_metadata(tx, server.id, values)
            return dict(values)
        merged = {**store.metadata_of(tx, [server.id]).get(server.id, {}), **values}
        check_metadata(limit, merged)
        store.merge_metadata(tx, server.id, values)
        return merged

    return server.database.retrying(work)


def delete_metadata(ctx: Context, deps: Deps, server: Server, key: str) -> None:
    """Remove one item. Raises: MetadataNotFound."""
    check_lock(ctx, deps, server)

    def work(tx: Tx) -> None:
        check_vm_state(tx, server, "delete metadata", model.METADATA_STATES)
        if not store.delete_metadata(tx, server.id, key):
            raise MetadataNotFound()
        store.change(tx, server.id)

    server.database.retrying(work)


# -- tags ------------------------------------------------------------------------------------------


def tags(server: Server) -> list[str]:
    """Return the tags."""
    with server.database.read() as tx:
        return store.tags_of(tx, [server.id]).get(server.id, [])


def add_tag(deps: Deps, server: Server, tag: str) -> bool:
    """Add a tag; False when it is there. Raises: Bad."""

    def work(tx: Tx) -> bool:
        check_vm_state(tx, server, "update tag", model.METADATA_STATES)
        have = store.tags_of(tx, [server.id]).get(server.id, [])
        if tag in have:
            return False
        if len(have) >= MAX_TAGS:
            raise Bad(f"The number of tags exceeded the per-server limit {MAX_TAGS}")
        store.add_tag(tx, server.id, tag)
        store.change(tx, server.id)
        return True

    return server.database.retrying(work)


def replace_tags(server: Server, wanted: Sequence[str]) -> list[str]:
    """Write all tags."""

    def work(tx: Tx) -> None:
        check_vm_state(tx, server, "update tags", model.METADATA_STATES)
        store.replace_tags(tx, server.id, wanted)
        store.change(tx, server.id)

    server.database.retrying(work)
    return sorted(set(wanted))


def delete_tag(server: Server, tag: str) -> None:
    """Remove a tag. Raises: TagNotFound."""

    def work(tx: Tx) -> None:
        check_vm_state(tx, server, "delete tag", model.METADATA_STATES)
        if not store.delete_tag(tx, server.id, tag):
            raise TagNotFound(server_id=server.id, tag=tag)
        store.change(tx, server.id)

    server.database.retrying(work)


# -- ports -----------------------------------------------------------------------------------------


def ports(ctx: Context, deps: Deps, server: Server) -> list[tuple[PortFacts, str | None]]:
    """Return the server's ports as the network service has them, with their device tags."""
    found = deps.networks.ports_of_servers(ctx, [server.id])
    with server.database.read() as tx:
        nics = server_nics.of_servers(tx, [server.id]).get(server.id, [])
    order = {nic.port_id: index for index, nic in enumerate(nics)}
    labels = {nic.port_id: nic.tag for nic in nics}
    found.sort(key=lambda port: (order.get(port.id, len(order)), port.id))
    return [(port, labels.get(port.id)) for port in found]


def port(ctx: Context, deps: Deps, server: Server, port_id: str) -> tuple[PortFacts, str | None]:
    """Return one of the server's ports. Raises: PortNotFound."""
    for found in ports(ctx, deps, server):
        if found[0].id == port_id:
            return found
    raise PortNotFound(port_id=port_id)


# -- security groups -------------------------------------------------------------------------------


def groups(ctx: Context, deps: Deps, server: Server) -> list[GroupFacts]:
    """Return the security groups of the server's ports."""
    mine = deps.networks.ports_of_servers(ctx, [server.id])
    ids = sorted({group_id for found in mine for group_id in found.security_groups})
    return deps.networks.groups(ctx, ids=ids) if ids else []


def _group(ctx: Context, deps: Deps, server: Server, name: str) -> GroupFacts:
    known = deps.networks.groups(ctx, server.project_id)
    for group in known:
        if group.id == name:
            return group
    found = [group for group in known if group.name == name]
    if not found:
        raise SecurityGroupNotFound(name=name, project_id=server.project_id)
    if len(found) > 1:
        raise Bad(
            f"Multiple security groups found matching '{name}'. Use an ID to be more specific."
        )
    return found[0]


def add_group(ctx: Context, deps: Deps, server: Server, name: str) -> None:
    """Give all ports of a server a security group. Raises: SecurityGroupNotFound, Bad."""
    check_lock(ctx, deps, server)
    group = _group(ctx, deps, server, name)
    mine = deps.networks.ports_of_servers(ctx, [server.id])
    if not mine:
        raise Bad(f"instance_id {server.id} could not be found as device id on any ports")
    for found in mine:
        if group.id not in found.security_groups:
            deps.networks.set_port_groups(ctx, found.id, [*found.security_groups, group.id])
    worn = Group(group.id, group.name)
    server.database.retrying(lambda tx: server_nics.wear(tx, server.id, worn))


def remove_group(ctx: Context, deps: Deps, server: Server, name: str) -> None:
    """Take a security group from all ports of a server. Raises: SecurityGroupNotFound, NotFound."""
    check_lock(ctx, deps, server)
    group_id = _group(ctx, deps, server, name).id
    having = [
        found
        for found in deps.networks.ports_of_servers(ctx, [server.id])
        if group_id in found.security_groups
    ]
    if not having:
        raise NotFound(f"Security group {name} not associated with the instance {server.id}")
    for found in having:
        rest = [known for known in found.security_groups if known != group_id]
        deps.networks.set_port_groups(ctx, found.id, rest)
    server.database.retrying(lambda tx: server_nics.take_off(tx, server.id, group_id))


# -- password --------------------------------------------------------------------------------------


def clear_password(server: Server) -> None:
    """Forget the encrypted password that the guest posted."""
    server.database.retrying(lambda tx: store.change(tx, server.id, password=""))


def set_password(tx: Tx, server_id: str, text: str) -> bool:
    """Keep the encrypted password that a guest posts; False when there is one."""
    row: Any = store.get(tx, server_id)
    if row is None or row.password:
        return False
    return store.change(tx, server_id, password=text)

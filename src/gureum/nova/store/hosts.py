"""Services and compute nodes of one cell.

Owns: `services` and `compute_nodes`. Whether a service is up is decided by the reader from `last_seen_at`.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Conflict, Stale
from gureum.core.db.engine import Tx
from gureum.core.db.types import utc_now
from gureum.core.machine import taken
from gureum.nova.store import revisions
from gureum.nova.store.tables import cell_revisions, compute_nodes, services

COMPUTE = "nova-compute"


def list_services(
    tx: Tx,
    *,
    host: str | None = None,
    binary: str | None = None,
    hosts: Collection[str] | None = None,
) -> Sequence[sa.Row[Any]]:
    """Return services, oldest first; only those on `hosts` when given."""
    if hosts is not None:
        rows = tx.among(services.c.host, hosts, services.c.number)
        return [row for row in rows if binary in (None, row.binary) and host in (None, row.host)]
    wanted = sa.select(services)
    if host is not None:
        wanted = wanted.where(services.c.host == host)
    if binary is not None:
        wanted = wanted.where(services.c.binary == binary)
    return tx.all(wanted.order_by(services.c.number))


def get_service(tx: Tx, service_id: str) -> sa.Row[Any] | None:
    """Return a service by its UUID."""
    return tx.by(services.c.id, service_id)


def heard_of(
    tx: Tx,
    host: str,
    binary: str,
    *,
    at: datetime | None = None,
    started_at: datetime | None = None,
    boot_id: str = "",
    disabled: bool = False,
    machine_id: str = "",
) -> str:
    """Record a sign of life; a service heard of first is made. Returns its id.

    disabled: how a service that is made starts. Raises: HostNameTaken.
    """
    now = at or utc_now()
    where = sa.and_(services.c.host == host, services.c.binary == binary)
    known = tx.one(
        sa.select(services.c.id, services.c.machine_id, services.c.last_seen_at).where(where)
    )
    if known is not None:
        _claim(tx, host, known, machine_id)
        values: dict[str, Any] = {"last_seen_at": now}
        if started_at is not None:
            values["started_at"] = started_at
        if boot_id:
            values["boot_id"] = boot_id
        tx.update_by(services.c.id, known.id, **values)
        return str(known.id)
    service_id = str(uuid.uuid4())
    try:
        tx.insert(
            services,
            id=service_id,
            host=host,
            binary=binary,
            disabled=disabled,
            boot_id=boot_id,
            machine_id=machine_id,
            last_seen_at=now,
            started_at=started_at,
            created_at=utc_now(),
        )
    except Conflict as error:
        raise Stale("the service was registered by another request") from error
    return service_id


def _claim(tx: Tx, host: str, known: sa.Row[Any], machine_id: str) -> None:
    """Keep a host name for the machine that reported first. Raises: HostNameTaken, Stale."""
    if not machine_id or known.machine_id == machine_id:
        return
    if known.machine_id:
        raise taken(host, known.machine_id, known.last_seen_at)
    free = sa.and_(services.c.id == known.id, services.c.machine_id == "")
    if not tx.update(services, free, machine_id=machine_id):
        raise Stale(f"{host} was claimed by another request")


def still_there(tx: Tx, service_ids: Collection[str]) -> bool:
    """Record a sign of life of services that are known; False when one of them is not any more."""
    wanted = list(service_ids)
    where = services.c.id.in_(wanted)
    return tx.update(services, where, last_seen_at=utc_now()) == len(wanted)


def change_service(tx: Tx, service_id: str, **values: Any) -> bool:
    """Write columns of a service; False when it is gone."""
    if tx.update_by(services.c.id, service_id, updated_at=utc_now(), **values) != 1:
        return False
    revision = revisions.take(tx, cell_revisions)
    tx.update_by(compute_nodes.c.service_id, service_id, revision=revision)
    return True


def delete_service(tx: Tx, service_id: str) -> None:
    """Forget a service and its compute nodes."""
    tx.delete_by(compute_nodes.c.service_id, service_id)
    tx.delete_by(services.c.id, service_id)
    revisions.take(tx, cell_revisions, forget=True)


def list_nodes(
    tx: Tx, *, host: str | None = None, after: int | None = None, limit: int | None = None
) -> Sequence[sa.Row[Any]]:
    """Return compute nodes, oldest first; at most `limit`, and those after a number."""
    wanted = sa.select(compute_nodes)
    if host is not None:
        wanted = wanted.where(compute_nodes.c.host == host)
    if after is not None:
        wanted = wanted.where(compute_nodes.c.number > after)
    return tx.all(wanted.order_by(compute_nodes.c.number).limit(limit))


def find_node(tx: Tx, name: str) -> sa.Row[Any] | None:
    """Return the compute node of a UUID or a number."""
    c = compute_nodes.c
    asked = c.number == int(name) if name.isdigit() and len(name) < 19 else c.id == name
    return tx.one(sa.select(compute_nodes).where(asked))


def get_node(tx: Tx, host: str) -> sa.Row[Any] | None:
    """Return the compute node of a host."""
    return tx.first(sa.select(compute_nodes).where(compute_nodes.c.host == host))


def node_of_provider(tx: Tx, provider_id: str) -> sa.Row[Any] | None:
    """Return the compute node that placement knows as a provider."""
    return tx.one(sa.select(compute_nodes).where(compute_nodes.c.id == provider_id))


_BUSY = frozenset(
    {"vcpus_used", "memory_used_mib", "disk_used_gib", "disk_available_gib", "running_guests"}
    | {"uptime_text"}
)


def _lasting(values: Mapping[str, Any]) -> tuple[Any, ...]:
    inventory = {k: v for k, v in values["inventory"].items() if k not in _BUSY}
    return values["service_id"], inventory, values["capabilities"]


def put_node(
    tx: Tx,
    node_id: str,
    *,
    service_id: str,
    host: str,
    hypervisor_hostname: str,
    inventory: Mapping[str, Any],
    capabilities: Mapping[str, Any],
) -> None:
    """Write what a host has, if it is news; `node_id` is used when the node is new.

    What only says how busy the host is takes no revision: schedulers do not look at it.
    """
    now = utc_now()
    where = sa.and_(
        compute_nodes.c.host == host, compute_nodes.c.hypervisor_hostname == hypervisor_hostname
    )
    values: dict[str, Any] = {
        "service_id": service_id,
        "inventory": dict(inventory),
        "capabilities": dict(capabilities),
    }
    known = tx.one(sa.select(compute_nodes).where(where))
    if known is not None and all(getattr(known, name) == values[name] for name in values):
        return
    values["updated_at"] = now
    if known is None or _lasting(dict(known._mapping)) != _lasting(values):
        values["revision"] = revisions.take(tx, cell_revisions)
    if tx.update(compute_nodes, where, **values) == 0:
        tx.insert(
            compute_nodes,
            id=node_id,
            host=host,
            hypervisor_hostname=hypervisor_hostname,
            created_at=now,
            **values,
        )

"""The events of the compute service: `compute.instance.create.start`, `.end`, `.error`, and so on.

Verbs of several steps are told from their sagas (`server_verbs`, an observer of the conductor's engines);
what the API does at once from its operations. Follows the unversioned notifications that telemetry services
read. Must not: tell passwords, user data or keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from gureum.core.announce import Done, Notice, Notices
from gureum.core.db import Database
from gureum.core.events import ERROR, INFO, Events, Fact, Source
from gureum.core.saga import Saga, SagaStore
from gureum.core.saga.run import SagaEvent
from gureum.core.spec import Operation
from gureum.nova.logic import saga_params
from gureum.nova.model import POWER_VERBS
from gureum.nova.store import servers as store

SOURCE = Source("api", "nova")
COMPUTE = Source("compute", "nova")
_CHANGES = (
    "update_server",
    "lock_server",
    "unlock_server",
    "reset_server_state",
    "create_metadata",
    "replace_metadata",
    "update_metadata",
    "delete_metadata",
)
"""Operations after which a server is told as `compute.instance.update`."""
_POWER = {"start": "power_on", "stop": "power_off"}
_VERBS = {saga_params.SERVER_CREATE: "create", saga_params.SERVER_DELETE: "delete"}
_ENDINGS = {
    "saga.done": ("end", INFO),
    "saga.failed": ("error", ERROR),
    "saga.cancelled": ("error", ERROR),
}


def payload(row: sa.Row[Any], metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return a server as it is told. Sizes: memory_mb in MiB, disks in GiB."""
    return {
        "tenant_id": row.project_id,
        "user_id": row.user_id,
        "instance_id": row.id,
        "display_name": row.name,
        "reservation_id": row.reservation_id,
        "hostname": row.hostname,
        "instance_type": row.flavor_name,
        "instance_flavor_id": row.flavor_id,
        "memory_mb": row.memory_mib,
        "vcpus": row.vcpus,
        "root_gb": row.disk_gib,
        "ephemeral_gb": row.ephemeral_gib,
        "disk_gb": row.disk_gib + row.ephemeral_gib,
        "host": row.host,
        "node": row.node,
        "availability_zone": row.availability_zone,
        "created_at": row.created_at,
        "launched_at": row.launched_at,
        "terminated_at": row.terminated_at,
        "deleted_at": row.deleted_at,
        "image_meta": {"base_image_ref": row.image_id or ""},
        "kernel_id": row.kernel_id,
        "ramdisk_id": row.ramdisk_id,
        "state": row.vm_state,
        "progress": row.progress,
        "access_ip_v4": row.access_ipv4,
        "access_ip_v6": row.access_ipv6,
        "metadata": dict(metadata),
    }


def _told(databases: Iterable[Database], server_id: str) -> dict[str, Any] | None:
    """Return the payload of a server, deleted or not, from the database that has it."""
    for database in databases:
        with database.read() as tx:
            row = store.get(tx, server_id, deleted=True)
            if row is not None:
                return payload(row, store.metadata_of(tx, [server_id]).get(server_id, {}))
    return None


# -- operations ------------------------------------------------------------------------------------


def of(op: Operation) -> Notice | None:
    """Return the notice of an operation; verbs of sagas have none here."""
    if op.name in _CHANGES:
        return _updated
    return {
        "create_keypair": _keypair("create"),
        "delete_keypair": _keypair("delete"),
        "create_server_group": _group("create"),
        "delete_server_group": _group("delete"),
        "create_aggregate": _aggregate("create"),
        "update_aggregate": _aggregate("updateprop"),
        "set_aggregate_metadata": _aggregate("updatemetadata"),
        "add_aggregate_host": _aggregate("addhost"),
        "remove_aggregate_host": _aggregate("removehost"),
        "delete_aggregate": _aggregate("delete"),
    }.get(op.name)


def _updated(done: Done) -> Iterable[Fact]:
    target = done.target[0]
    server = getattr(target, "server", target)
    told = _told([server.database], server.id)
    if told is not None:
        yield Fact("compute.instance.update", told)


def _keypair(verb: str) -> Notice:
    def facts(done: Done) -> Iterable[Fact]:
        name = done.answer["name"] if verb == "create" else done.target[0]
        owner = done.ctx.user_id
        told = {"tenant_id": done.ctx.project_id, "user_id": owner, "key_name": name}
        yield Fact(f"keypair.{verb}.end", told)

    return facts


def _group(verb: str) -> Notice:
    def facts(done: Done) -> Iterable[Fact]:
        told = done.answer or {"server_group_id": done.target[0].id}
        yield Fact(f"servergroup.{verb}", {"server_group_id": told.get("id"), **told})

    return facts


def _aggregate(verb: str) -> Notice:
    def facts(done: Done) -> Iterable[Fact]:
        told = done.answer or {"id": done.target[0].id}
        yield Fact(f"aggregate.{verb}.end", {"aggregate_id": told.get("id"), **told})

    return facts


# -- verbs of several steps ------------------------------------------------------------------------


def server_verbs(
    database: Database,
    cells: Iterable[Database],
    log: SagaStore,
    sagas: Sequence[Saga],
    events: Events,
) -> Callable[[SagaEvent], None]:
    """Return an observer of one cell's sagas that tells how servers fare.

    A step that is tried again may tell a verb's start again.
    """
    first_steps = {saga.name: saga.steps[0].name for saga in sagas}
    places = [database, *(other for other in cells if other is not database)]

    def facts(event: SagaEvent, phase: str, priority: str) -> Iterable[Fact]:
        told = _told(places, event.resource_id)
        verb = _verb(database, log, event)
        if told is not None and verb is not None:
            extra = {"message": event.error_code} if phase == "error" else {}
            yield Fact(f"compute.instance.{verb}.{phase}", {**told, **extra}, priority)
        if told is not None and phase != "start":
            yield Fact("compute.instance.update", told)

    def observe(event: SagaEvent) -> None:
        begun = event.what == "step.start" and event.step == first_steps.get(event.saga)
        if not begun and event.what not in _ENDINGS:
            return
        phase, priority = ("start", INFO) if begun else _ENDINGS[event.what]
        events.tell(COMPUTE, lambda: facts(event, phase, priority))

    return observe


def _verb(database: Database, log: SagaStore, event: SagaEvent) -> str | None:
    """Return the word of a saga's verb; None for one that only changes the server."""
    if event.saga != saga_params.SERVER_POWER:
        return _VERBS.get(event.saga)
    with database.read() as tx:
        record = log.load(tx, event.saga_id)
    if record is None:
        return None
    name = POWER_VERBS[msgspec.json.decode(record.params)["action"]].name
    return _POWER.get(name, name)


NOTICES = Notices(SOURCE, of)

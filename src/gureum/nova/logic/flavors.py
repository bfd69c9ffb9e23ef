"""Flavors: the sizes of servers. A server keeps a copy of its flavor, so flavors may come and go."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db.engine import Tx
from gureum.core.db.errors import Conflict as RowConflict
from gureum.core.spec import Struct
from gureum.nova.errors import (
    Bad,
    Exists,
    ExtraSpecNotFound,
    FlavorAccessNotFound,
    FlavorNotFound,
    MarkerNotFound,
)
from gureum.nova.logic import extra_specs
from gureum.nova.store import flavors as store
from gureum.nova.store.tables import flavors as table


@dataclass(frozen=True, slots=True)
class Flavor:
    """A flavor with its extra specs. Sizes: MiB and GiB as their names say."""

    number: int
    flavor_id: str
    name: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    ephemeral_gib: int
    swap_mib: int
    rxtx_factor: float
    is_public: bool
    disabled: bool
    description: str | None
    extra_specs: Mapping[str, str]


def _flavor(row: sa.Row[Any], specs: Mapping[str, str]) -> Flavor:
    return Flavor(
        number=row.number,
        flavor_id=row.flavor_id,
        name=row.name,
        vcpus=row.vcpus,
        memory_mib=row.memory_mib,
        disk_gib=row.disk_gib,
        ephemeral_gib=row.ephemeral_gib,
        swap_mib=row.swap_mib,
        rxtx_factor=row.rxtx_factor,
        is_public=row.is_public,
        disabled=row.disabled,
        description=row.description,
        extra_specs=dict(specs),
    )


def load(ctx: Context, tx: Tx, flavor_id: str) -> Flavor:
    """Return a flavor the caller may use. Raises: FlavorNotFound."""
    row = store.get(tx, flavor_id)
    visible = row is not None and (
        row.is_public or ctx.is_admin or store.may_use(tx, row.number, ctx.project_id)
    )
    if row is None or not visible:
        raise FlavorNotFound(flavor_id=flavor_id)
    return _flavor(row, store.extra_specs_of(tx, [row.number])[row.number])


def load_any(ctx: Context, tx: Tx, flavor_id: str) -> Flavor:
    """Return a flavor for those who manage them, whoever may use it. Raises: FlavorNotFound."""
    row = store.get(tx, flavor_id)
    if row is None:
        raise FlavorNotFound(flavor_id=flavor_id)
    return _flavor(row, store.extra_specs_of(tx, [row.number])[row.number])


def find(ctx: Context, tx: Tx, query: Struct, max_limit: int) -> tuple[list[Flavor], bool]:
    """Return a page of the flavors the caller may use, and whether more follow."""
    public = _asked_public(query) if ctx.is_admin else None
    order: dict[str, Any] = {
        "sort_key": query.get("sort_key") or "flavorid",
        "descending": query.get("sort_dir") == "desc",
        "limit": page_size(query.get("limit"), max_limit),
    }
    plain = all(query.get(name) is None for name in ("min_disk", "min_ram", "name", "marker"))
    if plain and (public is not None or not ctx.is_admin):
        rows, more = store.first_page(tx, project_id=ctx.project_id, public=public, **order)
        return _with_specs(tx, rows), more
    where: list[sa.ColumnElement[bool]] = []
    if not ctx.is_admin:
        where.append(store.visible_to(ctx.project_id))
    elif public is not None:
        where.append(table.c.is_public.is_(public))
    if query.get("min_disk") is not None:
        where.append(table.c.disk_gib >= query.get("min_disk"))
    if query.get("min_ram") is not None:
        where.append(table.c.memory_mib >= query.get("min_ram"))
    if query.get("name") is not None:
        where.append(table.c.name == query.get("name"))
    where.append(table.c.disabled.is_(False))
    marker = None
    if query.get("marker") is not None:
        marker = store.get(tx, query.get("marker"))
        if marker is None:
            raise MarkerNotFound(marker=query.get("marker"))
    rows, more = store.find_page(tx, where, marker=marker, **order)
    return _with_specs(tx, rows), more


def _asked_public(query: Struct) -> bool | None:
    """Return which flavors an administrator asks for; None for all. Raises: Bad."""
    asked = str(query.get("is_public", "true")).strip().lower()
    if asked in ("true", "t", "1", "yes", "y", "on"):
        return True
    if asked in ("false", "f", "0", "no", "n", "off"):
        return False
    if asked != "none":
        raise Bad(f"Invalid is_public filter [{asked[:64]}]")
    return None


def _with_specs(tx: Tx, rows: Sequence[sa.Row[Any]]) -> list[Flavor]:
    specs = store.extra_specs_of(tx, [row.number for row in rows])
    return [_flavor(row, specs[row.number]) for row in rows]


def page_size(asked: int | None, max_limit: int) -> int:
    """Return how many items one page holds."""
    return max_limit if asked is None else min(asked, max_limit)


def create(ctx: Context, tx: Tx, new: Struct) -> Flavor:
    """Create a flavor. Raises: Exists."""
    name = new.get("name")
    given = new.get("flavor_id")
    flavor_id = str(given) if given not in (None, "") else str(uuid.uuid4())
    taken = store.clash(tx, flavor_id, name)
    if taken:
        _refuse_clash(taken, flavor_id, name)
    try:
        store.insert(
            tx,
            flavor_id=flavor_id,
            name=name,
            vcpus=new.get("vcpus"),
            memory_mib=new.get("ram"),
            disk_gib=new.get("disk"),
            ephemeral_gib=new.get("ephemeral", 0),
            swap_mib=new.get("swap", 0) or 0,
            rxtx_factor=new.get("rxtx_factor", 1.0),
            is_public=new.get("is_public", True),
            disabled=False,
            description=new.get("description"),
        )
    except RowConflict:
        _refuse_clash("name", flavor_id, name)
    row = store.get(tx, flavor_id)
    assert row is not None
    return _flavor(row, {})


def _refuse_clash(taken: str, flavor_id: str, name: str) -> None:
    if taken == "name":
        raise Exists(f"Flavor with name {name} already exists.")
    raise Exists(f"Flavor with ID {flavor_id} already exists.")


def update(tx: Tx, flavor: Flavor, description: str | None) -> Flavor:
    """Write the description."""
    store.change(tx, flavor.number, description=description)
    row = store.get(tx, flavor.flavor_id)
    assert row is not None
    return _flavor(row, flavor.extra_specs)


def delete(tx: Tx, flavor: Flavor) -> None:
    """Remove a flavor."""
    store.delete(tx, flavor.number)


def access(tx: Tx, flavor: Flavor) -> list[dict[str, str]]:
    """Return who may use a private flavor."""
    return [
        {"flavor_id": flavor.flavor_id, "tenant_id": project_id}
        for project_id in store.projects_of(tx, flavor.number)
    ]


def add_access(tx: Tx, flavor: Flavor, project_id: str, *, refuse_public: bool) -> None:
    """Let a project use a flavor. Raises: Exists."""
    if flavor.is_public and refuse_public:
        raise Exists("Can not add access to a public flavor.")
    if project_id in store.projects_of(tx, flavor.number):
        raise Exists(
            f"Flavor access already exists for flavor {flavor.flavor_id}"
            f" and project {project_id} combination."
        )
    store.let_in(tx, flavor.number, project_id)


def remove_access(tx: Tx, flavor: Flavor, project_id: str) -> None:
    """Take a flavor from a project. Raises: FlavorAccessNotFound."""
    if not store.shut_out(tx, flavor.number, project_id):
        raise FlavorAccessNotFound(flavor_id=flavor.flavor_id, project_id=project_id)


def write_specs(tx: Tx, flavor: Flavor, values: Mapping[str, Any], *, known_only: bool) -> None:
    """Write extra specs. Raises: Bad."""
    store.merge_extra_specs(tx, flavor.number, extra_specs.checked(values, known_only=known_only))


def spec(flavor: Flavor, key: str) -> str:
    """Return one extra spec. Raises: ExtraSpecNotFound."""
    if key not in flavor.extra_specs:
        raise ExtraSpecNotFound(flavor_id=flavor.flavor_id, key=key)
    return flavor.extra_specs[key]


def delete_spec(tx: Tx, flavor: Flavor, key: str) -> None:
    """Remove one extra spec. Raises: ExtraSpecNotFound."""
    if not store.delete_extra_spec(tx, flavor.number, key):
        raise ExtraSpecNotFound(flavor_id=flavor.flavor_id, key=key)


def first_flavors(tx: Tx, wanted: Sequence[tuple[str, str, int, int, int]]) -> None:
    """Make (id, name, vcpus, MiB, GiB) flavors when there is no flavor at all."""
    if tx.first(sa.select(table.c.number).limit(1)) is not None:
        return
    for flavor_id, name, vcpus, memory_mib, disk_gib in wanted:
        store.insert(
            tx,
            flavor_id=flavor_id,
            name=name,
            vcpus=vcpus,
            memory_mib=memory_mib,
            disk_gib=disk_gib,
            ephemeral_gib=0,
            swap_mib=0,
            rxtx_factor=1.0,
            is_public=True,
            disabled=False,
        )

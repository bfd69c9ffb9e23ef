"""Flavors, who may use private ones, and their extra specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from gureum.core.db.engine import Tx
from gureum.core.db.page import ROWS, SortKey, fetch_page, sorted_after
from gureum.core.db.types import utc_now
from gureum.nova.store.tables import flavor_extra_specs, flavor_projects, flavors

SORT_COLUMNS = {
    "created_at": flavors.c.created_at,
    "description": flavors.c.description,
    "disabled": flavors.c.disabled,
    "ephemeral_gb": flavors.c.ephemeral_gib,
    "flavorid": flavors.c.flavor_id,
    "id": flavors.c.number,
    "is_public": flavors.c.is_public,
    "memory_mb": flavors.c.memory_mib,
    "name": flavors.c.name,
    "root_gb": flavors.c.disk_gib,
    "rxtx_factor": flavors.c.rxtx_factor,
    "swap": flavors.c.swap_mib,
    "updated_at": flavors.c.updated_at,
    "vcpus": flavors.c.vcpus,
}


def visible_to(project_id: Any) -> sa.ColumnElement[bool]:
    """Select public flavors and those the project was let in to."""
    mine = sa.select(flavor_projects.c.flavor_number).where(
        flavor_projects.c.project_id == project_id
    )
    return sa.or_(flavors.c.is_public.is_(True), flavors.c.number.in_(mine))


def get(tx: Tx, flavor_id: str) -> sa.Row[Any] | None:
    """Return a flavor by its id."""
    return tx.by(flavors.c.flavor_id, flavor_id)


def may_use(tx: Tx, number: int, project_id: str | None) -> bool:
    """Whether a project was let in to a private flavor."""
    table = flavor_projects.c
    wanted = sa.select(table.project_id).where(
        table.flavor_number == number, table.project_id == project_id
    )
    return tx.one(wanted) is not None


@lru_cache(maxsize=256)
def _first_page(sort_key: str, descending: bool, public: bool | None) -> sa.Select[Any]:
    """Return the statement of a list without filters, which is most of them; made once."""
    keys = (SortKey(SORT_COLUMNS[sort_key], descending), SortKey(flavors.c.number, descending))
    where: list[sa.ColumnElement[bool]] = [flavors.c.disabled.is_(False)]
    if public is None:
        where.append(visible_to(sa.bindparam("project", type_=sa.String)))
    else:
        where.append(flavors.c.is_public.is_(public))
    return sorted_after(sa.select(flavors).where(*where), keys, None, ROWS)


def first_page(
    tx: Tx,
    *,
    project_id: str | None,
    public: bool | None,
    sort_key: str,
    descending: bool,
    limit: int,
) -> tuple[Sequence[sa.Row[Any]], bool]:
    """Return the first flavors and whether more follow. public: None for those a project may use."""
    asked: dict[str, Any] = {"rows": limit + 1}
    if public is None:
        asked["project"] = project_id
    rows = tx.all(_first_page(sort_key, descending, public), asked)
    return rows[:limit], len(rows) > limit


def find_page(
    tx: Tx,
    where: Sequence[sa.ColumnElement[bool]],
    *,
    sort_key: str,
    descending: bool,
    marker: sa.Row[Any] | None,
    limit: int,
) -> tuple[Sequence[sa.Row[Any]], bool]:
    """Return a page of flavors and whether more follow."""
    keys = [SortKey(SORT_COLUMNS[sort_key], descending), SortKey(flavors.c.number, descending)]
    values = None
    if marker is not None:
        values = [marker._mapping[key.column.name] for key in keys]  # type: ignore[attr-defined]
    return fetch_page(tx, sa.select(flavors).where(*where), keys, values, limit)


def extra_specs_of(tx: Tx, numbers: Sequence[int]) -> dict[int, dict[str, str]]:
    """Return the extra specs by the flavors' numbers."""
    found: dict[int, dict[str, str]] = {number: {} for number in numbers}
    table = flavor_extra_specs.c
    for row in tx.among(table.flavor_number, numbers, table.key):
        found[row.flavor_number][row.key] = row.value
    return found


def insert(tx: Tx, **values: Any) -> None:
    """Insert a flavor. Raises: Conflict."""
    tx.insert(flavors, created_at=utc_now(), **values)


def clash(tx: Tx, flavor_id: str, name: str) -> str | None:
    """Say whether "id" or "name" is taken."""
    for row in tx.all(
        sa.select(flavors.c.flavor_id, flavors.c.name).where(
            sa.or_(flavors.c.flavor_id == flavor_id, flavors.c.name == name)
        )
    ):
        return "name" if row.name == name else "id"
    return None


def change(tx: Tx, number: int, **values: Any) -> None:
    """Write columns of a flavor."""
    tx.update_by(flavors.c.number, number, updated_at=utc_now(), **values)


def delete(tx: Tx, number: int) -> None:
    """Remove a flavor with what hangs on it; servers keep their copy."""
    for table in (flavor_extra_specs, flavor_projects):
        tx.delete_by(table.c.flavor_number, number)
    tx.delete_by(flavors.c.number, number)


def projects_of(tx: Tx, number: int) -> list[str]:
    """Return the projects that were let in to a private flavor."""
    table = flavor_projects
    wanted = sa.select(table.c.project_id).where(table.c.flavor_number == number)
    return [row.project_id for row in tx.all(wanted.order_by(table.c.project_id))]


def let_in(tx: Tx, number: int, project_id: str) -> None:
    """Let a project use a private flavor. Raises: Conflict."""
    tx.insert(flavor_projects, flavor_number=number, project_id=project_id)


def shut_out(tx: Tx, number: int, project_id: str) -> bool:
    """Take a private flavor from a project; False when it had none."""
    table = flavor_projects.c
    return (
        tx.delete(
            flavor_projects,
            sa.and_(table.flavor_number == number, table.project_id == project_id),
        )
        == 1
    )


def merge_extra_specs(tx: Tx, number: int, values: Mapping[str, str]) -> None:
    """Write extra specs; others stay."""
    table = flavor_extra_specs.c
    tx.delete(
        flavor_extra_specs, sa.and_(table.flavor_number == number, table.key.in_(list(values)))
    )
    tx.insert_many(
        flavor_extra_specs,
        [{"flavor_number": number, "key": k, "value": v} for k, v in values.items()],
    )


def delete_extra_spec(tx: Tx, number: int, key: str) -> bool:
    """Remove one extra spec; False when there is none."""
    table = flavor_extra_specs.c
    return (
        tx.delete(flavor_extra_specs, sa.and_(table.flavor_number == number, table.key == key)) == 1
    )

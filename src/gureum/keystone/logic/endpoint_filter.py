"""Which endpoints a project's catalogue shows: those it is tied to, directly or by a group; else all.

Follows: Identity API v3, "OS-EP-FILTER".
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.keystone.errors import Missing
from gureum.keystone.store import entities, tables

_P = tables.project_endpoints
_G = tables.project_endpoint_groups


def _put(tx: Tx, table: sa.Table, **key: str) -> None:
    if entities.find(tx, table, **key) is None:
        tx.insert(table, **key)
        entities.bump(tx)


def _drop(tx: Tx, table: sa.Table, kind: str, **key: str) -> None:
    where = sa.and_(*(table.c[name] == value for name, value in key.items()))
    if tx.delete(table, where) == 0:
        raise Missing(kind=kind, id=next(iter(key.values())))
    entities.bump(tx)


def tie(tx: Tx, project_id: str, endpoint_id: str) -> None:
    """Tie a project to an endpoint; a second time changes nothing."""
    _put(tx, _P, project_id=project_id, endpoint_id=endpoint_id)


def tied(tx: Tx, project_id: str, endpoint_id: str) -> bool:
    """Whether a project is tied to an endpoint itself."""
    return entities.find(tx, _P, project_id=project_id, endpoint_id=endpoint_id) is not None


def untie(tx: Tx, project_id: str, endpoint_id: str) -> None:
    """Untie. Raises: Missing."""
    _drop(tx, _P, "endpoint of project", project_id=project_id, endpoint_id=endpoint_id)


def tie_group(tx: Tx, group_id: str, project_id: str) -> None:
    """Tie a project to a group of endpoints."""
    _put(tx, _G, endpoint_group_id=group_id, project_id=project_id)


def group_tied(tx: Tx, group_id: str, project_id: str) -> bool:
    """Whether a project is tied to a group of endpoints."""
    return entities.find(tx, _G, endpoint_group_id=group_id, project_id=project_id) is not None


def untie_group(tx: Tx, group_id: str, project_id: str) -> None:
    """Untie. Raises: Missing."""
    _drop(tx, _G, "endpoint group of project", endpoint_group_id=group_id, project_id=project_id)


def groups_of(tx: Tx, project_id: str) -> list[Any]:
    """Return the endpoint groups of a project."""
    ids = sa.select(_G.c.endpoint_group_id).where(_G.c.project_id == project_id)
    table = tables.endpoint_groups
    return list(entities.listed(tx, table, [table.c.id.in_(ids)]))


def members(tx: Tx, group: Any) -> list[Any]:
    """Return the endpoints that the filters of a group choose."""
    table = tables.endpoints
    wanted = [table.c[name] == value for name, value in group.filters.items()]
    return list(entities.listed(tx, table, wanted))


def of_project(tx: Tx, project_id: str) -> list[Any]:
    """Return every endpoint that a project is tied to."""
    ids = [row.endpoint_id for row in tx.all(sa.select(_P).where(_P.c.project_id == project_id))]
    found = entities.by_ids(tx, tables.endpoints, ids)
    for group in groups_of(tx, project_id):
        found.update({row.id: row for row in members(tx, group)})
    return [found[id] for id in sorted(found)]


def projects_of(tx: Tx, endpoint: Any) -> list[Any]:
    """Return every project that is tied to an endpoint."""
    ids = {row.project_id for row in tx.all(sa.select(_P).where(_P.c.endpoint_id == endpoint.id))}
    for row in tx.all(sa.select(_G)):
        group = entities.get(tx, tables.endpoint_groups, row.endpoint_group_id)
        if group is not None and any(one.id == endpoint.id for one in members(tx, group)):
            ids.add(row.project_id)
    return list(entities.by_ids(tx, tables.projects, sorted(ids)).values())


def used(tx: Tx) -> bool:
    """Whether any project is tied to anything."""
    return any(tx.first(sa.select(table).limit(1)) is not None for table in (_P, _G))


def visible(tx: Tx, project_id: str | None) -> set[str] | None:
    """Return the ids of the endpoints in a project's catalogue; None means all."""
    if project_id is None:
        return None
    tied_to = tx.first(sa.select(_P.c.endpoint_id).where(_P.c.project_id == project_id).limit(1))
    grouped = tx.first(
        sa.select(_G.c.endpoint_group_id).where(_G.c.project_id == project_id).limit(1)
    )
    if tied_to is None and grouped is None:
        return None
    return {row.id for row in of_project(tx, project_id)}

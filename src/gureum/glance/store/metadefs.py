"""SQL of metadata definitions: namespaces, what is in them, and the resource types they are for.

Rows refer to a namespace by its name; renaming one moves them in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.core.db.page import SortKey, fetch_page
from gureum.core.db.types import utc_now
from gureum.glance.store.tables import (
    metadef_associations as associations,
)
from gureum.glance.store.tables import (
    metadef_items as items,
)
from gureum.glance.store.tables import (
    metadef_namespaces as namespaces,
)
from gureum.glance.store.tables import (
    metadef_resource_types as resource_types,
)

OBJECT, PROPERTY, TAG = "object", "property", "tag"
SORTABLE = ("namespace", "display_name", "visibility", "protected", "created_at", "updated_at")


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace; project_id is its owner."""

    namespace: str
    display_name: str | None
    description: str | None
    visibility: str
    protected: bool
    project_id: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Item:
    """An object, property or tag of a namespace; body holds its attributes but the name."""

    namespace: str
    kind: str
    name: str
    body: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Association:
    """A namespace is for a resource type."""

    namespace: str
    name: str
    prefix: str | None
    properties_target: str | None
    created_at: datetime
    updated_at: datetime


def get(tx: Tx, name: str) -> Namespace | None:
    """Return a namespace."""
    row = tx.by(namespaces.c.namespace, name)
    return None if row is None else Namespace(**row._mapping)


def page(
    tx: Tx,
    visible: sa.ColumnElement[bool],
    types: Sequence[str],
    order: tuple[str, bool],
    marker: Namespace | None,
    limit: int,
) -> tuple[list[Namespace], bool]:
    """Return a page of namespaces, and whether more follow. order: (column, descending)."""
    query = sa.select(namespaces).where(visible)
    if types:
        with_type = sa.select(associations.c.namespace).where(associations.c.name.in_(types))
        query = query.where(namespaces.c.namespace.in_(with_type))
    names = dict.fromkeys((order[0], "namespace"))
    keys = [SortKey(namespaces.c[name], order[1]) for name in names]
    after = None if marker is None else [getattr(marker, name) for name in names]
    rows, more = fetch_page(tx, query, keys, after, limit)
    return [Namespace(**row._mapping) for row in rows], more


def visible_to(project_id: str | None, everything: bool) -> sa.ColumnElement[bool]:
    """Return what a project may see."""
    if everything:
        return sa.true()
    return sa.or_(namespaces.c.visibility == "public", namespaces.c.project_id == project_id)


def of_visibility(word: str) -> sa.ColumnElement[bool]:
    """Return the condition of a visibility."""
    return namespaces.c.visibility == word


def insert(tx: Tx, **values: Any) -> None:
    """Add a namespace. Raises: Conflict."""
    now = utc_now()
    tx.insert(namespaces, created_at=now, updated_at=now, **values)


def update(tx: Tx, name: str, **values: Any) -> None:
    """Change a namespace; with another name, what is in it moves along. Raises: Conflict."""
    tx.update_by(namespaces.c.namespace, name, updated_at=utc_now(), **values)
    new = values.get("namespace", name)
    if new != name:
        for table in (items, associations):
            tx.update_by(table.c.namespace, name, namespace=new)


def delete(tx: Tx, name: str) -> None:
    """Remove a namespace with what is in it."""
    for table in (items, associations, namespaces):
        tx.delete_by(table.c.namespace, name)


def items_of(tx: Tx, namespace: str, kind: str) -> list[Item]:
    """Return the objects, properties or tags of a namespace by name."""
    query = sa.select(items).where(items.c.namespace == namespace, items.c.kind == kind)
    return [Item(**row._mapping) for row in tx.all(query.order_by(items.c.name))]


def item(tx: Tx, namespace: str, kind: str, name: str) -> Item | None:
    """Return one object, property or tag."""
    row = tx.one(sa.select(items).where(_one(namespace, kind, name)))
    return None if row is None else Item(**row._mapping)


def _one(namespace: str, kind: str, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(items.c.namespace == namespace, items.c.kind == kind, items.c.name == name)


def add_item(tx: Tx, namespace: str, kind: str, name: str, body: Mapping[str, Any]) -> None:
    """Add an object, property or tag. Raises: Conflict."""
    now = utc_now()
    tx.insert(
        items,
        namespace=namespace,
        kind=kind,
        name=name,
        body=dict(body),
        created_at=now,
        updated_at=now,
    )


def change_item(tx: Tx, old: Item, name: str, body: Mapping[str, Any]) -> None:
    """Replace an object, property or tag. Raises: Conflict."""
    where = _one(old.namespace, old.kind, old.name)
    tx.update(items, where, name=name, body=dict(body), updated_at=utc_now())


def delete_items(tx: Tx, namespace: str, kind: str, name: str | None = None) -> int:
    """Remove one object, property or tag, or all of the kind; returns how many."""
    where = sa.and_(items.c.namespace == namespace, items.c.kind == kind)
    return tx.delete(items, where if name is None else _one(namespace, kind, name))


def associations_of(tx: Tx, names: Sequence[str]) -> list[Association]:
    """Return the associations of some namespaces."""
    query = sa.select(associations).where(associations.c.namespace.in_(names))
    rows = tx.all(query.order_by(associations.c.namespace, associations.c.name))
    return [Association(**row._mapping) for row in rows]


def associate(tx: Tx, namespace: str, name: str, **values: Any) -> Association:
    """Say that a namespace is for a resource type, which is made when unknown. Raises: Conflict."""
    now = utc_now()
    known = sa.select(resource_types.c.name).where(resource_types.c.name == name)
    if tx.first(known) is None:
        tx.insert(resource_types, name=name, created_at=now)
    made = Association(
        namespace, name, values.get("prefix"), values.get("properties_target"), now, now
    )
    tx.insert(associations, **{key: getattr(made, key) for key in Association.__slots__})
    return made


def dissociate(tx: Tx, namespace: str, name: str) -> bool:
    """End an association; False when there was none."""
    where = sa.and_(associations.c.namespace == namespace, associations.c.name == name)
    return tx.delete(associations, where) == 1


def all_resource_types(tx: Tx) -> Sequence[Any]:
    """Return the resource types by name."""
    return tx.all(sa.select(resource_types).order_by(resource_types.c.name))

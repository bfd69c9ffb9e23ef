"""What the verbs of several nouns share: ids, immutability, names that must be free."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Conflict as RowConflict
from gureum.core.db import Tx
from gureum.keystone.errors import Absent, Duplicate, Immutable, Missing
from gureum.keystone.store import entities


def new_id() -> str:
    """Return a fresh id as Keystone forms them: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def load(tx: Tx, table: sa.Table, kind: str, id: str) -> entities.Row:
    """Return a row. Raises: Missing."""
    row = entities.get(tx, table, id)
    if row is None:
        raise Missing(kind=kind, id=id)
    return row


def load_open(tx: Tx, table: sa.Table, kind: str, id: str) -> entities.Row:
    """Like `load` where the API tells everybody that a thing does not exist. Raises: Absent."""
    row = entities.get(tx, table, id)
    if row is None:
        raise Absent(kind=kind, id=id)
    return row


def refuse_immutable(kind: str, row: Any, changes: Mapping[str, Any] | None = None) -> None:
    """Refuse to change a protected row, but for taking the protection away. Raises: Immutable."""
    if not (row.options or {}).get("immutable"):
        return
    if changes is not None and (changes.get("options") or {}).get("immutable") is False:
        return
    raise Immutable(kind=kind, id=row.id)


def insert(tx: Tx, table: sa.Table, kind: str, values: dict[str, Any]) -> entities.Row:
    """Insert and return the row. Raises: Duplicate."""
    try:
        tx.insert(table, **values)
    except RowConflict:
        raise Duplicate(kind=kind, name=values.get("name", values["id"])) from None
    entities.bump(tx)
    row = entities.get(tx, table, values["id"])
    assert row is not None
    return row


def update(tx: Tx, table: sa.Table, kind: str, row: Any, values: dict[str, Any]) -> entities.Row:
    """Change and return the row; options and extra values are merged. Raises: Duplicate."""
    changed = dict(values)
    if "options" in changed:
        merged = {**(row.options or {}), **(changed["options"] or {})}
        changed["options"] = {key: value for key, value in merged.items() if value is not None}
    if changed.get("extra_values"):
        changed["extra_values"] = {**(row.extra_values or {}), **changed["extra_values"]}
    else:
        changed.pop("extra_values", None)
    if changed:
        try:
            tx.update_by(table.c.id, row.id, **changed)
        except RowConflict:
            raise Duplicate(kind=kind, name=changed.get("name", row.id)) from None
        entities.bump(tx)
    new = entities.get(tx, table, row.id)
    assert new is not None
    return new


def delete(tx: Tx, table: sa.Table, id: str) -> None:
    """Delete a row."""
    tx.delete_by(table.c.id, id)
    entities.bump(tx)


def given(new: Any, *, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what a request named itself, with the unknown keys as `extra_values`."""
    values = {name: new.get(name) for name in new.given if name not in skip}
    extra = getattr(new, "extra_values", None)
    if extra:
        values["extra_values"] = extra
    return values

"""Traits and resource classes: the standard ones from their libraries, and a cloud's own."""

from __future__ import annotations

import re
from collections.abc import Iterable

import os_resource_classes
import os_traits
import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.core.spec import BadRequest
from gureum.placement.errors import BadQuery, ClassNotFound, TraitNotFound
from gureum.placement.store.tables import custom_classes, custom_traits

STANDARD_TRAITS = frozenset(os_traits.get_traits())
STANDARD_CLASSES = tuple(os_resource_classes.STANDARDS)
_CUSTOM = re.compile(r"CUSTOM_[A-Z0-9_]{1,248}")
SHARES = "MISC_SHARES_VIA_AGGREGATE"


def check_custom(name: str, what: str) -> None:
    """Refuse a name that is not a custom one. Raises: BadRequest."""
    if _CUSTOM.fullmatch(name) is None:
        raise BadRequest(f"The {what} {name[:80]!r} must match CUSTOM_[A-Z0-9_]+.")


def unknown_traits(tx: Tx, names: Iterable[str]) -> list[str]:
    """Return the names that are no traits."""
    own = [name for name in set(names) if name not in STANDARD_TRAITS]
    if not own:
        return []
    rows = tx.all(sa.select(custom_traits.c.name).where(custom_traits.c.name.in_(own)))
    return sorted(set(own) - {row.name for row in rows})


def need_traits(tx: Tx, names: Iterable[str]) -> None:
    """Refuse unknown traits. Raises: BadRequest."""
    missing = unknown_traits(tx, names)
    if missing:
        raise BadRequest(TraitNotFound(name=", ".join(missing)).message)


def need_classes(tx: Tx, names: Iterable[str], *, query: bool = False) -> None:
    """Refuse unknown resource classes. Raises: BadRequest."""
    own = [name for name in set(names) if name not in STANDARD_CLASSES]
    if not own:
        return
    rows = tx.all(sa.select(custom_classes.c.name).where(custom_classes.c.name.in_(own)))
    missing = sorted(set(own) - {row.name for row in rows})
    if missing:
        text = f"Invalid resource class: {ClassNotFound(name=missing[0]).message}"
        raise (BadQuery if query else BadRequest)(text)

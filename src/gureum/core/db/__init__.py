"""Databases: engines, transactions, migrations. SQLAlchemy Core only, no ORM."""

from typing import TYPE_CHECKING, Any

from gureum.core.db.errors import CommitUnknown, Conflict, DatabaseError, Stale, Unavailable

if TYPE_CHECKING:
    from gureum.core.db.engine import Database, Tx

__all__ = [
    "CommitUnknown",
    "Conflict",
    "Database",
    "DatabaseError",
    "Stale",
    "Tx",
    "Unavailable",
]


def __getattr__(name: str) -> Any:
    """Import the engine when it is asked for: who only catches errors does without SQLAlchemy."""
    if name in ("Database", "Tx"):
        from gureum.core.db import engine

        return getattr(engine, name)
    raise AttributeError(name)

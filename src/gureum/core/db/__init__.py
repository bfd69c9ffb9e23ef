"""Databases: engines, transactions, migrations. SQLAlchemy Core only, no ORM."""

from gureum.core.db.engine import Database, Tx
from gureum.core.db.errors import CommitUnknown, Conflict, DatabaseError, Stale, Unavailable

__all__ = [
    "CommitUnknown",
    "Conflict",
    "Database",
    "DatabaseError",
    "Stale",
    "Tx",
    "Unavailable",
]

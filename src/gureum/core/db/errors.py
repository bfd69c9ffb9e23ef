"""What can go wrong with a database, independent of its kind."""

from __future__ import annotations


class DatabaseError(Exception):
    """A statement failed for a reason that the caller did not foresee."""


class Conflict(DatabaseError):
    """A unique or foreign key constraint refused the write."""


class Stale(DatabaseError):
    """The row changed since it was read: its generation is another one."""


class Unavailable(DatabaseError):
    """The database cannot be reached, is read-only, locked for too long, or its disk is full."""


class CommitUnknown(Unavailable):
    """The connection was lost while a commit was on its way: it may have happened."""

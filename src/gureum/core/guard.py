"""The guard that no call leaves the process while a database transaction is open.

Owns: which thread holds one. Must not: know a database; whoever calls out asks without importing one.
"""

import threading

_open = threading.local()


def entered() -> None:
    """Note that this thread opened a transaction."""
    _open.depth = 1


def left() -> None:
    """Note that this thread's transaction ended."""
    _open.depth = 0


def in_transaction() -> bool:
    """Whether this thread holds an open transaction."""
    return getattr(_open, "depth", 0) > 0


def assert_no_transaction(what: str) -> None:
    """Refuse an outside call while a transaction is open.

    Raises: RuntimeError.
    """
    if in_transaction():
        raise RuntimeError(f"{what} inside an open database transaction")

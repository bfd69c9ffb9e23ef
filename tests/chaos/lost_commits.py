"""Commits whose answer is lost: the work is done, and whoever asked is told that it may not be.

Follows what a cut connection to a database server does; on SQLite nothing else can make it.
"""

import contextlib
import threading

from gureum.core.db import CommitUnknown, Database


class LostCommits:
    """Counts commits that wrote something; the `nth` one's answer is lost. 0: none is."""

    def __init__(self, monkeypatch):
        self.count, self.nth, self.armed = 0, 0, False
        self._lock = threading.Lock()
        real, lost = Database.write, self

        @contextlib.contextmanager
        def write(database):
            with real(database) as tx:
                yield tx
                after, tx._after[:] = list(tx._after), []
            if lost._is_next():
                raise CommitUnknown("the answer to the commit was lost")
            for action in after:
                action()

        monkeypatch.setattr(Database, "write", write)

    def _is_next(self):
        with self._lock:
            if not self.armed:
                return False
            self.count += 1
            return self.count == self.nth

    @contextlib.contextmanager
    def at(self, nth):
        """Lose the nth answer within the block."""
        self.count, self.nth, self.armed = 0, nth, True
        try:
            yield self
        finally:
            self.armed = False

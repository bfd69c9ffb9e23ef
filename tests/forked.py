"""Work in a forked process that may kill itself at the border of a commit."""

import contextlib
import os
import signal
import traceback

from gureum.core.db import Database


def in_child(work):
    """Run work() in a forked process; returns its exit status (negative: the signal)."""
    child = os.fork()
    if child == 0:
        code = 3
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Deadly:
    """Counts the moments at which this process may die, and kills it at the nth one."""

    def __init__(self, nth):
        self.nth, self.count, self.armed = nth, 0, True

    def pass_by(self):
        if not self.armed:
            return
        self.count += 1
        if self.count == self.nth:
            os.kill(os.getpid(), signal.SIGKILL)

    def at_commits(self):
        """Pass by before and after every commit from now on. For a forked process: it stays so."""
        real = Database.write

        @contextlib.contextmanager
        def write(database):
            with real(database) as tx:
                yield tx
                self.pass_by()
            self.pass_by()

        Database.write = write

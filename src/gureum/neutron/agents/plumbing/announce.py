"""Says on a link where an address lives now: at once, and again while the port may still be unwired.

Owns: one thread with a schedule. Must not: block a converge.
"""

import heapq
import threading
import time
from dataclasses import dataclass

from gureum.core import log as logs
from gureum.neutron.agents.plumbing.netns import entered
from gureum.neutron.agents.plumbing.packets import announce

log = logs.get(__name__)

_DELAYS_S = (0.0, 1.0, 3.0, 8.0)


@dataclass(frozen=True, slots=True, order=True)
class Announcement:
    """One address to announce."""

    namespace: str
    device: str
    mac_address: str
    address: str


class Announcer:
    """Announces in the background."""

    def __init__(self) -> None:
        self._queue: list[tuple[float, Announcement]] = []
        self._woken = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def add(self, announcement: Announcement) -> None:
        """Announce now and a few times later."""
        now = time.monotonic()
        with self._woken:
            for delay in _DELAYS_S:
                heapq.heappush(self._queue, (now + delay, announcement))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
                self._thread.start()
            self._woken.notify_all()

    def stop(self) -> None:
        """Drop what is scheduled."""
        with self._woken:
            self._stopping = True
            self._woken.notify_all()

    def _run(self) -> None:
        while (due := self._next()) is not None:
            try:
                with entered(due.namespace):
                    announce(due.device, due.mac_address, due.address)
            except OSError as error:  # the device may be gone or down again: nothing to announce
                log.debug("not announced", device=due.device, error=error)

    def _next(self) -> Announcement | None:
        with self._woken:
            while not self._stopping:
                if self._queue:
                    wait_s = self._queue[0][0] - time.monotonic()
                    if wait_s <= 0:
                        return heapq.heappop(self._queue)[1]
                    self._woken.wait(wait_s)
                else:
                    self._woken.wait()
            return None

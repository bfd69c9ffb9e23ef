"""A bus that loses, repeats, delays and reorders, at the message that a test names or by a seeded dice.

Time-outs are told at once instead of after their seconds; what arrives late arrives when the test says so, as
from an agent that restarted in between and does not know the message any more.
"""

import itertools
import random
import threading
import uuid

import msgspec

from gureum.core.bus import BusTimeout
from gureum.core.bus.local import LocalBus, wait_reply

LOST = "lost"
"""The request never arrives."""
LOST_REPLY = "lost-reply"
"""The request is carried out, its answer never arrives."""
TWICE = "twice"
"""The request arrives twice, and is carried out once or twice."""
LATE = "late"
"""The sender gives up; the request arrives after all, when `deliver_late` is called."""
AGAIN_LATE = "again-late"
"""The request is carried out, and arrives again much later."""
DEAD_CONSUMER = "dead-consumer"
"""The connection lives, nobody reads: this and the next requests of the same host are lost."""
FAULTS = (LOST, LOST_REPLY, TWICE, LATE, AGAIN_LATE, DEAD_CONSUMER)
DEAD_FOR = 4
"""How many requests a dead consumer does not read."""


class FaultyBus(LocalBus):
    """`plan(nth, fault)` disturbs the nth request from now; `dice(random, share)` disturbs at random."""

    def __init__(self):
        super().__init__()
        self.count, self.hits = 0, []
        self._plan, self._dice, self._share = {}, None, 0.0
        self._late, self._dead = [], {}
        self._lock = threading.Lock()

    def plan(self, nth, fault):
        with self._lock:
            self.count, self._plan = 0, {nth: fault} if fault else {}

    def dice(self, dice: random.Random | None, share=0.0):
        with self._lock:
            self._dice, self._share = dice, share
            self._dead.clear()

    def _fault(self, request):
        with self._lock:
            self.count += 1
            if self._dead.get(request.host, 0) > 0:
                self._dead[request.host] -= 1
                return LOST
            fault = self._plan.pop(self.count, None)
            if fault is None and self._dice is not None and self._dice.random() < self._share:
                fault = self._dice.choice(FAULTS)
            if fault == DEAD_CONSUMER:
                self._dead[request.host] = DEAD_FOR - 1
            if fault is not None:
                self.hits.append((fault, request.method))
            return fault

    def _call(self, request):
        fault = self._fault(request)
        if fault in (LOST, DEAD_CONSUMER):
            raise BusTimeout(f"{request.method} was lost")
        if fault == LATE:
            with self._lock:
                self._late.append(request)
            raise BusTimeout(f"{request.method} is late")
        reply = super()._call(request)
        if fault == LOST_REPLY:
            raise BusTimeout(f"the answer to {request.method} was lost")
        if fault == TWICE:
            super()._call(request)
            super()._call(as_new(request))
        if fault == AGAIN_LATE:
            with self._lock:
                self._late.append(request)
        return reply

    def deliver_late(self):
        """Deliver what was kept, newest first: out of order. Returns how many."""
        with self._lock:
            late, self._late = self._late[::-1], []
        for request in late:
            wait_reply(self._router, as_new(request))
        return len(late)


_numbers = itertools.count()


def as_new(request):
    """The same request to a service that has forgotten it."""
    return msgspec.structs.replace(request, id=uuid.uuid4().hex, ttl_s=20.0)

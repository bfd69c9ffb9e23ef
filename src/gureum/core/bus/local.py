"""The in-process transport and the router that the Unix-socket transport shares.

Owns: which endpoint gets a request, requests that wait for an endpoint to come. Must not: open a
socket.
"""

import itertools
import queue
import threading
import time
from typing import Protocol

from gureum.core import log
from gureum.core.bus.base import EVERY_HOST, Bus, Delivery, Reply, Request, Service, accept
from gureum.core.bus.contract import BusTimeout, NoServer

LOG = log.get(__name__)

MAX_PENDING = 10_000


class Endpoint(Protocol):
    """Something that takes deliveries: a service of this process, or one behind a connection."""

    def matches(self, topic: str, host: str | None) -> bool:
        """Whether a request to topic and host can be served there."""

    def deliver(self, delivery: Delivery) -> None:
        """Take a request."""


class Router:
    """Gives each request to one matching endpoint in turn; keeps those that match none until one
    comes.
    """

    def __init__(self, *, lasting: bool = False) -> None:
        """lasting: what an endpoint matches never changes, so that it need not be asked each time."""
        self._lock = threading.Lock()
        self._endpoints: list[Endpoint] = []
        self._lasting = lasting
        self._matching: dict[tuple[str, str | None], list[Endpoint]] = {}
        self._pending: dict[str, Delivery] = {}
        self._turn = itertools.count()

    def add(self, endpoint: Endpoint) -> None:
        """Add an endpoint and give it what waited for it."""
        with self._lock:
            self._matching.clear()
            self._endpoints.append(endpoint)
            ready = [
                delivery
                for delivery in self._pending.values()
                if endpoint.matches(delivery.request.topic, delivery.request.host)
            ]
            for delivery in ready:
                del self._pending[delivery.request.id]
        for delivery in ready:
            if delivery.left_s() > 0:
                endpoint.deliver(delivery)

    def remove(self, endpoint: Endpoint) -> None:
        """Forget an endpoint; removing it twice is fine."""
        with self._lock:
            self._matching.clear()
            self._endpoints = [known for known in self._endpoints if known is not endpoint]

    def pick(self, topic: str, host: str | None) -> Endpoint | None:
        """Return the endpoint whose turn it is, or None."""
        with self._lock:
            return self._pick(topic, host)

    def _pick(self, topic: str, host: str | None) -> Endpoint | None:
        matching = self._matching.get((topic, host)) if self._lasting else None
        if matching is None:
            matching = [known for known in self._endpoints if known.matches(topic, host)]
            if self._lasting and matching:
                self._matching[topic, host] = matching
        return matching[next(self._turn) % len(matching)] if matching else None

    def route(self, delivery: Delivery) -> None:
        """Hand a call or job to an endpoint, now or when one comes."""
        request = delivery.request
        with self._lock:
            endpoint = self._pick(request.topic, request.host)
            if endpoint is None:
                self._drop_expired()
                if len(self._pending) < MAX_PENDING:
                    self._pending[request.id] = delivery
                return
        endpoint.deliver(delivery)

    def _drop_expired(self) -> None:
        now = time.monotonic()
        for request_id in [key for key, known in self._pending.items() if known.deadline < now]:
            del self._pending[request_id]

    def spread(self, delivery: Delivery, *, but: object = None) -> int:
        """Hand a cast to one endpoint, or with host `*` to all except `but`; returns to how
        many.
        """
        request = delivery.request
        with self._lock:
            if request.host == EVERY_HOST:
                chosen = [e for e in self._endpoints if e.matches(request.topic, EVERY_HOST)]
            else:
                one = self._pick(request.topic, request.host)
                chosen = [one] if one is not None else []
        chosen = [e for e in chosen if but is None or getattr(e, "connection", None) is not but]
        for endpoint in chosen:
            endpoint.deliver(delivery)
        return len(chosen)

    def forget(self, request_id: str) -> bool:
        """Stop keeping a request; returns whether it was still waiting for an endpoint."""
        with self._lock:
            return self._pending.pop(request_id, None) is not None


def wait_reply(router: Router, request: Request) -> Reply:
    """Route a request and wait for its answer. Raises: BusTimeout, NoServer."""
    answers: queue.SimpleQueue[Reply] = queue.SimpleQueue()
    router.route(accept(request, answers.put))
    where = f"{request.topic}{'@' + request.host if request.host else ''}.{request.method}"
    try:
        reply = answers.get(timeout=max(0.0, request.ttl_s))
    except queue.Empty:
        if router.forget(request.id):
            raise NoServer(f"nobody served {where} within {request.ttl_s:g} s") from None
        raise BusTimeout(f"no answer from {where} within {request.ttl_s:g} s") from None
    if reply.code == "expired":
        raise BusTimeout(f"{where}: {reply.text}")
    return reply


def _no_reply(_reply: Reply) -> None:
    return None


class LocalBus(Bus):
    """All services and clients in one process. Serialises like every other transport."""

    def __init__(self) -> None:
        self._router = Router(lasting=True)
        self._services: list[Service] = []

    def _attach(self, service: Service) -> None:
        self._services.append(service)
        self._router.add(service)

    def _detach(self, service: Service) -> None:
        self._router.remove(service)
        self._services = [known for known in self._services if known is not service]

    def _call(self, request: Request) -> Reply:
        return wait_reply(self._router, request)

    def _cast(self, request: Request) -> None:
        if not self._router.spread(accept(request, _no_reply)):
            LOG.debug("cast to nobody", topic=request.topic, method=request.method)

    def close(self) -> None:
        """Stop every service."""
        for service in list(self._services):
            service.close(wait=False)

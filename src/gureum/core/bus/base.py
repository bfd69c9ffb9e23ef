"""The bus as its users see it: serve a contract, get a client of one.

Owns: `Bus`, `Service` (bounded worker pools, deadlines, dropping of duplicates, the agent worker's
`except Exception`), the messages. Must not: know a transport; those subclass `Bus`.
"""

import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import msgspec

from gureum.core import log, reading, trace
from gureum.core.bus.contract import (
    AgentBusy,
    AgentError,
    AgentFailed,
    AgentUnavailable,
    BadMessage,
    Contract,
    Method,
    error_from_wire,
    missing_methods,
)
from gureum.core.context import current_ids, log_ids
from gureum.core.db.errors import Stale, Unavailable
from gureum.core.guard import assert_no_transaction

LOG = log.get(__name__)

C = TypeVar("C", bound=Contract)

EVERY_HOST = "*"
MAX_WAITING = 2000
"""Requests that may wait for a worker of one service before new ones are refused as busy."""
REMEMBERED = 512
"""Answers kept so that a repeated message gets the same one."""
_FORGET_AT_MOST = 2
"""How many are looked at for each new one: more than come, so that what is due goes in the end."""


class Request(msgspec.Struct, frozen=True, array_like=True, tag="q"):
    """One question on its way. `ttl_s` is what is left of its time, set anew at each hop, so that
    clocks of different machines are never compared."""

    id: str
    topic: str
    host: str | None
    method: str
    version: int
    kind: str
    body: bytes
    ttl_s: float
    ids: dict[str, str] = {}


class Reply(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """The answer: a result in `body`, or the code and text of an error."""

    id: str
    body: bytes = b""
    code: str = ""
    text: str = ""


ReplyTo = Callable[[Reply], object]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A request inside this process: its deadline on this process's monotonic clock and where to
    answer.
    """

    request: Request
    deadline: float
    reply_to: ReplyTo

    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def for_wire(self) -> Request:
        """Return the request with the time that is left."""
        return msgspec.structs.replace(self.request, ttl_s=max(0.0, self.left_s()))


def accept(request: Request, reply_to: ReplyTo) -> Delivery:
    """Return a delivery for a request that just arrived."""
    return Delivery(request, time.monotonic() + request.ttl_s, reply_to)


@dataclass(slots=True)
class _Seen:
    deadline: float
    reply_to: ReplyTo
    reply: Reply | None = None


class Service:
    """One served contract: takes deliveries, runs the implementation in bounded pools.

    Calls and casts have `workers` threads, jobs have as many of their own, so that long work never
    keeps a short question waiting.
    """

    def __init__(
        self, contract: type[Contract], impl: object, host: str | None, workers: int
    ) -> None:
        missing = missing_methods(contract, impl)
        if missing:
            raise TypeError(f"{type(impl).__name__} does not implement {', '.join(missing)}")
        self.contract = contract
        self.topic = contract.topic
        self.host = host
        self.workers = workers
        self._impl = impl
        self._spans = log.get(type(impl).__module__)
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._waiting = 0
        self._closed = False
        name = f"{contract.topic}-{host or 'any'}"
        self._calls = ThreadPoolExecutor(workers, thread_name_prefix=f"bus-{name}")
        self._jobs = ThreadPoolExecutor(workers, thread_name_prefix=f"job-{name}")
        self.on_close: Callable[[], None] = lambda: None

    def matches(self, topic: str, host: str | None) -> bool:
        """Whether a request to topic and host (None: any of them) can be served here."""
        return self.topic == topic and host in (None, EVERY_HOST, self.host)

    @property
    def load(self) -> int:
        """Requests that wait for a worker or have one."""
        return self._waiting

    def deliver(self, delivery: Delivery) -> None:
        """Take a request; its answer goes to `delivery.reply_to`, for a repeated one again."""
        request = delivery.request
        with self._lock:
            if self._closed:
                return
            seen = self._seen.get(request.id)
            if seen is not None:
                seen.reply_to = delivery.reply_to
                answer = seen.reply
            else:
                answer = self._refusal(request)
                if answer is None:
                    self._remember(request.id, delivery)
                    self._waiting += 1
        if answer is not None:
            delivery.reply_to(answer)
        elif seen is None:
            pool = self._jobs if request.kind == "job" else self._calls
            try:
                pool.submit(self._work, delivery)
            except RuntimeError:  # closed meanwhile: the caller asks again
                return

    def _refusal(self, request: Request) -> Reply | None:
        if self._waiting >= MAX_WAITING:
            return Reply(request.id, code=AgentBusy.code, text="too many requests are waiting")
        if request.version != self.contract.version:
            text = f"version {request.version} asked, {self.contract.version} served"
            return Reply(request.id, code="bad_message", text=text)
        if request.method not in self.contract.methods:
            return Reply(request.id, code="bad_message", text=f"no method {request.method}")
        return None

    def _remember(self, request_id: str, delivery: Delivery) -> None:
        self._seen[request_id] = _Seen(delivery.deadline, delivery.reply_to)
        now = time.monotonic()
        for _ in range(_FORGET_AT_MOST):
            if len(self._seen) <= REMEMBERED:
                return
            oldest_id, oldest = next(iter(self._seen.items()))
            if oldest.reply is not None or oldest.deadline < now:
                del self._seen[oldest_id]
            else:  # it is being worked on: look at those behind it first
                self._seen.move_to_end(oldest_id)

    def _work(self, delivery: Delivery) -> None:
        request = delivery.request
        if delivery.left_s() <= 0:
            LOG.warning("request dropped, too late", topic=self.topic, method=request.method)
            reply = Reply(request.id, code="expired", text="not started before its deadline")
        else:
            with log_ids(**request.ids):
                reply = self._traced(request, max(0.0, request.ttl_s - delivery.left_s()))
        with self._lock:
            self._waiting -= 1
            seen = self._seen.get(request.id)
            if seen is not None:
                seen.reply = reply
        (seen.reply_to if seen is not None else delivery.reply_to)(reply)

    def _traced(self, request: Request, waited_s: float) -> Reply:
        if request.kind == "cast":  # a hint: what it leads to is told there
            return self._answer(request)
        name = f"{self.topic}.{request.method}"
        with trace.Span(request.kind, name, self._spans) as span:
            reply = self._answer(request)
            span.end(
                "failed" if reply.code else "done",
                failed=bool(reply.code),
                host=self.host,
                code=reply.code or None,
                waited_ms=waited_s * 1000,
            )
            return reply

    def _answer(self, request: Request) -> Reply:
        method = self.contract.methods[request.method]
        try:
            arguments = method.decode_args(request.body)
            result = getattr(self._impl, method.name)(**arguments)
            return Reply(request.id, body=method.encode_result(result))
        except BadMessage as error:
            return Reply(request.id, code="bad_message", text=str(error))
        except AgentError as error:
            LOG.warning(
                "request refused",
                topic=self.topic,
                method=method.name,
                code=error.code,
                text=error.text,
            )
            return Reply(request.id, code=error.code, text=error.text)
        except Exception as error:  # border: the agent worker
            if getattr(error, "retryable", isinstance(error, (Unavailable, Stale))):
                LOG.warning(
                    "request cannot be answered now",
                    topic=self.topic,
                    method=method.name,
                    error=str(error),
                )
                return Reply(request.id, code=AgentUnavailable.code, text=str(error))
            LOG.error("request failed", topic=self.topic, method=method.name, exc_info=True)
            return Reply(request.id, code=AgentFailed.code, text=f"{type(error).__name__}: {error}")

    def close(self, *, wait: bool = True) -> None:
        """Stop taking requests; `wait` for the running ones."""
        self.on_close()
        with self._lock:
            self._closed = True
        self._calls.shutdown(wait=wait, cancel_futures=True)
        self._jobs.shutdown(wait=wait, cancel_futures=True)


class Bus(ABC):
    """Carries contracts between processes. Thread-safe."""

    _services: list[Service]

    def serve(
        self, contract: type[Contract], impl: object, host: str | None = None, *, workers: int = 4
    ) -> Service:
        """Serve a contract with `impl`: requests to this host, to any host, and to every host.

        Raises: TypeError (a method is not implemented).
        """
        service = Service(contract, impl, host, workers)
        service.on_close = lambda: self._detach(service)
        self._attach(service)
        LOG.info("contract served", topic=service.topic, host=host)
        return service

    def client(
        self, contract: type[C], host: str | None = None, *, timeout_s: float | None = None
    ) -> C:
        """Return an object with the contract's methods that asks the given host (None: any; "*":
        every one, casts only). `timeout_s` replaces the timeouts that the contract states.

        Its methods raise: AgentError (or the declared subclass), BusTimeout, NoServer, BadMessage.
        """
        members = {
            name: _remote(self, contract, method, host, timeout_s)
            for name, method in contract.methods.items()
        }
        made = type(f"{contract.__name__}Client", (contract,), members)
        return cast(C, made())

    def loads(self) -> list[tuple[tuple[str, str], float]]:
        """Return the requests that wait or are worked on, by (topic, host), of what is served here."""
        found: dict[tuple[str, str], float] = {}
        for service in list(self._services):
            key = (service.topic, service.host or "any")
            found[key] = found.get(key, 0.0) + service.load
        return list(found.items())

    def depths(self) -> list[tuple[tuple[str], float]]:
        """Return how many messages wait at the broker, by queue; none where there is no broker.

        Raises: OSError.
        """
        return []

    def trouble(self) -> str:
        """Say why nothing can be carried now; "" when it can."""
        return ""

    @abstractmethod
    def close(self) -> None:
        """Stop every service and connection of this process."""

    @abstractmethod
    def _attach(self, service: Service) -> None: ...

    @abstractmethod
    def _detach(self, service: Service) -> None: ...

    @abstractmethod
    def _call(self, request: Request) -> Reply:
        """Carry a call or job. Raises: BusTimeout, NoServer."""

    @abstractmethod
    def _cast(self, request: Request) -> None:
        """Carry a hint, if that is possible now."""


def _remote(
    bus: Bus, contract: type[Contract], method: Method, host: str | None, timeout_s: float | None
) -> Callable[..., Any]:
    if host == EVERY_HOST and method.kind != "cast":

        def refuse(_self: object, *_args: Any, **_kwargs: Any) -> Any:
            raise TypeError(f"{method.name} is not a cast: ask one host")

        return refuse

    name = f"{contract.topic}.{method.name}"

    def ask(_self: object, *args: Any, **kwargs: Any) -> Any:
        assert_no_transaction(name)
        reading.elsewhere()
        if method.kind == "cast" or not trace.exports():
            return carry(args, kwargs)
        with trace.Span(trace.ASK, name, LOG):
            return carry(args, kwargs)

    def carry(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        request = Request(
            id=uuid.uuid4().hex,
            topic=contract.topic,
            host=host,
            method=method.name,
            version=contract.version,
            kind=method.kind,
            body=method.encode_args(args, kwargs),
            ttl_s=method.timeout_s if timeout_s is None else timeout_s,
            ids={key: value for key, value in current_ids().items() if value is not None},
        )
        if method.kind == "cast":
            bus._cast(request)
            return None
        reply = bus._call(request)
        if reply.code:
            raise error_from_wire(reply.code, reply.text)
        return method.decode_result(reply.body)

    ask.__name__ = method.name
    return ask

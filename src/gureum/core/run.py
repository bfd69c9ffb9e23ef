"""Components and the process they run in.

Owns: `Component`, `Runtime` (what a component is handed), and `Process`: ordered start, signals,
draining, ordered stop. Must not: know any component by name; the caller passes them.
Follows: docs/architecture.md, decisions 1 and 11.
"""

import contextlib
import ctypes
import gc
import os
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import FrameType

from gureum.core import log
from gureum.core.bus.base import Bus
from gureum.core.bus.open import open_bus
from gureum.core.cache import CacheOptions, SharedCache
from gureum.core.config import CloudOptions, Config
from gureum.core.db.engine import Database
from gureum.core.events import Events
from gureum.core.events_open import open_events
from gureum.core.http.client import HttpClient
from gureum.core.http.edge import Pools
from gureum.core.listen import Health, HttpListeners
from gureum.core.metrics import Metrics
from gureum.core.options import (
    CORE_SECTIONS,
    BusOptions,
    DatabaseOptions,
    NamedDatabaseOptions,
    ProcessOptions,
)
from gureum.core.readiness import Probe, bus_probe, database_probe

LOG = log.get(__name__)

__all__ = [
    "CORE_SECTIONS",
    "BusOptions",
    "Component",
    "DatabaseOptions",
    "Health",
    "NamedDatabaseOptions",
    "Process",
    "ProcessOptions",
    "Runtime",
]


STOP_WAIT_S = 2.0
"""How long a stop waits for one component before it goes on with the next."""

SETTLED_S = 60.0
"""How long after its start a process is taken to have met its first of everything."""


def give_back_memory() -> None:
    """Hand to the system what starting up has freed; the C library would keep it."""
    with contextlib.suppress(AttributeError, OSError):  # a library without it
        ctypes.CDLL(None).malloc_trim(0)


class Runtime:
    """What a component is handed: settings, databases, the bus, listeners, metrics.

    Databases and the bus are opened at first use. Thread-safe.
    """

    def __init__(
        self, config: Config, *, name: str = "gureum", bus_role: str | None = None
    ) -> None:
        self.config = config
        self.name = name
        self.cloud = config.get(CloudOptions)
        self.metrics = Metrics(name)
        options = config.get(ProcessOptions)
        self.http = HttpListeners(
            self.metrics,
            self.health,
            drain_s=options.drain_s,
            disabled_file=options.healthcheck_disable_file,
        )
        self.stopping = threading.Event()
        self._bus_role = bus_role
        self._bus: Bus | None = None
        self._databases: dict[str, Database] = {}
        self._client: HttpClient | None = None
        self._pools: Pools | None = None
        self._cache: SharedCache | None = None
        self._events: Events | None = None
        self._events_opened = False
        self._lock = threading.RLock()
        self._components: list[Component] = []
        self._starting = ""
        self._needs: dict[str, set[str]] = {}
        self._probes: dict[str, Probe] = {}

    @property
    def host(self) -> str:
        """The name of this machine in the cloud."""
        return self.cloud.host or os.uname().nodename

    @property
    def instance(self) -> str:
        """This process among all of the cloud; the same again after its restart."""
        return f"{self.name}@{self.host}"

    @property
    def bus(self) -> Bus:
        """The bus of this process."""
        with self._lock:
            if self._bus is None:
                url = self.config.get(BusOptions).transport_url
                self._bus = open_bus(url, role=self._bus_role)
                self._count_messages(self._bus)
                self._probes["bus"] = bus_probe(self._bus)
            self._needed("bus")
            return self._bus

    def _count_messages(self, bus: Bus) -> None:
        self.metrics.gauge_from(
            "gureum_bus_requests", "Requests of the bus that wait for a worker here or have one.",
            ("topic", "host"), bus.loads, max_age_s=0.0,
        )  # fmt: skip
        self.metrics.gauge_from(
            "gureum_bus_queue_messages", "Messages that wait at the broker, in queues read here.",
            ("queue",), bus.depths,
        )  # fmt: skip

    @property
    def client(self) -> HttpClient:
        """The HTTP client of this process; APIs of this process are called without a socket."""
        with self._lock:
            if self._client is None:
                self._client = HttpClient()
            return self._client

    @property
    def cache(self) -> SharedCache | None:
        """What all processes know together; None where no memcached is named."""
        with self._lock:
            options = self.config.get(CacheOptions)
            if self._cache is None and options.servers:
                self._cache = SharedCache(options)
            return self._cache

    @property
    def events(self) -> Events | None:
        """Where services tell what happened; None where nobody wants to know."""
        with self._lock:
            if not self._events_opened:
                self._events = open_events(self.config, self.host)
                self._events_opened = True
            return self._events

    @property
    def pools(self) -> Pools:
        """The two thread pools that answer this process's requests."""
        with self._lock:
            if self._pools is None:
                self._pools = Pools()
            return self._pools

    def database(self, name: str) -> Database:
        """The database of a name (`keystone`, `nova_api`), one object a process."""
        with self._lock:
            if name not in self._databases:
                options = self.config.get(DatabaseOptions)
                self._databases[name] = Database(
                    self.database_url(name),
                    pool_size=options.pool_size,
                    busy_timeout_s=options.busy_timeout_s,
                )
                self._probes[name] = database_probe(name, self._databases[name])
            self._needed(name)
            return self._databases[name]

    def database_url(self, name: str) -> str:
        """The URL of a database; for SQLite its folder is made."""
        named = self.config.named(NamedDatabaseOptions).get(name)
        url = named.connection if named and named.connection else ""
        if not url:
            url = self.config.get(DatabaseOptions).connection.replace("{service}", name)
        prefix = "sqlite:///"
        if url.startswith(prefix) and url[len(prefix) :] not in ("", ":memory:"):
            os.makedirs(os.path.dirname(url[len(prefix) :]) or ".", mode=0o750, exist_ok=True)
        return url

    def port(self, default: int) -> int:
        """An API port of this cloud: the usual one plus the cloud's offset."""
        return default + self.cloud.port_offset

    def health(self) -> dict[str, Health]:
        """The state of every component of this process, and of what each stands on."""
        return {component.name: self._health_of(component) for component in self._components}

    def _health_of(self, component: "Component") -> Health:
        own = component.health()
        needs = sorted(self._needs.get(component.name, ()))
        probes = [self._probes[need] for need in needs if need in self._probes]
        troubles = [text for text in (probe.trouble() for probe in probes) if text]
        if not troubles:
            return own
        return Health(False, "; ".join(filter(None, [*troubles, own.text])))

    def _needed(self, what: str) -> None:
        if self._starting:
            self._needs.setdefault(self._starting, set()).add(what)

    def start(self, component: "Component") -> None:
        """Start a component, note what it asks for meanwhile, and count it as running."""
        self._starting = component.name
        try:
            component.start(self)
        finally:
            self._starting = ""
        self._components.append(component)

    def close(self) -> None:
        """Close the bus and the databases."""
        with self._lock:
            if self._events is not None:
                self._events.close()
                self._events = None
            if self._bus is not None:
                self._bus.close()
                self._bus = None
            if self._pools is not None:
                self._pools.close()
                self._pools = None
            if self._client is not None:
                self._client.close()
                self._client = None
            if self._cache is not None:
                self._cache.close()
                self._cache = None
            for database in self._databases.values():
                database.close()
            self._databases.clear()


class Component(ABC):
    """One part of the cloud that can be started in any process, such as an API or an agent."""

    name: str = ""

    @abstractmethod
    def start(self, runtime: Runtime) -> None:
        """Begin to work and return; an API mounts its application at `runtime.http`."""

    @abstractmethod
    def stop(self) -> None:
        """End all work that `start` began. Called once, also after a failed `start`."""

    def health(self) -> Health:
        """Whether the component can do its work now. Cheap: asked at every `/readyz`."""
        return Health()


class Process:
    """Runs a set of components until a signal: start in order, serve, drain, stop in reverse."""

    def __init__(
        self,
        runtime: Runtime,
        components: Sequence[Component],
        *,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.runtime = runtime
        self.components = tuple(components)
        self._on_ready = on_ready
        self._started: list[Component] = []
        self.unstopped: list[str] = []
        self._signals = 0

    def run(self) -> int:
        """Run to the end; returns the exit code. To be called in the main thread."""
        sys.setswitchinterval(0.0005)
        previous = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            self.start()
            gc.collect()
            gc.freeze()  # what start-up made stays for good: later collections need not look at it
            # a request makes thousands of short-lived objects and few cycles: look for these less often
            gc.set_threshold(50_000, 20, 100)
            self._on_ready()
            give_back_memory()
            if not self.runtime.stopping.wait(SETTLED_S):
                give_back_memory()
                self.runtime.stopping.wait()
            return 0
        finally:
            self.stop()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def start(self) -> None:
        """Start every component, then open the ports."""
        begun = time.monotonic()
        for component in self.components:
            LOG.info("component starts", component=component.name)
            self._started.append(component)
            self.runtime.start(component)
        self.runtime.http.open()
        self.runtime.http.serve()
        LOG.info(
            "process is ready",
            process=self.runtime.name,
            components=len(self.components),
            seconds=time.monotonic() - begun,
        )

    def stop(self) -> None:
        """Drain requests, stop components in reverse, close what they shared."""
        self.runtime.stopping.set()
        self.runtime.http.drain()
        deadline = time.monotonic() + self.runtime.config.get(ProcessOptions).drain_s
        stopping: list[threading.Thread] = []
        while self._started:
            component = self._started.pop()
            LOG.info("component stops", component=component.name)
            thread = threading.Thread(target=component.stop, name=component.name, daemon=True)
            thread.start()
            # One that waits for an answer of another process must not hold up the ones before it.
            thread.join(min(STOP_WAIT_S, max(0.0, deadline - time.monotonic())))
            stopping.append(thread)
        for thread in stopping:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.unstopped = [thread.name for thread in stopping if thread.is_alive()]
        if self.unstopped:
            LOG.warning("components did not stop in time", components=",".join(self.unstopped))
            return  # what they share is still in use; the process ends now
        self.runtime.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            os._exit(128 + number)  # asked twice: the operator does not want to wait
        self.runtime.stopping.set()

"""What one process counts, in Prometheus' format.

Owns: the registry of a process and the metrics that every service shares: requests by operation,
work in progress, figures that are asked for at scrape time.
Must not: be a global (a process makes one and hands it down), or hold a label whose values users
choose (ids, paths).
Follows: Prometheus text exposition format 0.0.4; https://prometheus.io/docs/practices/naming/.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gureum.core import log
from gureum.core.db.errors import DatabaseError

LOG = log.get(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

Sample = tuple[tuple[str, ...], float]
"""Label values and the figure."""


class Metrics:
    """The figures of this process."""

    def __init__(self, process_name: str = "gureum", version: str = "") -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the number of series
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._requests = Counter(
            "gureum_requests",
            "Answered API requests.",
            ("service", "operation", "status"),
            registry=self.registry,
        )
        self._latency_s = Histogram(
            "gureum_request_duration_seconds",
            "From the first byte of an API request to the last of its answer.",
            ("service", "operation"),
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        Gauge(
            "gureum_build_info",
            "Constant 1; the labels say what runs.",
            ("process", "version"),
            registry=self.registry,
        ).labels(process_name, version).set(1)

    def observe_request(self, service: str, operation: str, status: int, seconds: float) -> None:
        """Count one answered request. `operation` is a declared name, never a path."""
        self._requests.labels(service, operation, str(status)).inc()
        self._latency_s.labels(service, operation).observe(seconds)

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """A counter of a component's own."""
        return Counter(name, text, tuple(labels), registry=self.registry)

    def histogram(self, name: str, text: str, labels: Sequence[str] = ()) -> Histogram:
        """A histogram of a component's own, in seconds."""
        return Histogram(name, text, tuple(labels), buckets=_BUCKETS_S, registry=self.registry)

    def gauge_from(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        read: Callable[[], Iterable[Sample]],
        *,
        max_age_s: float = 5.0,
    ) -> None:
        """A gauge that is read when somebody scrapes, at most every `max_age_s`.

        `read` returns (label values, figure) pairs, such as sagas by state. When it fails the
        gauge is left out of that scrape and the failure is logged.
        """
        self.registry.register(_Asked(name, text, tuple(labels), read, max_age_s))

    def render(self) -> bytes:
        """The page for a scraper."""
        return generate_latest(self.registry)


class _Asked(Collector):
    """A gauge whose samples come from a function, remembered for a moment."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: tuple[str, ...],
        read: Callable[[], Iterable[Sample]],
        max_age_s: float,
    ) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._read = read
        self._max_age_s = max_age_s
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._samples: list[Sample] = []

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Tell the name without asking the function."""
        yield GaugeMetricFamily(self._name, self._text, labels=self._labels)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Ask the function, or answer what it said a moment ago."""
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        with self._lock:
            now = time.monotonic()
            if now - self._read_at > self._max_age_s:
                try:
                    self._samples = list(self._read())
                except (DatabaseError, RuntimeError, OSError, LookupError) as error:
                    LOG.warning("metric could not be read", metric=self._name, text=str(error))
                    self._samples = []
                self._read_at = now
            samples = self._samples
        for values, figure in samples:
            family.add_metric(values, figure)
        yield family

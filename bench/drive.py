"""Runs one kind of request over several connections, and keeps what the repeats gave.

Owns: `drive`, `Sample` (the latencies of one run), `Figures` (medians of repeats). Must not: know a service.
An answer of another status than the expected one counts as an error and is no latency.
"""

import os
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloud import Cloud
from wire import Answer, Wire

Job = tuple[str, str, bytes]
"""(method, path below the service's base, body)."""
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pids: Sequence[int]) -> float:
    """Return the processor seconds that processes and their threads have used so far."""
    total = 0.0
    for pid in pids:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


@dataclass(slots=True)
class Sample:
    """One run. Latencies in milliseconds, in order; `seconds` from the first request to the last answer."""

    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    answers: list[Answer] = field(default_factory=list)
    seconds: float = 0.0
    cpu_s: float = 0.0

    @property
    def rate(self) -> float:
        """Requests a second that were answered as expected."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile(self, percent: float) -> float:
        """Return a latency in milliseconds."""
        if not self.latencies:
            return float("nan")
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(percent / 100 * len(ordered)))]


def drive(
    cloud: Cloud,
    kind: str,
    connections: int,
    job: Callable[[int], Job],
    *,
    expect: int,
    count: int | None = None,
    seconds: float | None = None,
    keep: bool = False,
    headers: dict[str, str] | None = None,
    pids: Sequence[int] = (),
) -> Sample:
    """Send `job(0)`, `job(1)`, … until so many are answered, or so many seconds have passed."""
    sample, lock = Sample(), threading.Lock()
    numbers = iter(range(count if count is not None else sys.maxsize))
    barrier = threading.Barrier(connections + 1)
    sent = cloud.headers() if headers is None else headers
    ends = [float("inf")]

    def work() -> None:
        wire = Wire(cloud.url(kind))
        wire.open()
        barrier.wait()
        while time.perf_counter() < ends[0]:
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            method, tail, body = job(number)
            began = time.perf_counter()
            try:
                answer = wire.ask(method, cloud.path(kind, tail), sent, body)
                word = str(answer.status)
            except (OSError, ValueError) as error:
                wire.close()
                answer, word = None, type(error).__name__
            took = (time.perf_counter() - began) * 1000
            with lock:
                if word == str(expect) and answer is not None:
                    sample.latencies.append(took)
                    if keep:
                        sample.answers.append(answer)
                else:
                    if not sample.errors[word]:
                        text = answer.body[:200] if answer is not None else b""
                        print(f"  ! {method} {tail}: {word} {text!r}", file=sys.stderr)
                    sample.errors[word] += 1
        wire.close()

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    cpu_before = cpu_s(pids)
    began = time.perf_counter()
    if seconds is not None:
        ends[0] = began + seconds
    barrier.wait()
    for thread in threads:
        thread.join()
    sample.seconds = time.perf_counter() - began
    sample.cpu_s = cpu_s(pids) - cpu_before
    return sample


class Figures:
    """What one cloud gave: values of the repeats by name, in the order in which they came."""

    def __init__(self, pids: Sequence[int] = ()) -> None:
        self.pids = tuple(pids)
        self._rows: dict[str, dict[str, Any]] = {}

    def add(self, name: str, value: float, unit: str, errors: Counter[str] | None = None) -> None:
        """Note the value of one repeat."""
        row = self._rows.setdefault(
            name, {"unit": unit, "values": [], "errors": Counter(), "load": []}
        )
        row["values"].append(value)
        row["errors"].update(errors or {})
        row["load"].append(round(os.getloadavg()[0], 2))

    def sample(self, name: str, sample: Sample, *, p99: bool = True) -> None:
        """Note rate, median and 99th percentile of a run, and the servers' processor time."""
        self.add(f"{name}, rate", sample.rate, "req/s", sample.errors)
        self.add(f"{name}, p50", sample.percentile(50), "ms")
        if p99:
            self.add(f"{name}, p99", sample.percentile(99), "ms")
        if self.pids and sample.latencies:
            each = 1000 * sample.cpu_s / len(sample.latencies)
            self.add(f"{name}, processor time of the servers", each, "ms")

    def forget(self, names: Sequence[str]) -> None:
        """Leave figures out, such as those of a run to warm up."""
        for name in names:
            self._rows.pop(name, None)

    @property
    def names(self) -> list[str]:
        """The names so far."""
        return list(self._rows)

    def result(self) -> dict[str, dict[str, Any]]:
        """Return every figure with its median, lowest and highest value."""
        return {
            name: {
                "unit": row["unit"],
                "median": statistics.median(row["values"]),
                "low": min(row["values"]),
                "high": max(row["values"]),
                "values": row["values"],
                "errors": dict(row["errors"]),
                "load": row["load"],
            }
            for name, row in self._rows.items()
        }

"""What a cloud counts, read from outside: metrics of every process, sagas, agents, memory.

Owns: reading and comparing two moments. Must not: draw; `top.py` does.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from gureum import components
from gureum.cli.place import Place
from gureum.cli.status import memory_mib
from gureum.cli.stories import saga_logs
from gureum.core.config import CloudOptions, Config
from gureum.core.db.errors import DatabaseError
from gureum.core.run import Runtime
from gureum.core.saga import records
from gureum.core.saga.model import END
from gureum.provision import supervisor
from gureum.provision.api import Api, ApiFailed
from gureum.provision.options import InstallOptions

DOWN_AFTER_S = 75.0
ADMIN_EVERY_S = 10.0
MOST_SAGAS = 200

Labels = tuple[tuple[str, str], ...]
Samples = dict[str, dict[Labels, float]]
"""Metric name -> labels -> figure."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One process at one moment. `since` is when it started, seconds since 1970."""

    name: str
    pid: int | None
    state: str
    since: float
    restarts: int
    memory_mib: float
    samples: Samples


@dataclass(frozen=True, slots=True)
class Moment:
    """A cloud at one moment; `at` is on the monotonic clock."""

    at: float
    processes: list[Seen]
    sagas: list[dict[str, Any]] = field(default_factory=list)
    agents: list[dict[str, Any]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


def parse(text: str) -> Samples:
    """Read a page of metrics."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = float(sample.value)
    return found


class Reader:
    """Reads one cloud again and again."""

    def __init__(self, place: Place, config: Config) -> None:
        self._place = place
        self._cloud = config.get(CloudOptions)
        self._runtime = Runtime(config, name="top")
        url = f"http://{self._cloud.address}:{5000 + self._cloud.port_offset}/v3"
        self._api = Api(url, config.get(InstallOptions).admin_password)
        self._logged_in = False
        self._asked_at = float("-inf")
        self._states: dict[tuple[str, str], bool] = {}

    def close(self) -> None:
        """Let go of databases and connections."""
        self._api.close()
        self._runtime.close()

    def read(self) -> Moment:
        """Look at everything once."""
        troubles: list[str] = []
        at = time.monotonic()
        processes = self._processes(troubles)
        return Moment(
            at, processes, self._sagas(troubles), self._agents(processes, troubles), troubles
        )

    # -- processes ----------------------------------------------------------------------------

    def _processes(self, troubles: list[str]) -> list[Seen]:
        status = supervisor.read_status(self._place.run_dir)
        if status is None:
            return self._unsupervised(troubles)
        found = []
        for child in status.children:
            samples: Samples = {}
            try:
                samples = self._metrics(socket=self._place.run_dir / f"{child.name}.sock")
            except (httpx.TransportError, ValueError) as error:
                troubles.append(f"{child.name} tells no metrics: {error}")
            found.append(
                Seen(
                    child.name, child.pid, child.state, child.since, child.restarts,
                    memory_mib(child.pid) if child.pid else 0.0, samples,
                )
            )  # fmt: skip
        return found

    def _unsupervised(self, troubles: list[str]) -> list[Seen]:
        """Processes that were started by hand or by the system: those whose APIs answer here."""
        found: dict[tuple[str, float], Seen] = {}
        for name, entry in components.COMPONENTS.items():
            if entry.port is None:
                continue
            port = entry.port + self._cloud.port_offset
            try:
                samples = self._metrics(port=port)
            except (httpx.TransportError, ValueError):
                continue
            since = _one(samples, "process_start_time_seconds")
            memory = _one(samples, "process_resident_memory_bytes") / 2**20
            told = dict(next(iter(samples.get("gureum_build_info", {})), ()))
            process = told.get("process", name)
            found[process, since] = Seen(process, None, "running", since, 0, memory, samples)
        if not found:
            troubles.append("no process of this cloud answers here")
        return list(found.values())

    def _metrics(self, *, socket: Path | None = None, port: int = 0) -> Samples:
        transport = httpx.HTTPTransport(uds=str(socket)) if socket else httpx.HTTPTransport()
        base = "http://process" if socket else f"http://{self._cloud.address}:{port}"
        with httpx.Client(transport=transport, timeout=5, base_url=base) as client:
            answer = client.get("/metrics")
        if answer.status_code != 200:
            raise ValueError(f"/metrics answered {answer.status_code}")
        return parse(answer.text)

    # -- sagas and agents ---------------------------------------------------------------------

    def _sagas(self, troubles: list[str]) -> list[dict[str, Any]]:
        now, found = time.time(), []
        for name, database, store in saga_logs(self._runtime):
            try:
                with database.read() as tx:
                    active = store.in_state(tx, records.ACTIVE, limit=MOST_SAGAS)
            except DatabaseError as error:
                troubles.append(f"the saga log of {name} cannot be read: {error}")
                continue
            for record in active:
                step = record.steps[-1] if record.steps else None
                found.append(
                    {
                        "id": record.id,
                        "saga": record.name,
                        "state": record.state,
                        "step": "-" if step is None else "end" if step.name == END else step.name,
                        "tries": 0 if step is None else max(step.tries, step.undo_tries),
                        "age_s": round(now - record.created_at, 1),
                        "resource": record.resource_id,
                        "request": record.requester.request_id,
                        "progress": "" if step is None else step.progress or "",
                        "error": record.error_code or (step.error_code if step else "") or "",
                    }
                )
        return sorted(found, key=lambda one: -one["age_s"])

    def _agents(self, processes: Iterable[Seen], troubles: list[str]) -> list[dict[str, Any]]:
        ages: dict[tuple[str, str], float] = {}
        for process in processes:
            for name, samples in process.samples.items():
                if name.endswith("_heartbeat_age_seconds"):
                    for labels, heard in samples.items():
                        told = dict(labels)
                        ages[told["binary"], told["host"]] = heard
        if time.monotonic() - self._asked_at > ADMIN_EVERY_S:
            self._ask_admin(troubles)
        found = []
        for key in sorted({*ages, *self._states}):
            age = ages.get(key)
            up = self._states.get(key, age is not None and age < DOWN_AFTER_S)
            found.append({"agent": key[0], "host": key[1], "up": up,
                          "heartbeat_age_s": None if age is None else round(age, 1)})  # fmt: skip
        return found

    def _ask_admin(self, troubles: list[str]) -> None:
        """Learn which agents the APIs count as alive."""
        self._asked_at = time.monotonic()
        try:
            if not self._logged_in:
                self._api.login()
                self._logged_in = True
            states: dict[tuple[str, str], bool] = {}
            if self._api.has("compute"):
                for row in self._api.get("compute", "/os-services")["services"]:
                    states[row["binary"], row["host"]] = row["state"] == "up"
            if self._api.has("network"):
                for row in self._api.get("network", "/v2.0/agents")["agents"]:
                    states[row["binary"], row["host"]] = bool(row["alive"])
            self._states = states
        except (ApiFailed, KeyError) as error:
            self._logged_in = False  # the token may have expired
            troubles.append(f"the APIs tell nothing of agents: {error}")


def _one(samples: Samples, name: str) -> float:
    return next(iter(samples.get(name, {}).values()), 0.0)


# -- two moments -----------------------------------------------------------------------------------


def compare(before: Moment, after: Moment) -> dict[str, Any]:
    """Return what a reader wants to know: rates between two moments, and how things stand."""
    seconds = max(1e-3, after.at - before.at)
    earlier = {process.name: process for process in before.processes}
    operations: dict[tuple[str, str], dict[str, float]] = {}
    processes = []
    for process in after.processes:
        then = earlier.get(process.name)
        old: Samples = then.samples if then is not None and then.pid == process.pid else {}
        _count_operations(old, process.samples, operations)
        cpu = _one(process.samples, "process_cpu_seconds_total")
        cpu -= _one(old, "process_cpu_seconds_total") if old else cpu
        in_progress = sum(process.samples.get("gureum_requests_in_progress", {}).values())
        processes.append(
            {
                "name": process.name,
                "pid": process.pid,
                "state": process.state,
                "up_s": round(max(0.0, time.time() - process.since), 1),
                "restarts": process.restarts,
                "memory_mib": round(process.memory_mib, 1),
                "cpu_percent": round(100 * max(0.0, cpu) / seconds, 1),
                "in_progress": int(in_progress),
            }
        )
    return {
        "seconds": round(seconds, 3),
        "requests_per_s": round(sum(one["count"] for one in operations.values()) / seconds, 2),
        "processes": processes,
        "operations": _operations(operations, seconds),
        "sagas": after.sagas,
        "agents": after.agents,
        "queues": _queues(after.processes),
        "troubles": after.troubles,
    }


def _count_operations(
    old: Samples, new: Samples, into: dict[tuple[str, str], dict[str, float]]
) -> None:
    def grown(metric: str) -> Iterable[tuple[Mapping[str, str], float]]:
        past = old.get(metric, {})
        for labels, figure in new.get(metric, {}).items():
            if figure > past.get(labels, 0.0):
                yield dict(labels), figure - past.get(labels, 0.0)

    for labels, more in grown("gureum_requests_total"):
        found = into.setdefault((labels["service"], labels["operation"]), {"count": 0.0})
        found["count"] += more
        if labels["status"].startswith("5"):
            found["errors"] = found.get("errors", 0.0) + more
    for labels, more in grown("gureum_request_duration_seconds_sum"):
        found = into.setdefault((labels["service"], labels["operation"]), {"count": 0.0})
        found["seconds"] = found.get("seconds", 0.0) + more
    for labels, more in grown("gureum_request_duration_seconds_bucket"):
        found = into.setdefault((labels["service"], labels["operation"]), {"count": 0.0})
        key = "le " + labels["le"]
        found[key] = found.get(key, 0.0) + more


def _operations(
    counted: Mapping[tuple[str, str], Mapping[str, float]], seconds: float
) -> list[dict[str, Any]]:
    rows = []
    for (service, operation), one in counted.items():
        if not one["count"]:
            continue
        p95 = _quantile(one, 0.95)
        rows.append(
            {
                "service": service,
                "operation": operation,
                "per_s": round(one["count"] / seconds, 2),
                "mean_ms": round(1000 * one.get("seconds", 0.0) / one["count"], 2),
                "p95_ms": None if p95 is None else round(1000 * p95, 1),
                "errors_per_s": round(one.get("errors", 0.0) / seconds, 2),
            }
        )
    return sorted(rows, key=lambda row: (-row["per_s"], row["service"], row["operation"]))


def _quantile(one: Mapping[str, float], part: float) -> float | None:
    """The smallest bucket that holds this part of the requests, in seconds; None above all of them."""
    bounds = sorted((float(key[3:]), more) for key, more in one.items() if key.startswith("le "))
    for bound, more in bounds:
        if more >= part * one["count"]:
            return None if bound == float("inf") else bound
    return None


def _queues(processes: Iterable[Seen]) -> list[dict[str, Any]]:
    rows = []
    for process in processes:
        for labels, load in sorted(process.samples.get("gureum_bus_requests", {}).items()):
            told = dict(labels)
            rows.append({"process": process.name, "queue": f"{told['topic']}@{told['host']}",
                         "requests": int(load), "at": "worker"})  # fmt: skip
        for labels, depth in sorted(process.samples.get("gureum_bus_queue_messages", {}).items()):
            rows.append({"process": process.name, "queue": dict(labels)["queue"],
                         "requests": int(depth), "at": "broker"})  # fmt: skip
    return rows

"""Heartbeats of agents that say nothing new: kept for half a second, then written together.

Owns: what each agent said last, and what is due to agents beside the write (ports that wait for DHCP, old
changes, the newest change of each host). Must not: take a report that is new; `state.py` does. What one
process knows is only ever a reason to write less: an agent that was silent for long, or says something else,
is written at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gureum.core.db import Tx
from gureum.neutron.agents.contract import AgentAck, AgentReport
from gureum.neutron.deps import Deps
from gureum.neutron.logic import binding
from gureum.neutron.store import agents as store
from gureum.neutron.store import changes

TOGETHER_S = 0.5
"""Heartbeats of so long a time are written together."""
AGAIN_S = 300.0
"""After so long an unchanged report is written in full again."""
L2_AGENTS = ("Open vSwitch agent", "Linux bridge agent")
KIND_OF_AGENT = {
    "Open vSwitch agent": changes.L2,
    "Linux bridge agent": changes.L2,
    "L3 agent": changes.L3,
    "DHCP agent": changes.DHCP,
}
_VARYING = frozenset({"converge_seconds"})
"""Configurations that are a figure of the moment."""


@dataclass(slots=True)
class _Heard:
    """The last report of an agent that was written in full, and until when it need not be again."""

    said: AgentReport
    agent_id: str
    at: float
    until: float


class Heartbeats:
    """What one process heard of agents. Thread-safe."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._lock = threading.Lock()
        self._heard: dict[tuple[str, str], _Heard] = {}
        self._beats: dict[str, AgentReport] = {}
        self._written_at = float("-inf")
        self._up: Mapping[str, bool] = {}
        self._newest: dict[tuple[str, str], int] = {}
        self._newest_at = 0

    def written(self, report: AgentReport, agent_id: str) -> None:
        """Note that a report was written in full."""
        now = time.monotonic()
        heard = _Heard(_said(report), agent_id, now, now + AGAIN_S)
        with self._lock:
            self._heard[report.agent_type, report.host] = heard

    def take(self, report: AgentReport) -> AgentAck | None:
        """Take a heartbeat that says nothing new; None: it has to be written in full.

        Should this process end before, agents look as if they had been silent since their last one.
        """
        now = time.monotonic()
        with self._lock:
            heard = self._heard.get((report.agent_type, report.host))
            if heard is None or now >= heard.until or heard.said != _said(report):
                return None
            if now - heard.at > self._deps.options.agent_down_time / 2:
                return None  # somebody may have taken it for dead
            heard.at = now
            self._beats[heard.agent_id] = report
            beats: dict[str, AgentReport] = {}
            if now - self._written_at >= TOGETHER_S:
                beats, self._beats = self._beats, {}
                self._written_at = now
        if beats:
            self._write(beats)
        newest = self._newest.get((KIND_OF_AGENT.get(report.agent_type, ""), report.host), 0)
        return AgentAck(revision=newest, admin_state_up=self._up.get(heard.agent_id, True))

    def _write(self, beats: Mapping[str, AgentReport]) -> None:
        seen = self._newest_at

        def work(tx: Tx) -> tuple[dict[str, bool], int, dict[tuple[str, str], int]]:
            up = store.still_there(tx, beats)
            hosts = {one.host for one in beats.values() if one.agent_type in L2_AGENTS}
            binding.settle(tx, hosts)
            changes.prune(tx, self._deps.options.changes_kept)
            revision, _ = changes.current(tx)
            since = seen if seen <= revision else 0  # an older copy of the database was put back
            return up, revision, changes.newest(tx, since=since) if revision != seen else {}

        up, revision, newest = self._deps.db.retrying(work)
        with self._lock:
            self._up = {**self._up, **up}
            for key, value in newest.items():
                self._newest[key] = max(value, self._newest.get(key, 0))
            self._newest_at = revision
            for agent_id, report in beats.items():
                if agent_id not in up:
                    self._heard.pop((report.agent_type, report.host), None)


def _said(report: AgentReport) -> AgentReport:
    steady = {k: v for k, v in report.configurations.items() if k not in _VARYING}
    return replace(report, revision=0, configurations=steady)

"""A decision: placement's candidates, filters, weighers, and the record of why.

Owns: `HostChooser`, which implements the scheduler's contract. Must not: claim or write anything.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

from msgspec.structs import replace as with_room

from gureum.core import log
from gureum.core.db.engine import Database
from gureum.nova.config import NovaOptions
from gureum.nova.placement import DISK_GB, MEMORY_MB, VCPU, Candidate, Placement, Usage
from gureum.nova.scheduler.config import FilterSchedulerOptions, SchedulerOptions
from gureum.nova.scheduler.contract import (
    Explanation,
    FilterCount,
    Scheduler,
    ScheduleRequest,
    SelectedHost,
    Selection,
)
from gureum.nova.scheduler.filters import Asked, named, passes_all, servers_named
from gureum.nova.scheduler.hosts import HostState, KnownHosts
from gureum.nova.scheduler.weighers import Weights, weigh

LOG = log.get(__name__)

PLACEMENT = "Placement"
_QUIET = ("RequestedDestination", "Retry")
"""Questions that are only worth a line when they refused somebody."""
EXPLAINED_HOSTS = 20
"""How many hosts placement is asked about when it offered none."""
WEIGHED_HOSTS = 20
REFUSED_SHOWN = 20
"""How many hosts the record of a successful decision names: it is kept for every server."""
COUNTING = "NumInstancesFilter"
COUNT_FACT = "num_instances"
"""What asks how many servers are on each host."""


def resources_of(request: ScheduleRequest) -> dict[str, int]:
    """Return what a server takes of its host; `resources:…` extra specs replace the flavor's."""
    wanted = {VCPU: request.vcpus, MEMORY_MB: request.memory_mib, DISK_GB: request.disk_gib}
    for key, value in request.extra_specs.items():
        if key.startswith("resources:") and value.isdigit():
            wanted[key.removeprefix("resources:")] = int(value)
    return {name: amount for name, amount in wanted.items() if amount > 0}


def traits_of(request: ScheduleRequest) -> tuple[list[str], list[str]]:
    """Return required and forbidden traits, from extra specs and image properties."""
    required: list[str] = []
    forbidden: list[str] = []
    for key, value in [*request.extra_specs.items(), *request.image_properties.items()]:
        if key.startswith("trait:"):
            (forbidden if value == "forbidden" else required).append(key.removeprefix("trait:"))
    return sorted(set(required)), sorted(set(forbidden))


class HostChooser(Scheduler):
    """Chooses hosts. `cells`: databases in which compute nodes are."""

    def __init__(
        self,
        api: Database,
        cells: Sequence[Database],
        placement: Placement,
        options: FilterSchedulerOptions,
        scheduler: SchedulerOptions,
        nova: NovaOptions,
        *,
        draw: random.Random | None = None,
    ) -> None:
        self._known = KnownHosts(
            api,
            cells,
            service_down_time_s=nova.service_down_time,
            default_zone=nova.default_availability_zone,
        )
        self._placement = placement
        self._options = options
        self._scheduler = scheduler
        self._nova = nova
        self._filters = named(options.enabled_filters)
        self._counts_servers = any(name == COUNTING for name, _ in self._filters)
        self._draw = draw or random.Random()

    def select(self, request: ScheduleRequest) -> Selection:
        """Return the best hosts for a server."""
        if request.zone is None and self._nova.default_schedule_zone:
            request = replace(request, zone=self._nova.default_schedule_zone)
        selection = self._select(request, fresh=False)
        if not selection.hosts and refused_by(selection, "ComputeFilter"):
            selection = self._select(request, fresh=True)  # a host may just have reported
        if not selection.hosts:
            LOG.warning("no valid host", server_id=request.server_id,
                        why=selection.explanation.text())
        return selection

    def _select(self, request: ScheduleRequest, *, fresh: bool) -> Selection:
        resources = resources_of(request)
        required, forbidden = traits_of(request)
        candidates = self._placement.candidates(
            resources,
            required=required,
            forbidden=forbidden,
            limit=self._scheduler.max_placement_results,
        )
        hosts = self._known.now(
            interesting=servers_named(request),
            counted=self._counts_servers or any(COUNT_FACT in key for key in request.extra_specs),
            fresh=fresh,
        )
        refused = Refused(len(hosts))
        left = self._offered(hosts, candidates, resources, refused)
        left = self._wanted(left, request, refused)
        if request.force_host is None and request.force_node is None:
            left = self._filtered(left, hosts, request, refused)
        weights = weigh(left, request, self._options)
        ordered = self._ordered(weights)
        shown = ordered[: max(request.limit, WEIGHED_HOSTS)]
        return Selection(
            tuple(
                SelectedHost(
                    host=host.host,
                    node=host.node,
                    provider_id=host.provider_id,
                    zone=host.zone,
                    resources=dict(resources),
                    weight=weights.total(host),
                )
                for host in ordered[: request.limit]
            ),
            refused.explanation({host.node: weights.shown(host) for host in shown}),
        )

    def _offered(
        self,
        hosts: Sequence[HostState],
        candidates: Sequence[Candidate],
        resources: Mapping[str, int],
        refused: "Refused",
    ) -> list[HostState]:
        by_provider = {candidate.provider_id: candidate for candidate in candidates}
        left, out, amounts = [], {}, {}
        explained = EXPLAINED_HOSTS if not candidates else 0
        for host in hosts:
            candidate = by_provider.get(host.provider_id)
            if candidate is not None:
                left.append(with_room(host, room=candidate.usages))
                continue
            why = "no room, or a required trait is missing"
            if explained > 0:
                explained -= 1
                usages = self._placement.usages(host.provider_id)
                why = shortage(usages, resources) or why
                amounts[host] = f"{why}{missing(usages, resources)}"
            out[host] = why
        refused.add(PLACEMENT, len(hosts), out, amounts)
        return left

    def _wanted(
        self, hosts: Sequence[HostState], request: ScheduleRequest, refused: "Refused"
    ) -> list[HostState]:
        """Keep the hosts that were asked for by name and have not failed already."""
        host_name = request.force_host or request.requested_host
        node_name = request.force_node or request.requested_node
        left = list(hosts)
        if host_name or node_name:
            out = {
                host: "another host was asked for"
                for host in hosts
                if (host_name and host.host != host_name) or (node_name and host.node != node_name)
            }
            refused.add("RequestedDestination", len(hosts), out)
            left = [host for host in hosts if host not in out]
        if request.exclude_hosts:
            failed = {
                host: "the server failed there already"
                for host in left
                if host.host in request.exclude_hosts
            }
            refused.add("Retry", len(left), failed)
            left = [host for host in left if host not in failed]
        return left

    def _filtered(
        self,
        left: list[HostState],
        hosts: Sequence[HostState],
        request: ScheduleRequest,
        refused: "Refused",
    ) -> list[HostState]:
        placed: frozenset[str] = frozenset()
        if request.group is not None:
            near = frozenset[str]().union(*(host.near for host in hosts))
            placed = near & frozenset(request.group.members)
        asked = Asked(request, self._options, placed)
        for name, question in self._filters:
            if passes_all(name, asked):
                refused.add(name, len(left), {})
                continue
            out = {}
            for host in left:
                why = question(host, asked)
                if why is not None:
                    out[host] = why
            refused.add(name, len(left), out)
            if out:
                left = [host for host in left if host not in out]
        return left

    def _ordered(self, weights: Weights) -> list[HostState]:
        ordered = weights.best_first()
        best = ordered[: self._options.host_subset_size]
        if len(best) > 1:
            first = self._draw.choice(best)
            ordered.remove(first)
            ordered.insert(0, first)
        return ordered


class Refused:
    """Collects who refused which hosts, and why."""

    def __init__(self, known: int) -> None:
        self._known = known
        self._counts: list[FilterCount] = []
        self._hosts: dict[str, str] = {}

    def add(
        self,
        name: str,
        asked: int,
        out: Mapping[HostState, str],
        inside: Mapping[HostState, str] | None = None,
    ) -> None:
        """Note what one filter refused; `inside` says more of some hosts, to operators only."""
        if not out and name in _QUIET:
            return
        reasons = Counter(out.values())
        self._counts.append(FilterCount(name, asked, len(out), dict(reasons)))
        for host, why in out.items():
            self._hosts[host.host] = f"{name}: {(inside or {}).get(host, why)}"

    def explanation(self, weights: dict[str, dict[str, float]]) -> Explanation:
        """Return the record of the decision; when hosts were found, it names some that were not."""
        hosts = self._hosts
        if weights:
            hosts = dict(islice(hosts.items(), REFUSED_SHOWN))
        return Explanation(self._known, tuple(self._counts), hosts, weights)


def refused_by(selection: Selection, name: str) -> bool:
    """Whether a filter refused some host."""
    return any(count.name == name and count.refused for count in selection.explanation.counts)


def shortage(usages: Mapping[str, Usage] | None, resources: Mapping[str, int]) -> str | None:
    """Say of which resources a provider has too little, as far as users may know."""
    if usages is None:
        return "the host has not reported its inventory"
    short = [
        name
        for name, amount in resources.items()
        if name not in usages or usages[name].capacity - usages[name].used < amount
    ]
    return f"not enough {', '.join(sorted(short))}" if short else None


def missing(usages: Mapping[str, Usage] | None, resources: Mapping[str, int]) -> str:
    """Say in numbers what `shortage` says in words; for operators."""
    told = []
    for name, amount in sorted(resources.items()):
        usage = (usages or {}).get(name)
        if usage is not None and usage.capacity - usage.used < amount:
            free = max(0, usage.capacity - usage.used)
            told.append(f"{name}: {amount} asked, {free} free of {usage.capacity}")
    return f" ({'; '.join(told)})" if told else ""

"""What neutron-server's transactions and handlers carry: options, policy, the way to agents and Nova.

Must not: hold state of a request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gureum.core.db import Database
from gureum.core.policy import Policy
from gureum.neutron.config import Ml2Options, NeutronOptions, QuotaOptions
from gureum.neutron.ml2.manager import Ml2

Poke = Callable[[str, str, int, Sequence[str]], None]
"""(binary of the agent, host, revision, kinds): a hint that the wanted state changed."""

PortEvent = Callable[[str, str, str, str], None]
"""(event name, device id, port id, MAC): tells Nova about a port of a guest."""


def no_poke(binary: str, host: str, revision: int, kinds: Sequence[str]) -> None:
    """Tell nobody."""


def no_event(name: str, device_id: str, port_id: str, mac_address: str) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Deps:
    """The service's own object, on every transaction as `tx.deps`."""

    db: Database
    policy: Policy
    options: NeutronOptions = field(default_factory=NeutronOptions)
    quotas: QuotaOptions = field(default_factory=QuotaOptions)
    ml2: Ml2 = field(default_factory=lambda: Ml2(Ml2Options(), 1500))
    poke: Poke = no_poke
    nova_event: PortEvent = no_event

"""The message bus: declared contracts over an in-process, Unix-socket or RabbitMQ transport.

Read `contract.py` to declare what an agent can be asked, `base.py` for `Bus`, `journal.py` for how
an agent makes a job idempotent. `docs/adr/0004-bus.md` says why it is like this.
"""

from gureum.core.bus.base import Bus, Service
from gureum.core.bus.contract import (
    FAST,
    SLOW,
    AgentError,
    BadMessage,
    BusError,
    BusTimeout,
    Contract,
    Fenced,
    NoServer,
    call,
    cast,
    job,
)
from gureum.core.bus.journal import Journal
from gureum.core.bus.open import open_bus

__all__ = [
    "FAST",
    "SLOW",
    "AgentError",
    "BadMessage",
    "Bus",
    "BusError",
    "BusTimeout",
    "Contract",
    "Fenced",
    "Journal",
    "NoServer",
    "Service",
    "call",
    "cast",
    "job",
    "open_bus",
]

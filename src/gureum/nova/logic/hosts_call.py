"""Asking a compute host while the caller waits, and what its errors mean to the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gureum.core import log
from gureum.core.bus.contract import AgentError, BusError
from gureum.core.spec.errors import ServiceUnavailable
from gureum.nova.deps import Deps, Guests
from gureum.nova.errors import NotReady, NotSupported
from gureum.nova.logic.server_load import Server, host_of

T = TypeVar("T")

_log = log.get(__name__)
_NOT_THERE = frozenset({"guest_not_found", "guest_state_conflict"})


def ask(deps: Deps, server: Server, what: str, question: Callable[[Guests], T]) -> T:
    """Put a question to the server's host. Raises: NotReady, NotSupported, ServiceUnavailable."""
    host = host_of(server)
    try:
        return question(deps.compute(host))
    except AgentError as error:
        if error.code in _NOT_THERE:
            raise NotReady(server_id=server.id) from error
        if error.code == "unsupported":
            raise NotSupported(verb=what) from error
        _log.warning("a host could not answer", host=host, what=what, code=error.code)
        raise ServiceUnavailable(f"Unable to {what}: the host does not answer now.") from error
    except BusError as error:
        _log.warning("a host does not answer", host=host, what=what, reason=str(error))
        raise ServiceUnavailable(f"Unable to {what}: the host does not answer now.") from error

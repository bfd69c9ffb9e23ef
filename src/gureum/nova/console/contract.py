# mypy: disable-error-code="empty-body"
"""What the console proxy asks: where does this token lead?

Owns: the contract between the proxy and the part of Nova that keeps console tokens (as hashes).
"""

from dataclasses import dataclass, field

from gureum.core.bus.contract import FAST, Contract, call


@dataclass(frozen=True, slots=True)
class ConsoleTarget:
    """The one screen that a token opens, at the address where it listens now."""

    server_id: str
    host: str
    port: int
    internal_access_path: str | None = field(default=None, repr=False)


class ConsoleAuth(Contract, topic="nova-consoleauth", version=1):
    """Whoever keeps the console tokens."""

    @call(timeout=FAST)
    def validate(self, token: str) -> ConsoleTarget | None:
        """Return where a token leads, or None: unknown, expired, or its server is gone.

        Asks the compute host for the screen's address each time, because a port that one guest had
        may be another guest's later (abuse case 25).
        """
        ...

    @call(timeout=FAST)
    def session_alive(self, server_id: str) -> bool:
        """Return whether an open console of this server may stay open."""
        ...

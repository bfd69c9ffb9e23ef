# mypy: disable-error-code="empty-body"
"""Hints to the conductor: that there is work. Losing one loses time only.

Owns: `ConductorHints`. Must not: import a store.
"""

from gureum.core.bus.contract import Contract, cast


class ConductorHints(Contract, topic="nova-conductor-hints", version=1):
    """What other parts of Nova may tell any conductor."""

    @cast()
    def wake(self) -> None:
        """A saga was submitted: look for it now."""
        ...

    @cast()
    def refresh_ports(self, server_ids: list[str]) -> None:
        """Neutron changed something about the ports of these servers."""
        ...

"""From a `transport_url` to a bus."""

from urllib.parse import parse_qs, urlsplit

from gureum.core.bus.base import Bus
from gureum.core.bus.local import LocalBus


def open_bus(transport_url: str, *, role: str | None = None) -> Bus:
    """Open the bus that a URL names.

    `local://` stays inside the process; `local:///path/bus.sock?role=hub` hosts a Unix-socket hub
    and `?role=leaf` joins it (`role` replaces the one in the URL);
    `rabbit://user:password@host:5672/vhost` uses RabbitMQ (also `amqp://`; several hosts separated
    by commas).

    Raises: ValueError.
    """
    scheme = urlsplit(transport_url.split(",", 1)[0]).scheme
    if scheme in ("rabbit", "amqp", "amqps"):
        from gureum.core.bus.rabbit import RabbitBus

        return RabbitBus(transport_url)
    if scheme != "local":
        raise ValueError(f"transport_url must start with local:// or rabbit://, not {scheme!r}")
    parts = urlsplit(transport_url)
    if not parts.path:
        return LocalBus()
    asked = role or (parse_qs(parts.query).get("role") or ["leaf"])[0]
    from gureum.core.bus.hub import HubBus, LeafBus

    if asked == "hub":
        return HubBus(parts.path)
    if asked == "leaf":
        return LeafBus(parts.path)
    raise ValueError(f"role must be hub or leaf, not {asked!r}")

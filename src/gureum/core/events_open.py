"""From [notifications] to sinks."""

from pathlib import Path
from urllib.parse import urlsplit

from gureum.core.config import Config, ConfigError
from gureum.core.events import EventFile, Events, Sink
from gureum.core.options import BusOptions, NotificationOptions
from gureum.core.problems import Problem

_BROKERS = ("rabbit", "amqp", "amqps")


def open_events(config: Config, host: str) -> Events | None:
    """Return what services tell events to; None when nobody wants them. Raises: ConfigError."""
    options = config.get(NotificationOptions)
    sinks: list[Sink] = []
    for driver in options.driver:
        if driver == "log":
            sinks.append(EventFile(Path(options.file)))
        elif driver == "messagingv2":
            sinks.append(_exchange(config, options))
    return Events(host, sinks) if sinks else None


def _exchange(config: Config, options: NotificationOptions) -> Sink:
    url = options.transport_url or config.get(BusOptions).transport_url
    if urlsplit(url.split(",", 1)[0]).scheme not in _BROKERS:
        text = "must be rabbit://user:password@host:5672/vhost, here or in [bus], for messagingv2"
        raise ConfigError([Problem("config", "notifications.transport_url", text)])
    from gureum.core.events_amqp import EventExchange

    return EventExchange(url, options.topics, durable=options.amqp_durable_queues)

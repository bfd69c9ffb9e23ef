"""The options that every process has: databases, bus, the process itself.

Owns: their declarations. Must not: import what they configure; commands read them without paying for it.
"""

from dataclasses import dataclass

from gureum.core.cache import CacheOptions
from gureum.core.config import CloudOptions, option, section
from gureum.core.faults import SimulatedOptions


@section("database", "Where the services keep their rows: one database each.")
@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """The connection that every database uses unless `[database.NAME]` says otherwise."""

    connection: str = option(
        "SQLAlchemy URL; {service} is the name of the database.",
        default="sqlite:///{state_dir}/db/{service}.sqlite",
        secret=True,
    )
    pool_size: int = option("Connections a process and database.", default=16, min=1, max=256)
    busy_timeout_s: float = option(
        "How long a SQLite writer waits for another.", default=10.0, unit="s", min=0
    )


@section("database.*", "One database that lives elsewhere, such as [database.nova_cell1].")
@dataclass(frozen=True, slots=True)
class NamedDatabaseOptions:
    """The connection of one database."""

    connection: str = option("SQLAlchemy URL of this database.", default="", secret=True)


@section("bus", "How processes reach each other.")
@dataclass(frozen=True, slots=True)
class BusOptions:
    """The message bus."""

    transport_url: str = option(
        "local:// (one process), local:///path/of/a.sock (several processes of one machine), or"
        " rabbit://user:password@host:5672/vhost.",
        default="local://",
        secret=True,
    )


@section("process", "How every Gureum process runs.")
@dataclass(frozen=True, slots=True)
class ProcessOptions:
    """Settings of a process."""

    log_level: str = option(
        "Least level that is logged.",
        default="INFO",
        choices=("DEBUG", "INFO", "WARNING", "ERROR"),
    )
    drain_s: float = option(
        "How long running requests may take at a stop.", default=10.0, unit="s", min=0, max=600
    )
    healthcheck_disable_file: str = option(
        "While this file is there, /healthcheck and /readyz say 503, so that a load balancer sends"
        " nobody; what runs goes on.",
        default="{run_dir}/healthcheck_disable",
    )


@section("notifications", "Events about resources, for billing, audit and telemetry.")
@dataclass(frozen=True, slots=True)
class NotificationOptions:
    """Who is told what happened to which resource."""

    driver: tuple[str, ...] = option(
        "Where events go: messagingv2 (RabbitMQ, in the common format), log (a file of JSON lines)."
        " Empty: nowhere, and they cost nothing.",
        default=(),
        choices=("messagingv2", "log", "noop"),
    )
    transport_url: str = option(
        "The broker of messagingv2; empty: that of [bus].", default="", secret=True
    )
    topics: tuple[str, ...] = option(
        "First word of the queues that get every event, as in notifications.info.",
        default=("notifications",),
    )
    file: str = option("The file of log.", default="{log_dir}/notifications.jsonl")
    amqp_durable_queues: bool = option(
        "How exchanges and queues are made that no reader has made yet; as its readers have it.",
        default=False,
    )


CORE_SECTIONS: tuple[type, ...] = (
    CloudOptions,
    DatabaseOptions,
    NamedDatabaseOptions,
    BusOptions,
    ProcessOptions,
    CacheOptions,
    NotificationOptions,
    SimulatedOptions,
)

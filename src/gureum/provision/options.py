"""What `gureum up` writes down about the cloud that it made."""

from dataclasses import dataclass

from gureum.core.config import option, section


@section("install", "How this cloud was made by `gureum up`.")
@dataclass(frozen=True, slots=True)
class InstallOptions:
    """Read by the bootstrap and by the commands; not by any service."""

    name: str = option(
        "Name of a cloud beside others; its bridges and namespaces carry it. Empty for the"
        " machine's own.",
        default="",
    )
    simulated: bool = option("Whether every driver is a fake one.", default=False)
    distributed: bool = option(
        "Whether every component is a process of its own, on a database server, RabbitMQ and"
        " memcached that `up` runs.",
        default=False,
    )
    database: str = option(
        "Database server of a distributed one.",
        default="mariadb",
        choices=("mariadb", "postgresql"),
    )
    processes: int = option(
        "Processes of each API, conductor and scheduler of a distributed one.",
        default=1,
        min=1,
        max=64,
    )
    daemon_password: str = option(
        "Password of the database server and the broker that `up` runs.", default="", secret=True
    )
    ephemeral: bool = option("Whether `gureum down` forgets everything.", default=False)
    admin_password: str = option("Password of admin at its creation.", default="", secret=True)
    physical_network: str = option("Name of the provider network's wire.", default="physnet1")

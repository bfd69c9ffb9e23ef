"""Options of Nova's API. Names are the classic ones where there is one.

The compute agent's options are in agent/config.py, the metadata service's in metadata/config.py.
"""

from dataclasses import dataclass

from gureum.core.config import option, section


@section("nova", "The compute service.")
@dataclass(frozen=True, slots=True)
class NovaOptions:
    """nova-api itself, and what API, conductor and scheduler agree on."""

    max_limit: int = option("Most items that one list answer holds.", default=1000, min=1)
    service_down_time: float = option(
        "A service that has not reported for so long counts as down.",
        default=60.0,
        unit="s",
        min=1,
    )
    default_availability_zone: str = option(
        "Zone of compute hosts that are in no aggregate with a zone.", default="nova"
    )
    internal_service_availability_zone: str = option(
        "Zone shown for services other than compute.", default="internal"
    )
    default_schedule_zone: str = option(
        "Zone of servers that ask for none; empty: any.", default=""
    )
    enable_instance_password: bool = option(
        "Return a generated administrator password when a server is created.", default=True
    )
    password_length: int = option("Length of generated passwords.", default=12, min=8, max=64)
    shutdown_timeout: int = option(
        "How long a guest may take to shut itself down.", default=60, unit="s", min=1
    )
    vif_plugging_timeout: int = option(
        "How long the build of a server waits for its ports to be plugged; 0 does not wait.",
        default=300,
        unit="s",
        min=0,
        max=1500,
    )
    vif_plugging_is_fatal: bool = option(
        "Whether a build fails whose ports were not plugged in time.", default=True
    )
    max_user_data: int = option(
        "Most characters of user data, base64.", default=65535, min=0, max=1 << 20
    )


@section("nova.quota", "Default quotas; -1 is without limit.")
@dataclass(frozen=True, slots=True)
class QuotaOptions:
    """What a project or user may have unless its own quota or the default class says otherwise."""

    instances: int = option("Servers of a project.", default=10, min=-1)
    cores: int = option("VCPUs of a project's servers.", default=20, min=-1)
    ram: int = option("Memory of a project's servers.", default=51200, unit="MiB", min=-1)
    metadata_items: int = option("Metadata items of a server.", default=128, min=-1)
    injected_files: int = option("Personality files of a server.", default=5, min=-1)
    injected_file_content_bytes: int = option(
        "Size of a personality file.", default=10240, unit="bytes", min=-1
    )
    injected_file_path_length: int = option(
        "Length of a personality file's path.", default=255, min=-1
    )
    key_pairs: int = option("Key pairs of a user.", default=100, min=-1)
    server_groups: int = option("Server groups of a project.", default=10, min=-1)
    server_group_members: int = option("Servers of a server group.", default=10, min=-1)


@section("nova.vnc", "Screens of guests in a browser.")
@dataclass(frozen=True, slots=True)
class VncOptions:
    """Addresses of the console proxy."""

    enabled: bool = option("Whether guests have screens.", default=True)
    novncproxy_base_url: str = option(
        "URL of the proxy's page as browsers reach it; empty: this cloud's address, port 6080.",
        default="",
    )


@section("nova.consoleauth", "Tokens that open a console.")
@dataclass(frozen=True, slots=True)
class ConsoleAuthOptions:
    """How long a console token is good for."""

    token_ttl: int = option("Life of a console token.", default=600, unit="s", min=10)

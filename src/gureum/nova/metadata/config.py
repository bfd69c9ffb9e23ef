"""Options of the metadata service."""

from dataclasses import dataclass

from gureum.core.config import option, section


@section("nova.metadata", "What guests read at 169.254.169.254.")
@dataclass(frozen=True, slots=True)
class MetadataOptions:
    """Options of nova-metadata-api."""

    metadata_proxy_shared_secret: str = option(
        "Secret that the metadata agents sign instance ids with; empty refuses every request.",
        default="",
        secret=True,
    )
    metadata_port: int = option("Port to listen at.", default=8775, min=1, max=65535)
    metadata_cache_expiration: float = option(
        "How long one instance's metadata is remembered.", default=15.0, unit="s", min=0, max=3600
    )
    metadata_workers: int = option(
        "Lookups that may run at once.", default=4, unit="threads", min=1, max=64
    )
    dhcp_domain: str = option(
        "Domain appended to host names in metadata; empty appends nothing.", default=""
    )

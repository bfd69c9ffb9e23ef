"""The versions documents. Follows: Network API v2.0, "API versions"."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import PUBLIC, Reply, operation

_COLLECTIONS = (
    "networks",
    "subnets",
    "ports",
    "routers",
    "floatingips",
    "security-groups",
    "security-group-rules",
    "agents",
    "quotas",
    "extensions",
    "availability_zones",
    "service-providers",
    "subnetpools",
    "address-scopes",
    "address-groups",
    "rbac-policies",
)


@operation("GET", "/", policy=PUBLIC)
def list_versions(ctx: Context, tx: Tx) -> Any:
    """List the versions of the API."""
    base = ctx.base_url.removesuffix("/v2.0")
    version = {
        "id": "v2.0",
        "status": "CURRENT",
        "links": [{"rel": "self", "href": f"{base}/v2.0/"}],
    }
    return Reply({"versions": [version]})


@operation("GET", "/v2.0", policy=PUBLIC)
def show_version(ctx: Context, tx: Tx) -> Any:
    """List the collections of version 2.0."""
    base = ctx.base_url.removesuffix("/v2.0") + "/v2.0"
    resources = [
        {
            "name": name.rstrip("s") if name != "availability_zones" else "availability_zone",
            "collection": name,
            "links": [{"rel": "self", "href": f"{base}/{name}"}],
        }
        for name in _COLLECTIONS
    ]
    return Reply({"resources": resources})

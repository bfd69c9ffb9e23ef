"""Which versions of the Identity API there are."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.spec import PUBLIC, Reply, operation


def _v3(base: str) -> dict[str, Any]:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{base}/v3/"}],
        "media-types": [
            {
                "base": "application/json",
                "type": "application/vnd.openstack.identity-v3+json",
            }
        ],
    }


@operation("GET", "/", policy=PUBLIC)
def list_versions(ctx: Context, tx: Any) -> Any:
    """List the versions."""
    return Reply({"versions": {"values": [_v3(ctx.base_url.removesuffix("/v3"))]}}, status=300)


@operation("GET", "/v3", policy=PUBLIC)
def show_version(ctx: Context, tx: Any) -> Any:
    """Show version 3."""
    return {"version": _v3(ctx.base_url.removesuffix("/v3"))}

"""Which versions of the Image API there are."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.spec import PUBLIC, Reply, operation

CURRENT = "v2.17"
SUPPORTED = tuple(f"v2.{minor}" for minor in range(16, -1, -1))


def _versions(ctx: Context) -> dict[str, Any]:
    base = ctx.base_url.removesuffix("/v2")
    links = [{"rel": "self", "href": f"{base}/v2/"}]
    rows = [(CURRENT, "CURRENT"), *((name, "SUPPORTED") for name in SUPPORTED)]
    return {"versions": [{"id": id, "status": word, "links": links} for id, word in rows]}


@operation("GET", "/", policy=PUBLIC, manual=True, waits=False)
def choose_version(ctx: Context, deps: Any) -> Any:
    """List the versions, as choices."""
    return Reply(_versions(ctx), status=300)


@operation("GET", "/versions", policy=PUBLIC, manual=True, waits=False)
def list_versions(ctx: Context, deps: Any) -> Any:
    """List the versions."""
    return _versions(ctx)


@operation("GET", "/v2", policy=PUBLIC, manual=True, waits=False)
def choose_version_2(ctx: Context, deps: Any) -> Any:
    """List the versions, as choices."""
    return Reply(_versions(ctx), status=300)

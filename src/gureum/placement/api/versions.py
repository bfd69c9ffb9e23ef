"""Which versions of the Placement API there are."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.spec import PUBLIC, operation

MINIMUM, MAXIMUM = "1.0", "1.39"


@operation("GET", "/", policy=PUBLIC)
def list_versions(ctx: Context, tx: Any) -> Any:
    """List the versions."""
    return {
        "versions": [
            {
                "id": "v1.0",
                "max_version": MAXIMUM,
                "min_version": MINIMUM,
                "status": "CURRENT",
                "links": [{"rel": "self", "href": ""}],
            }
        ]
    }

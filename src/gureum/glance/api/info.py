"""What this image service offers: import methods, stores, quotas."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import operation
from gureum.glance.drivers.base import Store
from gureum.glance.logic.deps import Deps
from gureum.glance.store import images as store


@operation("GET", "/info/import", policy="get_images")
def show_import_methods(ctx: Context, tx: Tx) -> Any:
    """List the import methods."""
    deps: Deps = tx.deps
    return {
        "import-methods": {
            "description": "Import methods available.",
            "type": "array",
            "value": list(deps.options.enabled_import_methods),
        }
    }


@operation("GET", "/info/stores", policy="get_images")
def list_stores(ctx: Context, tx: Tx) -> Any:
    """List the stores."""
    deps: Deps = tx.deps
    return {"stores": [_shown(deps, found) for found in deps.stores.listed()]}


def _shown(deps: Deps, found: Store) -> dict[str, Any]:
    row: dict[str, Any] = {"id": found.name, "weight": found.weight}
    if found.description:
        row["description"] = found.description
    if found.name == deps.stores.default.name:
        row["default"] = "true"
    if found.read_only:
        row["read-only"] = "true"
    return row


@operation("GET", "/info/stores/detail", policy="stores_info_detail")
def list_stores_detail(ctx: Context, tx: Tx) -> Any:
    """List the stores with their properties."""
    deps: Deps = tx.deps
    rows = [
        {**_shown(deps, found), "type": found.kind, "properties": found.properties()}
        for found in deps.stores.listed()
    ]
    return {"stores": rows}


@operation("GET", "/info/usage", policy="get_images", manual=True, waits=False)
def show_usage(ctx: Context, deps: Deps) -> Any:
    """Show the project's quotas and what of them is used. Sizes in MiB; -1 is no limit."""
    allowed = deps.limits.of(ctx.project_id)
    with deps.db.read() as tx:
        used = store.usage(tx, ctx.project_id)
    rows = {
        "image_size_total": (used.stored_bytes >> 20, _mib(allowed.stored_bytes)),
        "image_stage_total": (used.staged_bytes >> 20, _mib(allowed.staged_bytes)),
        "image_count_total": (used.images, _number(allowed.images)),
        "image_count_uploading": (used.uploading, _number(allowed.uploading)),
    }
    return {"usage": {name: {"usage": have, "limit": top} for name, (have, top) in rows.items()}}


def _mib(limit: int | None) -> int:
    return -1 if limit is None else limit >> 20


def _number(limit: int | None) -> int:
    return -1 if limit is None else limit

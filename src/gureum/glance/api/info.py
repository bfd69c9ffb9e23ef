"""What this image service offers: import methods, stores, quotas."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import operation
from gureum.glance.logic.data import quota_bytes
from gureum.glance.logic.deps import Deps
from gureum.glance.store import images as store


@operation("GET", "/info/import", policy="get_images")
def show_import_methods(ctx: Context, tx: Tx) -> Any:
    """List the import methods."""
    return {
        "import-methods": {
            "description": "Import methods available.",
            "type": "array",
            "value": ["glance-direct"],
        }
    }


@operation("GET", "/info/stores", policy="get_images")
def list_stores(ctx: Context, tx: Tx) -> Any:
    """List the stores."""
    deps: Deps = tx.deps
    return {"stores": [{"id": deps.store.name, "default": "true"}]}


@operation("GET", "/info/stores/detail", policy="stores_info_detail")
def list_stores_detail(ctx: Context, tx: Tx) -> Any:
    """List the stores with their properties."""
    deps: Deps = tx.deps
    properties = {"data_dir": deps.options.filesystem_store_datadir}
    row = {
        "id": deps.store.name,
        "type": deps.store.name,
        "default": "true",
        "weight": 0,
        "properties": properties if deps.store.name == "file" else {},
    }
    return {"stores": [row]}


@operation("GET", "/info/usage", policy="get_images")
def show_usage(ctx: Context, tx: Tx) -> Any:
    """Show the project's quotas and what of them is used. Sizes in MiB; -1 is no limit."""
    deps: Deps = tx.deps
    total, number = store.usage(tx, ctx.project_id)
    quota = quota_bytes(deps.options.user_storage_quota)
    return {
        "usage": {
            "image_size_total": {
                "usage": total >> 20,
                "limit": -1 if quota is None else quota >> 20,
            },
            "image_count_total": {"usage": number, "limit": deps.options.image_count_quota},
        }
    }

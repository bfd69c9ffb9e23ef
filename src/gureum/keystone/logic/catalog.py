"""The catalogue: services with their enabled endpoints, as a token shows them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.keystone.logic import endpoint_filter
from gureum.keystone.logic.known import NOTHING, Known
from gureum.keystone.store.tables import endpoints, services
from gureum.keystone.store.tables import service_providers as providers

_SERVICES = sa.select(services).where(services.c.enabled).order_by(services.c.id)
_ENDPOINTS = sa.select(endpoints).where(endpoints.c.enabled).order_by(endpoints.c.id)
_PROVIDERS = sa.select(providers).where(providers.c.enabled).order_by(providers.c.id)


def of_token(tx: Tx, project_id: str | None, known: Known = NOTHING) -> list[dict[str, Any]]:
    """Return the catalogue; `$(project_id)s` and `%(project_id)s` in URLs become the project's id."""
    only = None
    if known.get("filtered", lambda: endpoint_filter.used(tx)):
        only = endpoint_filter.visible(tx, project_id)
    shown: dict[str, dict[str, Any]] = {}
    for row in known.get("services", lambda: tx.all(_SERVICES)):
        shown[row.id] = {"id": row.id, "type": row.type, "name": row.name or "", "endpoints": []}
    for row in known.get("endpoints", lambda: tx.all(_ENDPOINTS)):
        if only is not None and row.id not in only:
            continue
        url = _fill(row.url, project_id)
        if row.service_id in shown and url is not None:
            shown[row.service_id]["endpoints"].append(
                {
                    "id": row.id,
                    "interface": row.interface,
                    "region_id": row.region_id,
                    "region": row.region_id,
                    "url": url,
                }
            )
    return list(shown.values())


def _fill(url: str, project_id: str | None) -> str | None:
    for mark in ("$(project_id)s", "%(project_id)s", "$(tenant_id)s", "%(tenant_id)s"):
        if mark in url:
            if project_id is None:
                return None
            url = url.replace(mark, project_id)
    return url


def service_providers(tx: Tx, known: Known = NOTHING) -> list[dict[str, Any]]:
    """Return the other clouds that trust this one and are enabled, as a token shows them."""
    rows = known.get("providers", lambda: tx.all(_PROVIDERS))
    return [{"id": row.id, "auth_url": row.auth_url, "sp_url": row.sp_url} for row in rows]

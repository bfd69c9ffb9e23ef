"""The catalogue's parts: regions, services, endpoints."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    BadRequest,
    Boolean,
    Enum,
    Id,
    InvalidField,
    Json,
    String,
    Struct,
    operation,
)
from gureum.keystone.api import shapes
from gureum.keystone.api.shapes import ListQuery, shown
from gureum.keystone.errors import Duplicate, InUse, Missing
from gureum.keystone.logic import common
from gureum.keystone.logic.common import load
from gureum.keystone.store import entities, tables


def _target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return {}


# -- regions ---------------------------------------------------------------------------------------


class Region(Struct, extra="keep"):
    """A region."""

    id = Id("Id, also the name.")
    description = String("Text.")
    parent_region_id = Id("Parent.")
    links = Json("Links.")


class RegionChange(Struct, extra="keep"):
    """A new region, or changes to one."""

    id = String("Id, also the name.", max=255, null=True)
    description = String("Text.", max=None, null=True)
    parent_region_id = String("Parent.", null=True)


def _load_region(ctx: Context, tx: Tx, region_id: str) -> Any:
    return load(tx, tables.regions, "region", region_id)


@operation(
    "POST",
    "/regions",
    policy="identity:create_region",
    wrap="region",
    request=RegionChange,
    response=Region,
    target=_target,
    errors=(Duplicate, Missing),
)
def create_region(ctx: Context, tx: Tx, new: RegionChange) -> Any:
    """Create a region."""
    return shown(ctx, "regions", _insert_region(tx, new, new.get("id") or common.new_id()))


@operation(
    "PUT",
    "/regions/{region_id}",
    policy="identity:create_region",
    wrap="region",
    status=201,
    request=RegionChange,
    response=Region,
    target=_target,
    errors=(Duplicate, Missing),
)
def put_region(ctx: Context, tx: Tx, region_id: str, new: RegionChange) -> Any:
    """Create a region with a given id."""
    if new.get("id") not in (None, region_id):
        raise BadRequest("The id of the body is not the id of the path.")
    return shown(ctx, "regions", _insert_region(tx, new, region_id))


def _insert_region(tx: Tx, new: RegionChange, region_id: str) -> Any:
    if new.get("parent_region_id"):
        load(tx, tables.regions, "region", new.parent_region_id)
    values = {
        "id": region_id,
        "description": new.get("description") or "",
        "parent_region_id": new.get("parent_region_id") or None,
        "extra_values": new.extra_values,
    }
    return common.insert(tx, tables.regions, "region", values)


@operation(
    "GET",
    "/regions",
    policy="identity:list_regions",
    query=ListQuery,
    items=Region,
    response_wrap="regions",
    target=_target,
    kept=True,
)
def list_regions(ctx: Context, tx: Tx, query: ListQuery) -> Any:
    """List regions."""
    where = shapes.filters(query, {"parent_region_id": str})
    rows = entities.listed(tx, tables.regions, entities.matching(tables.regions, where))
    return shapes.page(ctx, "regions", rows, query, None)


@operation(
    "GET",
    "/regions/{region_id}",
    policy="identity:get_region",
    response=Region,
    response_wrap="region",
    load=_load_region,
    target=_target,
    errors=(Missing,),
    kept=True,
)
def show_region(ctx: Context, tx: Tx, region: Any) -> Any:
    """Show a region."""
    return shown(ctx, "regions", region)


@operation(
    "PATCH",
    "/regions/{region_id}",
    policy="identity:update_region",
    wrap="region",
    request=RegionChange,
    response=Region,
    load=_load_region,
    target=_target,
    errors=(Missing,),
)
def update_region(ctx: Context, tx: Tx, region: Any, new: RegionChange) -> Any:
    """Change a region."""
    values = common.given(new, skip=("id",))
    parent = values.get("parent_region_id")
    while parent:
        if parent == region.id:
            raise BadRequest("A region cannot lie below itself.")
        parent = load(tx, tables.regions, "region", parent).parent_region_id
    if "description" in values:
        values["description"] = values["description"] or ""
    return shown(ctx, "regions", common.update(tx, tables.regions, "region", region, values))


@operation(
    "DELETE",
    "/regions/{region_id}",
    policy="identity:delete_region",
    load=_load_region,
    target=_target,
    errors=(Missing, InUse),
)
def delete_region(ctx: Context, tx: Tx, region: Any) -> None:
    """Delete a region without endpoints and children."""
    if tx.first(sa.select(tables.endpoints.c.id).where(tables.endpoints.c.region_id == region.id)):
        raise InUse(kind="Region", id=region.id, reason="it has endpoints.")
    below = sa.select(tables.regions.c.id).where(tables.regions.c.parent_region_id == region.id)
    if tx.first(below):
        raise InUse(kind="Region", id=region.id, reason="it has child regions.")
    common.delete(tx, tables.regions, region.id)


# -- services --------------------------------------------------------------------------------------


class CatalogService(Struct, extra="keep"):
    """A service of the catalogue."""

    id = Id("Id.")
    type = String("Type, such as `compute`.")
    name = String("Name.")
    description = String("Text.")
    enabled = Boolean("Whether the catalogue shows it.")
    links = Json("Links.")


class ServiceCreate(Struct, extra="keep"):
    """A new service."""

    type = String("Type, such as `compute`.", min=1, required=True)
    name = String("Name.", null=True)
    description = String("Text.", max=None, null=True)
    enabled = Boolean("Whether the catalogue shows it.", default=True, strict=True)


class ServiceUpdate(Struct, extra="keep"):
    """Changes to a service."""

    type = String("Type.", min=1)
    name = String("Name.", null=True)
    description = String("Text.", max=None, null=True)
    enabled = Boolean("Whether the catalogue shows it.", strict=True)


def _load_service(ctx: Context, tx: Tx, service_id: str) -> Any:
    return load(tx, tables.services, "service", service_id)


def _shown_service(ctx: Context, row: Any) -> dict[str, Any]:
    out = shown(ctx, "services", row)
    out["description"] = out["description"] or ""
    out["name"] = out["name"] or ""
    return out


@operation(
    "POST",
    "/services",
    policy="identity:create_service",
    wrap="service",
    request=ServiceCreate,
    response=CatalogService,
    target=_target,
)
def create_service(ctx: Context, tx: Tx, new: ServiceCreate) -> Any:
    """Create a service."""
    values = {
        "id": common.new_id(),
        "type": new.type,
        "name": new.get("name"),
        "description": new.get("description"),
        "enabled": new.enabled,
        "extra_values": new.extra_values,
    }
    return _shown_service(ctx, common.insert(tx, tables.services, "service", values))


@operation(
    "GET",
    "/services",
    policy="identity:list_services",
    query=ListQuery,
    items=CatalogService,
    response_wrap="services",
    target=_target,
    kept=True,
)
def list_services(ctx: Context, tx: Tx, query: ListQuery) -> Any:
    """List services."""
    where = shapes.filters(query, {"type": str, "name": str})
    rows = entities.listed(tx, tables.services, entities.matching(tables.services, where))
    return [_shown_service(ctx, row) for row in rows]


@operation(
    "GET",
    "/services/{service_id}",
    policy="identity:get_service",
    response=CatalogService,
    response_wrap="service",
    load=_load_service,
    target=_target,
    errors=(Missing,),
    kept=True,
)
def show_service(ctx: Context, tx: Tx, service: Any) -> Any:
    """Show a service."""
    return _shown_service(ctx, service)


@operation(
    "PATCH",
    "/services/{service_id}",
    policy="identity:update_service",
    wrap="service",
    request=ServiceUpdate,
    response=CatalogService,
    load=_load_service,
    target=_target,
    errors=(Missing,),
)
def update_service(ctx: Context, tx: Tx, service: Any, new: ServiceUpdate) -> Any:
    """Change a service."""
    row = common.update(tx, tables.services, "service", service, common.given(new))
    return _shown_service(ctx, row)


@operation(
    "DELETE",
    "/services/{service_id}",
    policy="identity:delete_service",
    load=_load_service,
    target=_target,
    errors=(Missing,),
)
def delete_service(ctx: Context, tx: Tx, service: Any) -> None:
    """Delete a service with its endpoints."""
    common.delete(tx, tables.services, service.id)


# -- endpoints -------------------------------------------------------------------------------------


class Endpoint(Struct, extra="keep"):
    """Where one interface of a service is reached."""

    id = Id("Id.")
    service_id = Id("Service.")
    region_id = Id("Region.")
    region = Id("Region, by its old name.")
    interface = String("admin, internal or public.")
    url = String("URL.")
    enabled = Boolean("Whether the catalogue shows it.")
    links = Json("Links.")


class EndpointCreate(Struct, extra="keep"):
    """A new endpoint."""

    service_id = Id("Service.", required=True)
    interface = Enum("For whom.", "admin", "internal", "public", required=True)
    url = String("URL.", min=1, max=None, required=True)
    region_id = String("Region.", null=True)
    region = String("Region, by its old name; made when it is missing.", null=True)
    enabled = Boolean("Whether the catalogue shows it.", default=True, strict=True)


class EndpointUpdate(Struct, extra="keep"):
    """Changes to an endpoint."""

    service_id = Id("Service.")
    interface = Enum("For whom.", "admin", "internal", "public")
    url = String("URL.", min=1, max=None)
    region_id = String("Region.", null=True)
    region = String("Region, by its old name.", null=True)
    enabled = Boolean("Whether the catalogue shows it.", strict=True)


def _load_endpoint(ctx: Context, tx: Tx, endpoint_id: str) -> Any:
    return load(tx, tables.endpoints, "endpoint", endpoint_id)


def _shown_endpoint(ctx: Context, row: Any) -> dict[str, Any]:
    return {**shown(ctx, "endpoints", row), "region": row.region_id}


def _check_endpoint(tx: Tx, new: Any) -> str | None:
    """Check what the new values refer to; return the region. Raises: BadRequest."""
    if new.has("url"):
        rest = new.url
        for name in ("project_id", "tenant_id", "user_id", "domain_id"):
            rest = rest.replace(f"$({name})s", "").replace(f"%({name})s", "")
        if "$(" in rest or "%(" in rest or "://" not in rest:
            raise InvalidField(
                path="endpoint.url", reason="It is not a URL with known substitutions."
            )
    if new.has("service_id") and entities.get(tx, tables.services, new.service_id) is None:
        raise BadRequest(f"Could not find service: {new.service_id}.")
    region_id: str | None = new.get("region_id") or new.get("region")
    if new.get("region_id") and entities.get(tx, tables.regions, new.region_id) is None:
        raise BadRequest(f"Could not find region: {new.region_id}.")
    if region_id and entities.get(tx, tables.regions, region_id) is None:
        values: dict[str, Any] = {
            "id": region_id,
            "description": "",
            "parent_region_id": None,
            "extra_values": {},
        }
        common.insert(tx, tables.regions, "region", values)
    return region_id


@operation(
    "POST",
    "/endpoints",
    policy="identity:create_endpoint",
    wrap="endpoint",
    request=EndpointCreate,
    response=Endpoint,
    target=_target,
)
def create_endpoint(ctx: Context, tx: Tx, new: EndpointCreate) -> Any:
    """Create an endpoint."""
    values = {
        "id": common.new_id(),
        "region_id": _check_endpoint(tx, new),
        "service_id": new.service_id,
        "interface": new.interface,
        "url": new.url,
        "enabled": new.enabled,
        "extra_values": new.extra_values,
    }
    return _shown_endpoint(ctx, common.insert(tx, tables.endpoints, "endpoint", values))


@operation(
    "GET",
    "/endpoints",
    policy="identity:list_endpoints",
    query=ListQuery,
    items=Endpoint,
    response_wrap="endpoints",
    target=_target,
    kept=True,
)
def list_endpoints(ctx: Context, tx: Tx, query: ListQuery) -> Any:
    """List endpoints."""
    where = shapes.filters(query, {"service_id": str, "region_id": str, "interface": str})
    rows = entities.listed(tx, tables.endpoints, entities.matching(tables.endpoints, where))
    return [_shown_endpoint(ctx, row) for row in rows]


@operation(
    "GET",
    "/endpoints/{endpoint_id}",
    policy="identity:get_endpoint",
    response=Endpoint,
    response_wrap="endpoint",
    load=_load_endpoint,
    target=_target,
    errors=(Missing,),
    kept=True,
)
def show_endpoint(ctx: Context, tx: Tx, endpoint: Any) -> Any:
    """Show an endpoint."""
    return _shown_endpoint(ctx, endpoint)


@operation(
    "PATCH",
    "/endpoints/{endpoint_id}",
    policy="identity:update_endpoint",
    wrap="endpoint",
    request=EndpointUpdate,
    response=Endpoint,
    load=_load_endpoint,
    target=_target,
    errors=(Missing,),
)
def update_endpoint(ctx: Context, tx: Tx, endpoint: Any, new: EndpointUpdate) -> Any:
    """Change an endpoint."""
    region_id = _check_endpoint(tx, new)
    values = common.given(new, skip=("region", "region_id"))
    if new.has("region_id") or new.has("region"):
        values["region_id"] = region_id
    row = common.update(tx, tables.endpoints, "endpoint", endpoint, values)
    return _shown_endpoint(ctx, row)


@operation(
    "DELETE",
    "/endpoints/{endpoint_id}",
    policy="identity:delete_endpoint",
    load=_load_endpoint,
    target=_target,
    errors=(Missing,),
)
def delete_endpoint(ctx: Context, tx: Tx, endpoint: Any) -> None:
    """Delete an endpoint."""
    common.delete(tx, tables.endpoints, endpoint.id)

"""Endpoints of projects and groups of endpoints (OS-EP-FILTER): what a project's catalogue shows."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    BadRequest,
    Boolean,
    Enum,
    Id,
    Json,
    Nested,
    String,
    Struct,
    operation,
)
from gureum.keystone.api import shapes
from gureum.keystone.api.catalog import Endpoint
from gureum.keystone.api.projects import Project
from gureum.keystone.api.shapes import ListQuery, shown
from gureum.keystone.errors import Missing
from gureum.keystone.logic import common, endpoint_filter
from gureum.keystone.logic.common import load
from gureum.keystone.store import entities, tables

_E = "/OS-EP-FILTER"
_T = tables.endpoint_groups


class Filters(Struct):
    """Which endpoints belong to a group: those with all of these values."""

    interface = Enum("Interface.", "public", "internal", "admin")
    service_id = String("Service.")
    region_id = String("Region.")
    enabled = Boolean("Whether the endpoint is shown at all.")


class EndpointGroup(Struct):
    """A group of endpoints."""

    id = Id("Id.")
    name = String("Name.")
    description = String("Text.")
    filters = Json("Which endpoints belong to it.")
    links = Json("Links.")


class EndpointGroupCreate(Struct, extra="ignore"):
    """A new group of endpoints."""

    name = String("Name.", min=1, required=True)
    description = String("Text.", max=None, null=True)
    filters = Nested(Filters, "Which endpoints belong to it.", required=True)


class EndpointGroupUpdate(Struct, extra="ignore"):
    """Changes to a group of endpoints."""

    name = String("Name.", min=1)
    description = String("Text.", max=None, null=True)
    filters = Nested(Filters, "Which endpoints belong to it.")


def _no_target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return {}


def _load_group(ctx: Context, tx: Tx, group_id: str) -> Any:
    return load(tx, _T, "endpoint group", group_id)


def _load_project(ctx: Context, tx: Tx, project_id: str) -> Any:
    return load(tx, tables.projects, "project", project_id)


def _load_endpoint(ctx: Context, tx: Tx, endpoint_id: str) -> Any:
    return load(tx, tables.endpoints, "endpoint", endpoint_id)


def _load_pair(ctx: Context, tx: Tx, project_id: str, endpoint_id: str) -> Any:
    return _load_project(ctx, tx, project_id).id, _load_endpoint(ctx, tx, endpoint_id).id


def _load_group_pair(ctx: Context, tx: Tx, group_id: str, project_id: str) -> Any:
    return _load_group(ctx, tx, group_id).id, _load_project(ctx, tx, project_id).id


def _endpoints(ctx: Context, rows: Any) -> list[dict[str, Any]]:
    return [{**shown(ctx, "endpoints", row), "region": row.region_id} for row in rows]


def _shown(ctx: Context, row: Any) -> dict[str, Any]:
    return shown(ctx, "OS-EP-FILTER/endpoint_groups", row)


# -- endpoints of projects -------------------------------------------------------------------------


@operation(
    "PUT",
    _E + "/projects/{project_id}/endpoints/{endpoint_id}",
    policy="identity:add_endpoint_to_project",
    status=204,
    load=_load_pair,
    target=_no_target,
    errors=(Missing,),
)
def add_endpoint(ctx: Context, tx: Tx, pair: Any) -> None:
    """Tie a project to an endpoint."""
    endpoint_filter.tie(tx, *pair)


@operation(
    "GET",
    _E + "/projects/{project_id}/endpoints/{endpoint_id}",
    policy="identity:check_endpoint_in_project",
    status=204,
    load=_load_pair,
    target=_no_target,
    errors=(Missing,),
)
def check_endpoint(ctx: Context, tx: Tx, pair: Any) -> None:
    """Ask whether a project is tied to an endpoint."""
    if not endpoint_filter.tied(tx, *pair):
        raise Missing(kind="endpoint of project", id=pair[1])


@operation(
    "DELETE",
    _E + "/projects/{project_id}/endpoints/{endpoint_id}",
    policy="identity:remove_endpoint_from_project",
    load=_load_pair,
    target=_no_target,
    errors=(Missing,),
)
def remove_endpoint(ctx: Context, tx: Tx, pair: Any) -> None:
    """Untie a project from an endpoint."""
    endpoint_filter.untie(tx, *pair)


@operation(
    "GET",
    _E + "/projects/{project_id}/endpoints",
    policy="identity:list_endpoints_for_project",
    items=Endpoint,
    response_wrap="endpoints",
    load=_load_project,
    target=_no_target,
    errors=(Missing,),
)
def list_project_endpoints(ctx: Context, tx: Tx, project: Any) -> Any:
    """List the endpoints that a project is tied to."""
    return _endpoints(ctx, endpoint_filter.of_project(tx, project.id))


@operation(
    "GET",
    _E + "/endpoints/{endpoint_id}/projects",
    policy="identity:list_projects_for_endpoint",
    items=Project,
    response_wrap="projects",
    load=_load_endpoint,
    target=_no_target,
    errors=(Missing,),
)
def list_endpoint_projects(ctx: Context, tx: Tx, endpoint: Any) -> Any:
    """List the projects that are tied to an endpoint."""
    return [shown(ctx, "projects", row) for row in endpoint_filter.projects_of(tx, endpoint)]


@operation(
    "GET",
    _E + "/projects/{project_id}/endpoint_groups",
    policy="identity:list_endpoint_groups_for_project",
    items=EndpointGroup,
    response_wrap="endpoint_groups",
    load=_load_project,
    target=_no_target,
    errors=(Missing,),
)
def list_project_endpoint_groups(ctx: Context, tx: Tx, project: Any) -> Any:
    """List the endpoint groups of a project."""
    return [_shown(ctx, row) for row in endpoint_filter.groups_of(tx, project.id)]


# -- groups ----------------------------------------------------------------------------------------


@operation(
    "POST",
    _E + "/endpoint_groups",
    policy="identity:create_endpoint_group",
    wrap="endpoint_group",
    request=EndpointGroupCreate,
    response=EndpointGroup,
    target=_no_target,
    errors=(BadRequest,),
)
def create_endpoint_group(ctx: Context, tx: Tx, new: EndpointGroupCreate) -> Any:
    """Create a group of endpoints."""
    values = {
        "id": common.new_id(),
        "name": new.name,
        "description": new.get("description"),
        "filters": _filters(new),
    }
    return _shown(ctx, common.insert(tx, _T, "endpoint group", values))


def _filters(new: Any) -> dict[str, Any]:
    filters = dict(new.filters.items())
    if not filters:
        raise BadRequest("The filters must name at least one value.")
    return filters


@operation(
    "GET",
    _E + "/endpoint_groups",
    policy="identity:list_endpoint_groups",
    query=ListQuery,
    items=EndpointGroup,
    response_wrap="endpoint_groups",
    target=_no_target,
)
def list_endpoint_groups(ctx: Context, tx: Tx, query: ListQuery) -> Any:
    """List groups of endpoints."""
    where = entities.matching(_T, shapes.filters(query, {"name": str}))
    return [_shown(ctx, row) for row in entities.listed(tx, _T, where)]


@operation(
    "GET",
    _E + "/endpoint_groups/{endpoint_group_id}",
    policy="identity:get_endpoint_group",
    response=EndpointGroup,
    response_wrap="endpoint_group",
    load=_load_group,
    target=_no_target,
    errors=(Missing,),
)
def show_endpoint_group(ctx: Context, tx: Tx, group: Any) -> Any:
    """Show a group of endpoints."""
    return _shown(ctx, group)


@operation(
    "PATCH",
    _E + "/endpoint_groups/{endpoint_group_id}",
    policy="identity:update_endpoint_group",
    wrap="endpoint_group",
    request=EndpointGroupUpdate,
    response=EndpointGroup,
    load=_load_group,
    target=_no_target,
    errors=(Missing, BadRequest),
)
def update_endpoint_group(ctx: Context, tx: Tx, group: Any, new: EndpointGroupUpdate) -> Any:
    """Change a group of endpoints."""
    values = common.given(new, skip=("filters",))
    if new.has("filters"):
        values["filters"] = {**group.filters, **_filters(new)}
    return _shown(ctx, common.update(tx, _T, "endpoint group", group, values))


@operation(
    "DELETE",
    _E + "/endpoint_groups/{endpoint_group_id}",
    policy="identity:delete_endpoint_group",
    load=_load_group,
    target=_no_target,
    errors=(Missing,),
)
def delete_endpoint_group(ctx: Context, tx: Tx, group: Any) -> None:
    """Delete a group of endpoints; its projects are untied."""
    common.delete(tx, _T, group.id)


@operation(
    "GET",
    _E + "/endpoint_groups/{endpoint_group_id}/endpoints",
    policy="identity:list_endpoints_associated_with_endpoint_group",
    items=Endpoint,
    response_wrap="endpoints",
    load=_load_group,
    target=_no_target,
    errors=(Missing,),
)
def list_group_endpoints(ctx: Context, tx: Tx, group: Any) -> Any:
    """List the endpoints of a group."""
    return _endpoints(ctx, endpoint_filter.members(tx, group))


@operation(
    "GET",
    _E + "/endpoint_groups/{endpoint_group_id}/projects",
    policy="identity:list_projects_associated_with_endpoint_group",
    items=Project,
    response_wrap="projects",
    load=_load_group,
    target=_no_target,
    errors=(Missing,),
)
def list_group_projects(ctx: Context, tx: Tx, group: Any) -> Any:
    """List the projects that are tied to a group of endpoints."""
    ties = tables.project_endpoint_groups
    rows = entities.rows_of(tx, ties, ties.c.endpoint_group_id == group.id)
    projects = entities.by_ids(tx, tables.projects, [row.project_id for row in rows])
    return [shown(ctx, "projects", row) for row in projects.values()]


@operation(
    "PUT",
    _E + "/endpoint_groups/{endpoint_group_id}/projects/{project_id}",
    policy="identity:add_endpoint_group_to_project",
    status=204,
    load=_load_group_pair,
    target=_no_target,
    errors=(Missing,),
)
def add_group(ctx: Context, tx: Tx, pair: Any) -> None:
    """Tie a project to a group of endpoints."""
    endpoint_filter.tie_group(tx, *pair)


@operation(
    "GET",
    _E + "/endpoint_groups/{endpoint_group_id}/projects/{project_id}",
    policy="identity:get_endpoint_group_in_project",
    load=_load_group_pair,
    target=_no_target,
    errors=(Missing,),
)
def check_group(ctx: Context, tx: Tx, pair: Any) -> Any:
    """Ask whether a project is tied to a group of endpoints."""
    if not endpoint_filter.group_tied(tx, *pair):
        raise Missing(kind="endpoint group of project", id=pair[0])
    path = f"{ctx.base_url}/OS-EP-FILTER/endpoint_groups/{pair[0]}/projects/{pair[1]}"
    tie = {"endpoint_group_id": pair[0], "project_id": pair[1], "links": {"self": path}}
    return {"project_endpoint_group": tie}


@operation(
    "DELETE",
    _E + "/endpoint_groups/{endpoint_group_id}/projects/{project_id}",
    policy="identity:remove_endpoint_group_from_project",
    load=_load_group_pair,
    target=_no_target,
    errors=(Missing,),
)
def remove_group(ctx: Context, tx: Tx, pair: Any) -> None:
    """Untie a project from a group of endpoints."""
    endpoint_filter.untie_group(tx, *pair)

"""Groups of users."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Id, Json, ServiceUnavailable, String, Struct, operation
from gureum.keystone.api import shapes
from gureum.keystone.api.shapes import ListQuery, shown
from gureum.keystone.errors import Duplicate, Missing
from gureum.keystone.logic import common, directories, groups
from gureum.keystone.logic.common import load, load_open
from gureum.keystone.logic.deps import Deps
from gureum.keystone.store import entities, tables


class Group(Struct, extra="keep"):
    """A group."""

    id = Id("Id.")
    name = String("Name.")
    domain_id = Id("Domain.")
    description = String("Text.")
    links = Json("Links.")


class GroupCreate(Struct, extra="keep"):
    """A new group."""

    name = String("Name.", min=1, max=64, required=True)
    domain_id = Id("Domain.", max=64, null=True)
    description = String("Text.", max=None, null=True)


class GroupUpdate(Struct, extra="keep"):
    """Changes to a group."""

    name = String("Name.", min=1, max=64)
    domain_id = Id("Cannot be changed.", max=64)
    description = String("Text.", max=None, null=True)


def _load(ctx: Context, tx: Tx, group_id: str) -> Any:
    return load(tx, tables.groups, "group", group_id)


def _load_outside(ctx: Context, deps: Deps, group_id: str) -> Any:
    with deps.db.read() as tx:
        return _load(ctx, tx, group_id)


def _load_both(ctx: Context, tx: Tx, group_id: str, user_id: str) -> Any:
    return load(tx, tables.groups, "group", group_id), load(tx, tables.users, "user", user_id)


def _target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return (
        {} if row is None else {"target.group.id": row.id, "target.group.domain_id": row.domain_id}
    )


def _both_target(ctx: Context, loaded: Any, new: Any) -> dict[str, Any]:
    if loaded is None:
        return {}
    group, user = loaded
    return {**_target(ctx, group, new), "target.user.domain_id": user.domain_id}


@operation(
    "POST",
    "/groups",
    policy="identity:create_group",
    wrap="group",
    request=GroupCreate,
    response=Group,
    errors=(Duplicate, Missing),
    target=lambda ctx, loaded, new: {
        "target.group.domain_id": new.get("domain_id") or ctx.domain_id
    },
)
def create_group(ctx: Context, tx: Tx, new: GroupCreate) -> Any:
    """Create a group."""
    return shown(ctx, "groups", groups.create(ctx, tx, new))


@operation(
    "GET",
    "/groups",
    policy="identity:list_groups",
    query=ListQuery,
    items=Group,
    response_wrap="groups",
    target=lambda ctx, loaded, new: {"target.domain_id": ctx.domain_id},
    manual=True,
    errors=(ServiceUnavailable,),
    kept=True,
)
def list_groups(ctx: Context, deps: Deps, query: ListQuery) -> Any:
    """List groups; a domain's reader sees that domain's. A directory is asked for its own groups."""
    domain_id = shapes.listed_domain(ctx, query)
    if domain_id is not None and deps.directories is not None:
        deps.directories.sync_groups(domain_id)
    with deps.db.read() as tx:
        return _list_groups(ctx, tx, query)


def _list_groups(ctx: Context, tx: Tx, query: ListQuery) -> Any:
    where = shapes.filters(query, {"name": str, "domain_id": str})
    conditions = entities.matching(tables.groups, where)
    if ctx.scope == "domain" and not ctx.is_admin:
        conditions.append(tables.groups.c.domain_id == ctx.domain_id)
    domain_id = shapes.listed_domain(ctx, query)
    if domain_id is not None and tx.deps.directories is not None:
        directory = tx.deps.directories.of(tx, domain_id)
        conditions += directories.present(directory, tables.groups)
    limit = query.get("limit")
    rows = entities.listed(tx, tables.groups, conditions, marker=query.get("marker"), limit=limit)
    return shapes.page(ctx, "groups", rows, query, limit)


@operation(
    "GET",
    "/groups/{group_id}",
    policy="identity:get_group",
    response=Group,
    response_wrap="group",
    load=_load,
    target=_target,
    errors=(Missing,),
    kept=True,
)
def show_group(ctx: Context, tx: Tx, group: Any) -> Any:
    """Show a group."""
    return shown(ctx, "groups", group)


@operation(
    "PATCH",
    "/groups/{group_id}",
    policy="identity:update_group",
    wrap="group",
    request=GroupUpdate,
    response=Group,
    load=_load,
    target=_target,
    errors=(Missing, Duplicate),
)
def update_group(ctx: Context, tx: Tx, group: Any, new: GroupUpdate) -> Any:
    """Change a group."""
    groups.refuse_directory(tx, group.domain_id)
    if new.has("domain_id") and new.domain_id != group.domain_id:
        raise BadRequest("domain_id cannot be changed.")
    values = common.given(new, skip=("domain_id",))
    if "description" in values:
        values["description"] = values["description"] or ""
    return shown(ctx, "groups", common.update(tx, tables.groups, "group", group, values))


@operation(
    "DELETE",
    "/groups/{group_id}",
    policy="identity:delete_group",
    load=lambda ctx, tx, group_id: load_open(tx, tables.groups, "group", group_id),
    target=_target,
    errors=(Missing,),
)
def delete_group(ctx: Context, tx: Tx, group: Any) -> None:
    """Delete a group."""
    groups.delete(tx, group)


@operation(
    "GET",
    "/groups/{group_id}/users",
    policy="identity:list_users_in_group",
    query=ListQuery,
    load=_load_outside,
    target=_target,
    manual=True,
    errors=(Missing, ServiceUnavailable),
)
def list_group_users(ctx: Context, deps: Deps, group: Any, query: ListQuery) -> Any:
    """List the members of a group."""
    if deps.directories is not None:
        deps.directories.sync_members(group.id)
    with deps.db.read() as tx:
        return _list_group_users(ctx, tx, group, query)


def _list_group_users(ctx: Context, tx: Tx, group: Any, query: ListQuery) -> Any:
    from gureum.keystone.api.users import User, shown_users, user_filters

    members = tables.memberships.c
    inside = tables.users.c.id.in_(sa.select(members.user_id).where(members.group_id == group.id))
    conditions = [inside, *user_filters(query, {"name": str})]
    if ctx.scope == "domain" and not ctx.is_admin:
        conditions.append(tables.users.c.domain_id == ctx.domain_id)
    rows = entities.listed(tx, tables.users, conditions)
    links = {"self": f"{ctx.base_url}/groups/{group.id}/users", "next": None, "previous": None}
    return {"users": [User.render(one) for one in shown_users(ctx, tx, rows)], "links": links}


@operation(
    "PUT",
    "/groups/{group_id}/users/{user_id}",
    policy="identity:add_user_to_group",
    status=204,
    load=_load_both,
    target=_both_target,
    errors=(Missing,),
)
def add_user(ctx: Context, tx: Tx, loaded: Any) -> None:
    """Put a user into a group."""
    groups.add(tx, *loaded)


@operation(
    "GET",
    "/groups/{group_id}/users/{user_id}",
    policy="identity:check_user_in_group",
    status=204,
    load=_load_both,
    target=_both_target,
    errors=(Missing,),
)
def check_user(ctx: Context, tx: Tx, loaded: Any) -> None:
    """Ask whether a user is in a group."""
    if not groups.has(tx, *loaded):
        raise Missing(kind="user in group", id=loaded[1].id)


@operation(
    "DELETE",
    "/groups/{group_id}/users/{user_id}",
    policy="identity:remove_user_from_group",
    load=_load_both,
    target=_both_target,
    errors=(Missing,),
)
def remove_user(ctx: Context, tx: Tx, loaded: Any) -> None:
    """Take a user out of a group."""
    groups.remove(tx, *loaded)

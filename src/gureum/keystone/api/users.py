"""Users: people and services that log in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    PUBLIC,
    Boolean,
    Id,
    Json,
    ServiceUnavailable,
    String,
    Struct,
    Time,
    operation,
)
from gureum.keystone.api import shapes
from gureum.keystone.api.auth import user_target
from gureum.keystone.api.groups import Group
from gureum.keystone.api.shapes import ListQuery, Options, shown
from gureum.keystone.errors import BadPassword, Duplicate, Missing, PasswordPolicy
from gureum.keystone.logic import directories, proofs, users
from gureum.keystone.logic.common import load
from gureum.keystone.logic.deps import Deps
from gureum.keystone.store import entities, tables


class User(Struct, extra="keep"):
    """A user."""

    id = Id("Id.")
    name = String("Name.")
    domain_id = Id("Domain.")
    enabled = Boolean("Whether the user can log in.")
    default_project_id = Id("Project of a login without scope.")
    description = String("Text.")
    email = String("Mail address.")
    options = Options()
    password_expires_at = Time("When the password expires.", form="us", default=None)
    links = Json("Links.")


class UserCreate(Struct, extra="keep"):
    """A new user."""

    name = String("Name.", min=1, required=True)
    domain_id = Id("Domain.", max=64, null=True)
    enabled = Boolean("Whether the user can log in.", default=True, strict=True)
    password = String("Password.", null=True, max=None)
    default_project_id = Id("Project of a login without scope.", max=64, null=True)
    description = String("Text.", max=None, null=True)
    email = String("Mail address.", null=True)
    options = Options()


class UserUpdate(Struct, extra="keep"):
    """Changes to a user."""

    name = String("Name.", min=1)
    domain_id = Id("Cannot be changed.", max=64)
    enabled = Boolean("Whether the user can log in.", strict=True)
    password = String("Password.", null=True, max=None)
    default_project_id = Id("Project of a login without scope.", max=64, null=True)
    description = String("Text.", max=None, null=True)
    email = String("Mail address.", null=True)
    options = Options()


class PasswordChange(Struct, extra="ignore"):
    """One's own new password."""

    original_password = String("The present one.", required=True, max=None)
    password = String("The new one.", required=True, max=None)


def _load(ctx: Context, tx: Tx, user_id: str) -> Any:
    return load(tx, tables.users, "user", user_id)


def _load_outside(ctx: Context, deps: Deps, user_id: str) -> Any:
    with deps.db.read() as tx:
        return load(tx, tables.users, "user", user_id)


def _load_mirrored(ctx: Context, deps: Deps, user_id: str) -> Any:
    if deps.directories is not None:
        deps.directories.refresh(user_id)
    return _load_outside(ctx, deps, user_id)


def _target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return user_target(row)


def _new_target(ctx: Context, loaded: Any, new: Any) -> dict[str, Any]:
    return {"target.user.domain_id": new.get("domain_id")}


def shown_user(ctx: Context, tx: Tx, row: Any) -> dict[str, Any]:
    """Return a user as it is shown: what was never set is left out."""
    return shown_users(ctx, tx, [row])[0]


def shown_users(ctx: Context, tx: Tx, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Return users as they are shown; one who was away for too long counts as disabled."""
    expiries = users.expiries_of(tx, [row.id for row in rows])
    found = []
    for row in rows:
        out = shown(ctx, "users", row)
        for name in ("default_project_id", "description", "email"):
            if out[name] is None:
                del out[name]
        out["password_expires_at"] = expiries.get(row.id)
        out["enabled"] = row.enabled and not proofs.inactive(tx.deps, row)
        found.append(out)
    return found


def user_filters(query: ListQuery, columns: dict[str, type]) -> list[Any]:
    """Turn the query of a list of users into conditions."""
    conditions = list(entities.matching(tables.users, shapes.filters(query, columns)))
    for text in query.extra_values.get("password_expires_at", ()):
        conditions.append(users.expiring(text))
    return conditions


@operation(
    "POST",
    "/users",
    policy="identity:create_user",
    wrap="user",
    request=UserCreate,
    response=User,
    manual=True,
    target=_new_target,
    errors=(Duplicate, Missing),
)
def create_user(ctx: Context, deps: Deps, new: UserCreate) -> Any:
    """Create a user."""
    hashed = users.hash_new(deps, new.get("password"))
    with deps.db.write() as tx:
        return shown_user(ctx, tx, users.create(ctx, tx, new, hashed))


@operation(
    "GET",
    "/users",
    policy="identity:list_users",
    query=ListQuery,
    items=User,
    response_wrap="users",
    target=lambda ctx, loaded, new: {"target.domain_id": ctx.domain_id},
    manual=True,
    errors=(ServiceUnavailable,),
    kept=True,
)
def list_users(ctx: Context, deps: Deps, query: ListQuery) -> Any:
    """List users; a domain's reader sees that domain's. A directory is asked for its own users."""
    domain_id = shapes.listed_domain(ctx, query)
    if domain_id is not None and deps.directories is not None:
        deps.directories.sync_users(domain_id)
    with deps.db.read() as tx:
        return _list_users(ctx, tx, query)


def _list_users(ctx: Context, tx: Tx, query: ListQuery) -> Any:
    columns = {"name": str, "enabled": bool, "domain_id": str, "id": str, "default_project_id": str}
    conditions = user_filters(query, columns)
    if ctx.scope == "domain" and not ctx.is_admin:
        conditions.append(tables.users.c.domain_id == ctx.domain_id)
    domain_id = shapes.listed_domain(ctx, query)
    if domain_id is not None and tx.deps.directories is not None:
        directory = tx.deps.directories.of(tx, domain_id)
        conditions += directories.present(directory, tables.users)
    limit = query.get("limit")
    rows = entities.listed(tx, tables.users, conditions, marker=query.get("marker"), limit=limit)
    page = shapes.page(ctx, "users", rows, query, limit)
    return type(page)(shown_users(ctx, tx, rows), page.next_query)


@operation(
    "GET",
    "/users/{user_id}",
    policy="identity:get_user",
    response=User,
    response_wrap="user",
    load=_load_mirrored,
    target=_target,
    manual=True,
    waits=False,
    errors=(Missing,),
    kept=True,
)
def show_user(ctx: Context, deps: Deps, user: Any) -> Any:
    """Show a user."""
    with deps.db.read() as tx:
        return shown_user(ctx, tx, user)


@operation(
    "PATCH",
    "/users/{user_id}",
    policy="identity:update_user",
    wrap="user",
    request=UserUpdate,
    response=User,
    manual=True,
    load=_load_outside,
    target=_target,
    errors=(Missing, Duplicate),
)
def update_user(ctx: Context, deps: Deps, user: Any, new: UserUpdate) -> Any:
    """Change a user."""
    hashed = users.hash_new(deps, new.get("password"))
    with deps.db.write() as tx:
        user = load(tx, tables.users, "user", user.id)
        return shown_user(ctx, tx, users.update(tx, user, new, hashed))


@operation(
    "DELETE",
    "/users/{user_id}",
    policy="identity:delete_user",
    load=_load,
    target=_target,
    errors=(Missing,),
)
def delete_user(ctx: Context, tx: Tx, user: Any) -> None:
    """Delete a user."""
    users.delete(tx, user)


@operation(
    "POST",
    "/users/{user_id}/password",
    policy=PUBLIC,
    wrap="user",
    request=PasswordChange,
    status=204,
    manual=True,
    errors=(BadPassword, PasswordPolicy),
)
def change_password(ctx: Context, deps: Deps, user_id: str, new: PasswordChange) -> None:
    """Change a password by proving the present one; every token of the user ends."""
    users.change_password(deps, user_id, new.original_password, new.password)


@operation(
    "GET",
    "/users/{user_id}/groups",
    policy="identity:list_groups_for_user",
    query=ListQuery,
    items=Group,
    response_wrap="groups",
    load=_load_mirrored,
    target=_target,
    manual=True,
    waits=False,
    errors=(Missing,),
)
def list_user_groups(ctx: Context, deps: Deps, user: Any, query: ListQuery) -> Any:
    """List the groups of a user."""
    with deps.db.read() as tx:
        return _list_user_groups(ctx, tx, user, query)


def _list_user_groups(ctx: Context, tx: Tx, user: Any, query: ListQuery) -> Any:
    members = tables.memberships.c
    mine = tables.groups.c.id.in_(sa.select(members.group_id).where(members.user_id == user.id))
    conditions = [mine, *entities.matching(tables.groups, shapes.filters(query, {"name": str}))]
    if ctx.scope == "domain" and not ctx.is_admin and user.id != ctx.user_id:
        conditions.append(tables.groups.c.domain_id == ctx.domain_id)
    return shapes.page(ctx, "groups", entities.listed(tx, tables.groups, conditions), query, None)

"""Roles, and which roles imply which."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Conflict, Forbidden, Id, Json, String, Struct, operation
from gureum.keystone.api import shapes
from gureum.keystone.api.shapes import ListQuery, Options, shown
from gureum.keystone.errors import Duplicate, Missing
from gureum.keystone.logic import common
from gureum.keystone.logic.common import load, load_open
from gureum.keystone.store import assignments, entities, tables

_I = tables.implied_roles


class Role(Struct, extra="keep"):
    """A role."""

    id = Id("Id.")
    name = String("Name.")
    domain_id = Id("Domain of a domain's own role; else null.")
    description = String("Text.")
    options = Options()
    links = Json("Links.")


class RoleCreate(Struct, extra="keep"):
    """A new role."""

    name = String("Name.", min=1, required=True)
    domain_id = Id("Make it a role of this domain.", max=64, null=True)
    description = String("Text.", max=None, null=True)
    options = Options()


class RoleUpdate(Struct, extra="keep"):
    """Changes to a role."""

    name = String("Name.", min=1)
    domain_id = Id("Cannot be changed.", max=64, null=True)
    description = String("Text.", max=None, null=True)
    options = Options()


def _load(ctx: Context, tx: Tx, role_id: str) -> Any:
    return load(tx, tables.roles, "role", role_id)


def _load_open(ctx: Context, tx: Tx, role_id: str) -> Any:
    return load_open(tx, tables.roles, "role", role_id)


def _rule(verb: str) -> Any:
    """Return the chooser between the rules of roles of everybody and of a domain's own."""

    def choose(ctx: Context, row: Any, new: Any) -> str:
        domain_id = row.domain_id if row is not None else new is not None and new.get("domain_id")
        return f"identity:{verb}_{'domain_' if domain_id else ''}role"

    return choose


def _list_rule(ctx: Context, row: Any, query: ListQuery) -> str:
    own = query.extra_values.get("domain_id")
    return "identity:list_domain_roles" if own else "identity:list_roles"


def _load_two(ctx: Context, tx: Tx, prior_id: str, implied_id: str) -> Any:
    return load(tx, tables.roles, "role", prior_id), load(tx, tables.roles, "role", implied_id)


def _target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return {}


def _shown(ctx: Context, row: Any) -> dict[str, Any]:
    out = shown(ctx, "roles", row)
    out["domain_id"] = row.domain_id or None
    return out


@operation(
    "POST",
    "/roles",
    policy="identity:create_role",
    rule=_rule("create"),
    wrap="role",
    request=RoleCreate,
    response=Role,
    target=_target,
    errors=(Duplicate, Missing),
)
def create_role(ctx: Context, tx: Tx, new: RoleCreate) -> Any:
    """Create a role."""
    if new.get("domain_id"):
        load(tx, tables.domains, "domain", new.domain_id)
    values = {
        "id": common.new_id(),
        "name": new.name,
        "domain_id": new.get("domain_id") or "",
        "description": new.get("description"),
        "options": new.get("options", {}),
        "extra_values": new.extra_values,
    }
    return _shown(ctx, common.insert(tx, tables.roles, "role", values))


@operation(
    "GET",
    "/roles",
    policy="identity:list_roles",
    rule=_list_rule,
    query=ListQuery,
    items=Role,
    response_wrap="roles",
    target=_target,
    kept=True,
)
def list_roles(ctx: Context, tx: Tx, query: ListQuery) -> Any:
    """List roles: the global ones, or with `domain_id` a domain's own."""
    where = shapes.filters(query, {"name": str, "domain_id": str})
    where.setdefault("domain_id", "")
    limit = query.get("limit")
    conditions = entities.matching(tables.roles, where)
    rows = entities.listed(tx, tables.roles, conditions, marker=query.get("marker"), limit=limit)
    page = shapes.page(ctx, "roles", rows, query, limit)
    return type(page)([_shown(ctx, row) for row in rows], page.next_query)


@operation(
    "GET",
    "/roles/{role_id}",
    policy="identity:get_role",
    response=Role,
    response_wrap="role",
    load=_load_open,
    rule=_rule("get"),
    target=_target,
    errors=(Missing,),
    kept=True,
)
def show_role(ctx: Context, tx: Tx, role: Any) -> Any:
    """Show a role."""
    return _shown(ctx, role)


@operation(
    "PATCH",
    "/roles/{role_id}",
    policy="identity:update_role",
    wrap="role",
    request=RoleUpdate,
    response=Role,
    load=_load_open,
    rule=_rule("update"),
    target=_target,
    errors=(Missing, Duplicate),
)
def update_role(ctx: Context, tx: Tx, role: Any, new: RoleUpdate) -> Any:
    """Change a role."""
    if new.has("domain_id") and (new.domain_id or "") != role.domain_id:
        raise BadRequest("domain_id cannot be changed.")
    values = common.given(new, skip=("domain_id",))
    common.refuse_immutable("role", role, values)
    return _shown(ctx, common.update(tx, tables.roles, "role", role, values))


@operation(
    "DELETE",
    "/roles/{role_id}",
    policy="identity:delete_role",
    load=_load_open,
    rule=_rule("delete"),
    target=_target,
    errors=(Missing,),
)
def delete_role(ctx: Context, tx: Tx, role: Any) -> None:
    """Delete a role with all its grants."""
    common.refuse_immutable("role", role)
    common.delete(tx, tables.roles, role.id)


# -- inference -------------------------------------------------------------------------------------


def _brief(ctx: Context, row: Any) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "links": {"self": f"{ctx.base_url}/roles/{row.id}"}}


def _inference(ctx: Context, prior: Any, implied: Any) -> dict[str, Any]:
    link = f"{ctx.base_url}/roles/{prior.id}/implies/{implied.id}"
    return {
        "role_inference": {"prior_role": _brief(ctx, prior), "implies": _brief(ctx, implied)},
        "links": {"self": link},
    }


def _implied(tx: Tx, prior: Any, implied: Any) -> bool:
    where = sa.and_(_I.c.prior_role_id == prior.id, _I.c.implied_role_id == implied.id)
    return tx.first(sa.select(_I.c.prior_role_id).where(where)) is not None


@operation(
    "PUT",
    "/roles/{prior_role_id}/implies/{implied_role_id}",
    policy="identity:create_implied_role",
    status=201,
    load=_load_two,
    target=_target,
    errors=(Missing, Conflict),
)
def create_implied_role(ctx: Context, tx: Tx, loaded: Any) -> Any:
    """Make a role imply another."""
    prior, implied = loaded
    if implied.name == "admin" and not implied.domain_id:
        raise Forbidden("The role admin cannot be implied.")
    if implied.domain_id and not prior.domain_id:
        raise Forbidden("A role of a domain cannot be implied by one that is global.")
    if prior.id in assignments.with_implied(tx, [implied.id]):
        raise Conflict("The roles would imply each other.")
    if not _implied(tx, prior, implied):
        tx.insert(_I, prior_role_id=prior.id, implied_role_id=implied.id)
        entities.bump(tx)
    return _inference(ctx, prior, implied)


@operation(
    "GET",
    "/roles/{prior_role_id}/implies/{implied_role_id}",
    policy="identity:get_implied_role",
    load=_load_two,
    target=_target,
    errors=(Missing,),
)
def show_implied_role(ctx: Context, tx: Tx, loaded: Any) -> Any:
    """Show that a role implies another."""
    if not _implied(tx, *loaded):
        raise Missing(kind="implied role", id=loaded[1].id)
    return _inference(ctx, *loaded)


@operation(
    "HEAD",
    "/roles/{prior_role_id}/implies/{implied_role_id}",
    policy="identity:check_implied_role",
    status=204,
    load=_load_two,
    target=_target,
    errors=(Missing,),
)
def check_implied_role(ctx: Context, tx: Tx, loaded: Any) -> None:
    """Ask whether a role implies another."""
    show_implied_role.handler(ctx, tx, loaded)


@operation(
    "DELETE",
    "/roles/{prior_role_id}/implies/{implied_role_id}",
    policy="identity:delete_implied_role",
    load=_load_two,
    target=_target,
    errors=(Missing,),
)
def delete_implied_role(ctx: Context, tx: Tx, loaded: Any) -> None:
    """Let a role no longer imply another."""
    prior, implied = loaded
    where = sa.and_(_I.c.prior_role_id == prior.id, _I.c.implied_role_id == implied.id)
    if tx.delete(_I, where) == 0:
        raise Missing(kind="implied role", id=implied.id)
    entities.bump(tx)


@operation(
    "GET",
    "/roles/{prior_role_id}/implies",
    policy="identity:list_implied_roles",
    load=_load,
    target=_target,
    errors=(Missing,),
)
def list_implied_roles(ctx: Context, tx: Tx, prior: Any) -> Any:
    """List what a role implies."""
    rows = tx.all(sa.select(_I).where(_I.c.prior_role_id == prior.id))
    found = entities.by_ids(tx, tables.roles, [row.implied_role_id for row in rows])
    return {
        "role_inference": {
            "prior_role": _brief(ctx, prior),
            "implies": [_brief(ctx, row) for row in found.values()],
        },
        "links": {"self": f"{ctx.base_url}/roles/{prior.id}/implies"},
    }


@operation("GET", "/role_inferences", policy="identity:list_role_inference_rules", target=_target)
def list_inferences(ctx: Context, tx: Tx) -> Any:
    """List every inference."""
    rows = tx.all(sa.select(_I).order_by(_I.c.prior_role_id, _I.c.implied_role_id))
    ids = [row.prior_role_id for row in rows] + [row.implied_role_id for row in rows]
    found = entities.by_ids(tx, tables.roles, ids)
    by_prior: dict[str, list[Any]] = {}
    for row in rows:
        by_prior.setdefault(row.prior_role_id, []).append(_brief(ctx, found[row.implied_role_id]))
    return {
        "role_inferences": [
            {"prior_role": _brief(ctx, found[prior]), "implies": implies}
            for prior, implies in by_prior.items()
        ],
        "links": {"self": f"{ctx.base_url}/role_inferences", "next": None, "previous": None},
    }

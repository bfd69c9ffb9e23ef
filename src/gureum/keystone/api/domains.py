"""Domains: the bounds of users, groups and projects."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Boolean, Id, Json, ListOf, String, Struct, operation
from gureum.keystone.api import shapes
from gureum.keystone.api.shapes import ListQuery, Options, shown
from gureum.keystone.errors import Duplicate, Missing, StillEnabled
from gureum.keystone.logic import domains
from gureum.keystone.logic.common import load, load_open
from gureum.keystone.store import entities, tables


class Domain(Struct, extra="keep"):
    """A domain."""

    id = Id("Id.")
    name = String("Name.")
    description = String("Text.")
    enabled = Boolean("Whether its users can log in.")
    options = Options()
    tags = ListOf(String("Tag."), "Tags.")
    links = Json("Links.")


class DomainCreate(Struct, extra="keep"):
    """A new domain."""

    name = String("Name.", min=1, max=64, required=True)
    description = String("Text.", max=None, null=True)
    enabled = Boolean("Whether its users can log in.", default=True, strict=True)
    options = Options()
    explicit_domain_id = Id("The id to use.", max=64)


class DomainUpdate(Struct, extra="keep"):
    """Changes to a domain."""

    name = String("Name.", min=1, max=64)
    description = String("Text.", max=None, null=True)
    enabled = Boolean("Whether its users can log in.", strict=True)
    options = Options()


def _load(ctx: Context, tx: Tx, domain_id: str) -> Any:
    return load(tx, tables.domains, "domain", domain_id)


def _load_open(ctx: Context, tx: Tx, domain_id: str) -> Any:
    return load_open(tx, tables.domains, "domain", domain_id)


def _target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return {"target.domain.id": row.id} if row is not None else {}


@operation(
    "POST",
    "/domains",
    policy="identity:create_domain",
    wrap="domain",
    request=DomainCreate,
    response=Domain,
    errors=(Duplicate,),
)
def create_domain(ctx: Context, tx: Tx, new: DomainCreate) -> Any:
    """Create a domain."""
    return shown(ctx, "domains", domains.create(tx, new))


@operation(
    "GET",
    "/domains",
    policy="identity:list_domains",
    query=ListQuery,
    items=Domain,
    response_wrap="domains",
    target=lambda ctx, loaded, new: {"target.domain.id": ctx.domain_id},
    kept=True,
)
def list_domains(ctx: Context, tx: Tx, query: ListQuery) -> Any:
    """List domains; a domain's reader sees that one."""
    where = shapes.filters(query, {"name": str, "enabled": bool})
    conditions = entities.matching(tables.domains, where)
    if ctx.scope == "domain" and not ctx.is_admin:
        conditions.append(tables.domains.c.id == ctx.domain_id)
    limit = query.get("limit")
    rows = entities.listed(tx, tables.domains, conditions, marker=query.get("marker"), limit=limit)
    return shapes.page(ctx, "domains", rows, query, limit)


@operation(
    "GET",
    "/domains/{domain_id}",
    policy="identity:get_domain",
    response=Domain,
    load=_load,
    target=_target,
    response_wrap="domain",
    errors=(Missing,),
    kept=True,
)
def show_domain(ctx: Context, tx: Tx, domain: Any) -> Any:
    """Show a domain."""
    return shown(ctx, "domains", domain)


@operation(
    "PATCH",
    "/domains/{domain_id}",
    policy="identity:update_domain",
    wrap="domain",
    request=DomainUpdate,
    response=Domain,
    load=_load_open,
    target=_target,
    errors=(Missing, Duplicate),
)
def update_domain(ctx: Context, tx: Tx, domain: Any, new: DomainUpdate) -> Any:
    """Change a domain. Disabling it ends every token of its users and projects."""
    return shown(ctx, "domains", domains.update(tx, domain, new))


@operation(
    "DELETE",
    "/domains/{domain_id}",
    policy="identity:delete_domain",
    load=_load,
    target=_target,
    errors=(Missing, StillEnabled),
)
def delete_domain(ctx: Context, tx: Tx, domain: Any) -> None:
    """Delete a disabled domain with everything in it."""
    domains.delete(tx, domain)

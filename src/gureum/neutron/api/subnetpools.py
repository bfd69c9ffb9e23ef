"""Subnet pools and address scopes. Follows: Network API v2.0, "Subnet pools", "Address scopes"."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Boolean, Cidr, Id, Integer, ListOf, Page, String, Struct, operation
from gureum.neutron.api.common import (
    ListQuery,
    ShowQuery,
    Standard,
    StandardCreate,
    StandardUpdate,
    View,
    bulk,
    bulk_answer,
    create_all,
    enforce_create,
    loader,
    owner,
    rule_target,
    view_target,
)
from gureum.neutron.api.subnets import IpVersion
from gureum.neutron.errors import OverQuota
from gureum.neutron.errors_pools import (
    AddressScopeInUse,
    AddressScopeNotFound,
    IllegalSubnetPoolPrefixUpdate,
    SubnetPoolInUse,
    SubnetPoolNotFound,
)
from gureum.neutron.logic import subnetpools
from gureum.neutron.store.query import list_page
from gureum.neutron.store.subnetpools import ADDRESS_SCOPE, SUBNETPOOL


class SubnetPool(Standard):
    """A subnet pool."""

    ip_version = Integer("4 or 6.")
    prefixes = ListOf(String(""), "What subnets are taken from.")
    default_prefixlen = String("Size of a subnet without a wish.")
    min_prefixlen = String("Shortest prefix of a subnet.")
    max_prefixlen = String("Longest prefix of a subnet.")
    default_quota = Integer("Most that one project may take.")
    address_scope_id = Id("Scope in which addresses are unique.")
    shared = Boolean("Whether other projects may use it.")
    is_default = Boolean("Whether it is the default of its family.")


class SubnetPoolCreate(StandardCreate):
    """A new pool."""

    name = String("Name.", required=True)
    prefixes = ListOf(Cidr(""), "What subnets are taken from.", required=True, min=1, max=1000)
    default_prefixlen = Integer("Size of a subnet without a wish.", min=0)
    min_prefixlen = Integer("Shortest prefix of a subnet.", min=0)
    max_prefixlen = Integer("Longest prefix of a subnet.", min=0)
    default_quota = Integer("Most that one project may take.", null=True, min=0)
    address_scope_id = Id("Scope.", uuid=True, null=True)
    shared = Boolean("Open it to all.", default=False, policy="create_subnetpool:shared")
    is_default = Boolean("The default.", default=False, policy="create_subnetpool:is_default")


class SubnetPoolUpdate(StandardUpdate):
    """Changes of a pool."""

    prefixes = ListOf(Cidr(""), "What subnets are taken from.", min=1, max=1000)
    default_prefixlen = Integer("Size of a subnet without a wish.", min=0)
    min_prefixlen = Integer("Shortest prefix of a subnet.", min=0)
    max_prefixlen = Integer("Longest prefix of a subnet.", min=0)
    default_quota = Integer("Most that one project may take.", null=True, min=0)
    address_scope_id = Id("Scope.", uuid=True, null=True)
    is_default = Boolean("The default.", policy="update_subnetpool:is_default")


class Prefixes(Struct):
    """Prefixes to add or remove."""

    prefixes = ListOf(Cidr(""), "Prefixes.", required=True, min=1, max=1000)


class PoolPrefixes(Struct):
    """The prefixes of a pool."""

    prefixes = ListOf(String(""), "Prefixes.")


PoolBody = bulk("subnetpool", "subnetpools", SubnetPoolCreate)
PoolMade = bulk_answer("subnetpool", "subnetpools", SubnetPool)


def _make(ctx: Context, tx: Tx, new: Any) -> View:
    project_id = owner(ctx, new)
    target = rule_target({"project_id": project_id})
    enforce_create(ctx, tx.deps.policy, "create_subnetpool", new, target)
    return subnetpools.create(ctx, tx, new, project_id)


@operation(
    "POST",
    "/subnetpools",
    policy="create_subnetpool",
    request=PoolBody,
    response=PoolMade,
    errors=(OverQuota,),
)
def create_subnetpool(ctx: Context, tx: Tx, body: Any) -> Any:
    """Create a subnet pool, or several."""
    return create_all(ctx, tx, body, "subnetpool", "subnetpools", SubnetPool, _make)


@operation(
    "GET",
    "/subnetpools",
    policy="get_subnetpool",
    query=ListQuery,
    items=SubnetPool,
    response_wrap="subnetpools",
)
def list_subnetpools(ctx: Context, tx: Tx, query: Any) -> Page:
    """List subnet pools."""
    return list_page(ctx, tx, SUBNETPOOL, query)


@operation(
    "GET",
    "/subnetpools/{subnetpool_id}",
    policy="get_subnetpool",
    load=loader(SUBNETPOOL),
    target=view_target,
    query=ShowQuery,
    response=SubnetPool,
    response_wrap="subnetpool",
    errors=(SubnetPoolNotFound,),
)
def show_subnetpool(ctx: Context, tx: Tx, pool: View, query: Any) -> View:
    """Show a subnet pool."""
    return pool


@operation(
    "PUT",
    "/subnetpools/{subnetpool_id}",
    policy="update_subnetpool",
    load=loader(SUBNETPOOL, "update_subnetpool"),
    target=view_target,
    wrap="subnetpool",
    request=SubnetPoolUpdate,
    response=SubnetPool,
    errors=(SubnetPoolNotFound, IllegalSubnetPoolPrefixUpdate),
)
def update_subnetpool(ctx: Context, tx: Tx, pool: View, new: Any) -> View:
    """Change a subnet pool."""
    return subnetpools.update(ctx, tx, pool, new)


@operation(
    "DELETE",
    "/subnetpools/{subnetpool_id}",
    policy="delete_subnetpool",
    load=loader(SUBNETPOOL, "delete_subnetpool"),
    target=view_target,
    errors=(SubnetPoolNotFound, SubnetPoolInUse),
)
def delete_subnetpool(ctx: Context, tx: Tx, pool: View) -> None:
    """Delete a subnet pool."""
    subnetpools.delete(ctx, tx, pool)


@operation(
    "PUT",
    "/subnetpools/{subnetpool_id}/add_prefixes",
    policy="add_prefixes",
    load=loader(SUBNETPOOL, "add_prefixes"),
    target=view_target,
    request=Prefixes,
    response=PoolPrefixes,
    errors=(SubnetPoolNotFound, IllegalSubnetPoolPrefixUpdate),
)
def add_prefixes(ctx: Context, tx: Tx, pool: View, new: Any) -> View:
    """Add prefixes to a subnet pool."""
    return subnetpools.add_prefixes(ctx, tx, pool, new.prefixes)


@operation(
    "PUT",
    "/subnetpools/{subnetpool_id}/remove_prefixes",
    policy="remove_prefixes",
    load=loader(SUBNETPOOL, "remove_prefixes"),
    target=view_target,
    request=Prefixes,
    response=PoolPrefixes,
    errors=(SubnetPoolNotFound, IllegalSubnetPoolPrefixUpdate),
)
def remove_prefixes(ctx: Context, tx: Tx, pool: View, new: Any) -> View:
    """Remove prefixes from a subnet pool."""
    return subnetpools.remove_prefixes(ctx, tx, pool, new.prefixes)


# --- address scopes -----------------------------------------------------------------------------


class AddressScope(Struct):
    """An address scope."""

    id = Id("Id.")
    name = String("Name.")
    project_id = String("Owner.")
    tenant_id = String("Owner, under its older name.")
    ip_version = Integer("4 or 6.")
    shared = Boolean("Whether other projects may use it.")


class AddressScopeCreate(Struct):
    """A new scope."""

    name = String("Name.", default="")
    project_id = String("Owner.")
    tenant_id = String("Owner, under its older name.")
    ip_version = IpVersion("4 or 6.", required=True)
    shared = Boolean("Open it to all.", default=False, policy="create_address_scope:shared")


class AddressScopeUpdate(Struct):
    """Changes of a scope."""

    name = String("Name.")
    shared = Boolean("Open it to all.", policy="update_address_scope:shared")


ScopeBody = bulk("address_scope", "address_scopes", AddressScopeCreate)
ScopeMade = bulk_answer("address_scope", "address_scopes", AddressScope)


def _make_scope(ctx: Context, tx: Tx, new: Any) -> View:
    project_id = owner(ctx, new)
    target = rule_target({"project_id": project_id})
    enforce_create(ctx, tx.deps.policy, "create_address_scope", new, target)
    return subnetpools.create_scope(ctx, tx, new, project_id)


@operation(
    "POST",
    "/address-scopes",
    policy="create_address_scope",
    request=ScopeBody,
    response=ScopeMade,
)
def create_address_scope(ctx: Context, tx: Tx, body: Any) -> Any:
    """Create an address scope, or several."""
    return create_all(ctx, tx, body, "address_scope", "address_scopes", AddressScope, _make_scope)


@operation(
    "GET",
    "/address-scopes",
    policy="get_address_scope",
    query=ListQuery,
    items=AddressScope,
    response_wrap="address_scopes",
)
def list_address_scopes(ctx: Context, tx: Tx, query: Any) -> Page:
    """List address scopes."""
    return list_page(ctx, tx, ADDRESS_SCOPE, query)


@operation(
    "GET",
    "/address-scopes/{address_scope_id}",
    policy="get_address_scope",
    load=loader(ADDRESS_SCOPE),
    target=view_target,
    query=ShowQuery,
    response=AddressScope,
    response_wrap="address_scope",
    errors=(AddressScopeNotFound,),
)
def show_address_scope(ctx: Context, tx: Tx, scope: View, query: Any) -> View:
    """Show an address scope."""
    return scope


@operation(
    "PUT",
    "/address-scopes/{address_scope_id}",
    policy="update_address_scope",
    load=loader(ADDRESS_SCOPE, "update_address_scope"),
    target=view_target,
    wrap="address_scope",
    request=AddressScopeUpdate,
    response=AddressScope,
    errors=(AddressScopeNotFound,),
)
def update_address_scope(ctx: Context, tx: Tx, scope: View, new: Any) -> View:
    """Change an address scope."""
    return subnetpools.update_scope(ctx, tx, scope, new)


@operation(
    "DELETE",
    "/address-scopes/{address_scope_id}",
    policy="delete_address_scope",
    load=loader(ADDRESS_SCOPE, "delete_address_scope"),
    target=view_target,
    errors=(AddressScopeNotFound, AddressScopeInUse),
)
def delete_address_scope(ctx: Context, tx: Tx, scope: View) -> None:
    """Delete an address scope."""
    subnetpools.delete_scope(ctx, tx, scope)

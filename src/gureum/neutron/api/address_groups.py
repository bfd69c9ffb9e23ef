"""Address groups. Follows: Network API v2.0, "Address groups"."""

from __future__ import annotations

import ipaddress
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Boolean, Field, Invalid, ListOf, Page, String, Struct, operation
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
from gureum.neutron.errors import OverQuota
from gureum.neutron.errors_pools import (
    AddressesAlreadyExist,
    AddressesNotFound,
    AddressGroupInUse,
    AddressGroupNotFound,
)
from gureum.neutron.logic import quota
from gureum.neutron.store import changes, rows
from gureum.neutron.store import tables as t
from gureum.neutron.store.address_groups import ADDRESS_GROUP
from gureum.neutron.store.query import list_page, reload


class Address(Field[str]):
    """An address or a network, always shown as a CIDR."""

    json_type = "string"

    def __init__(self, text: str, *, bare: bool = False, **common: Any) -> None:
        super().__init__(text, **common)
        self.bare = bare

    def parser(self, version: Any) -> Any:
        def parse(value: Any, path: str) -> str:
            try:
                if not isinstance(value, str) or ("/" not in value and not self.bare):
                    raise ValueError
                return str(ipaddress.ip_network(value, strict=False))
            except ValueError:
                raise Invalid(path, f"'{str(value)[:60]}' is not a valid CIDR", value) from None

        return parse


class AddressGroup(Standard):
    """An address group."""

    addresses = ListOf(String(""), "Its addresses.")
    shared = Boolean("Whether other projects may use it.")


class AddressGroupCreate(StandardCreate):
    """A new group."""

    addresses = ListOf(Address(""), "Its addresses.", max=1000)


class AddressGroupUpdate(StandardUpdate):
    """Changes of a group."""


class Addresses(Struct):
    """Addresses to add."""

    addresses = ListOf(Address(""), "Addresses.", required=True, min=1, max=1000)


class OldAddresses(Struct):
    """Addresses to remove."""

    addresses = ListOf(Address("", bare=True), "Addresses.", required=True, min=1, max=1000)


GroupBody = bulk("address_group", "address_groups", AddressGroupCreate)
GroupMade = bulk_answer("address_group", "address_groups", AddressGroup)


def _make(ctx: Context, tx: Tx, new: Any) -> View:
    project_id = owner(ctx, new)
    target = rule_target({"project_id": project_id})
    enforce_create(ctx, tx.deps.policy, "create_address_group", new, target)
    quota.check(ctx, tx, project_id, "address_group")
    group_id = rows.insert(
        tx,
        t.address_groups,
        project_id=project_id,
        name=new.get("name", "") or "",
        description=new.get("description", "") or "",
        addresses=list(dict.fromkeys(new.get("addresses", ()))),
    )
    return reload(ctx, tx, ADDRESS_GROUP, group_id)


def _note(tx: Tx, group_id: str) -> None:
    c = t.security_group_rules.c
    statement = sa.select(c.security_group_id).where(c.remote_address_group_id == group_id)
    items: set[changes.Item] = set()
    for row in tx.all(statement.distinct()):
        items |= changes.group_items(tx, row.security_group_id)
    changes.note(tx, items)


@operation(
    "POST",
    "/address-groups",
    policy="create_address_group",
    request=GroupBody,
    response=GroupMade,
    errors=(OverQuota,),
)
def create_address_group(ctx: Context, tx: Tx, body: Any) -> Any:
    """Create an address group, or several."""
    return create_all(ctx, tx, body, "address_group", "address_groups", AddressGroup, _make)


@operation(
    "GET",
    "/address-groups",
    policy="get_address_group",
    query=ListQuery,
    items=AddressGroup,
    response_wrap="address_groups",
)
def list_address_groups(ctx: Context, tx: Tx, query: Any) -> Page:
    """List address groups."""
    return list_page(ctx, tx, ADDRESS_GROUP, query)


@operation(
    "GET",
    "/address-groups/{address_group_id}",
    policy="get_address_group",
    load=loader(ADDRESS_GROUP),
    target=view_target,
    query=ShowQuery,
    response=AddressGroup,
    response_wrap="address_group",
    errors=(AddressGroupNotFound,),
)
def show_address_group(ctx: Context, tx: Tx, group: View, query: Any) -> View:
    """Show an address group."""
    return group


@operation(
    "PUT",
    "/address-groups/{address_group_id}",
    policy="update_address_group",
    load=loader(ADDRESS_GROUP, "update_address_group"),
    target=view_target,
    wrap="address_group",
    request=AddressGroupUpdate,
    response=AddressGroup,
    errors=(AddressGroupNotFound,),
)
def update_address_group(ctx: Context, tx: Tx, group: View, new: Any) -> View:
    """Change an address group's name or description."""
    rows.check_revision(ctx, group)
    values = {n: new.get(n) or "" for n in ("name", "description") if new.has(n)}
    rows.update(tx, t.address_groups, group, **values)
    return reload(ctx, tx, ADDRESS_GROUP, group["id"])


@operation(
    "DELETE",
    "/address-groups/{address_group_id}",
    policy="delete_address_group",
    load=loader(ADDRESS_GROUP, "delete_address_group"),
    target=view_target,
    errors=(AddressGroupNotFound, AddressGroupInUse),
)
def delete_address_group(ctx: Context, tx: Tx, group: View) -> None:
    """Delete an address group that no rule names."""
    c = t.security_group_rules.c
    if tx.first(sa.select(c.id).where(c.remote_address_group_id == group["id"])) is not None:
        raise AddressGroupInUse(id=group["id"])
    tx.delete_by(t.address_groups.c.id, group["id"])
    rows.forget(tx, group["id"])


@operation(
    "PUT",
    "/address-groups/{address_group_id}/add_addresses",
    policy="add_addresses",
    load=loader(ADDRESS_GROUP, "add_addresses"),
    target=view_target,
    request=Addresses,
    response=AddressGroup,
    response_wrap="address_group",
    errors=(AddressGroupNotFound, AddressesAlreadyExist),
)
def add_addresses(ctx: Context, tx: Tx, group: View, new: Any) -> View:
    """Add addresses to an address group."""
    twice = [a for a in new.addresses if a in group["addresses"]]
    if twice:
        raise AddressesAlreadyExist(addresses=twice, id=group["id"])
    merged = [*group["addresses"], *dict.fromkeys(new.addresses)]
    rows.update(tx, t.address_groups, group, addresses=merged)
    _note(tx, group["id"])
    return reload(ctx, tx, ADDRESS_GROUP, group["id"])


@operation(
    "PUT",
    "/address-groups/{address_group_id}/remove_addresses",
    policy="remove_addresses",
    load=loader(ADDRESS_GROUP, "remove_addresses"),
    target=view_target,
    request=OldAddresses,
    response=AddressGroup,
    response_wrap="address_group",
    errors=(AddressGroupNotFound, AddressesNotFound),
)
def remove_addresses(ctx: Context, tx: Tx, group: View, new: Any) -> View:
    """Remove addresses from an address group."""
    missing = [a for a in new.addresses if a not in group["addresses"]]
    if missing:
        raise AddressesNotFound(addresses=missing, id=group["id"])
    left = [a for a in group["addresses"] if a not in new.addresses]
    rows.update(tx, t.address_groups, group, addresses=left)
    _note(tx, group["id"])
    return reload(ctx, tx, ADDRESS_GROUP, group["id"])

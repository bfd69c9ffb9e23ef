"""Rows of address groups."""

from __future__ import annotations

from gureum.neutron.errors_pools import AddressGroupNotFound
from gureum.neutron.store import tables as t
from gureum.neutron.store.networks import shared_filter
from gureum.neutron.store.query import Noun, own_or_granted
from gureum.neutron.store.subnetpools import shared_views

ADDRESS_GROUP = Noun(
    t.address_groups,
    "address_group",
    "address_groups",
    AddressGroupNotFound,
    own_or_granted(t.address_groups, "address_group", "access_as_shared"),
    shared_views("address_group"),
    special={"shared": shared_filter(t.address_groups, "address_group")},
)

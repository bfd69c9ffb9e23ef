"""Rows of subnet pools and address scopes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.neutron.errors_pools import AddressScopeNotFound, SubnetPoolNotFound
from gureum.neutron.store import tables as t
from gureum.neutron.store.networks import shared_filter
from gureum.neutron.store.query import (
    Noun,
    View,
    own_or_granted,
    shared_ids,
    standard_views,
)


def shared_views(object_type: str) -> Any:
    """Return the `views` of a noun whose sharing is an RBAC policy."""

    def views(ctx: Context, tx: Tx, rows: Sequence[sa.Row[Any]]) -> list[View]:
        shared = shared_ids(ctx, tx, object_type, [row.id for row in rows])
        out = standard_views(tx, rows)
        for view in out:
            view["shared"] = view["id"] in shared
            for name in ("min_prefixlen", "max_prefixlen", "default_prefixlen"):
                if name in view:
                    view[name] = str(view[name])  # as text: clients have always been given that
        return out

    return views


SUBNETPOOL = Noun(
    t.subnetpools,
    "subnetpool",
    "subnetpools",
    SubnetPoolNotFound,
    own_or_granted(t.subnetpools, "subnetpool", "access_as_shared"),
    shared_views("subnetpool"),
    special={"shared": shared_filter(t.subnetpools, "subnetpool")},
)

ADDRESS_SCOPE = Noun(
    t.address_scopes,
    "address_scope",
    "address_scopes",
    AddressScopeNotFound,
    own_or_granted(t.address_scopes, "address_scope", "access_as_shared"),
    shared_views("address_scope"),
    special={"shared": shared_filter(t.address_scopes, "address_scope")},
)

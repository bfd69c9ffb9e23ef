"""Which stored policy counts for an endpoint: its own, else its service's in the region or above, else its
service's.

Follows: Identity API v3, "OS-ENDPOINT-POLICY".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.keystone.errors import Missing
from gureum.keystone.store import entities, tables

_L = tables.policy_links


@dataclass(frozen=True, slots=True)
class Key:
    """What a policy is tied to."""

    endpoint_id: str = ""
    service_id: str = ""
    region_id: str = ""


def _where(key: Key) -> sa.ColumnElement[bool]:
    return sa.and_(
        _L.c.endpoint_id == key.endpoint_id,
        _L.c.service_id == key.service_id,
        _L.c.region_id == key.region_id,
    )


def linked(tx: Tx, key: Key) -> str | None:
    """Return the policy that is tied to exactly this."""
    return tx.scalar(sa.select(_L.c.policy_id).where(_where(key)))


def link(tx: Tx, policy_id: str, key: Key) -> None:
    """Tie a policy; one that was there before goes."""
    if tx.update(_L, _where(key), policy_id=policy_id) == 0:
        tx.insert(
            _L,
            policy_id=policy_id,
            endpoint_id=key.endpoint_id,
            service_id=key.service_id,
            region_id=key.region_id,
        )


def unlink(tx: Tx, policy_id: str, key: Key) -> None:
    """Untie a policy. Raises: Missing."""
    if tx.delete(_L, sa.and_(_where(key), _L.c.policy_id == policy_id)) == 0:
        raise Missing(kind="policy association", id=policy_id)


def of_endpoint(tx: Tx, endpoint: Any) -> str | None:
    """Return the policy that counts for an endpoint."""
    found = linked(tx, Key(endpoint_id=endpoint.id))
    region_id = endpoint.region_id
    while found is None and region_id:
        found = linked(tx, Key(service_id=endpoint.service_id, region_id=region_id))
        region = entities.get(tx, tables.regions, region_id)
        region_id = region.parent_region_id if region is not None else None
    return found if found is not None else linked(tx, Key(service_id=endpoint.service_id))

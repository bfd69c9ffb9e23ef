"""Rows of the rules that new security groups start with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.neutron.errors_security import SecurityGroupDefaultRuleNotFound
from gureum.neutron.store import rows
from gureum.neutron.store import tables as t
from gureum.neutron.store.query import Noun, View, standard_views

PARENT = "PARENT"
"""Stands as remote_group_id for the group itself."""


def views(ctx: Context, tx: Tx, found: Sequence[sa.Row[Any]]) -> list[View]:
    """Return rules as clients see them."""
    return standard_views(tx, found, tags=False)


DEFAULT_RULE = Noun(
    t.default_rules,
    "default_security_group_rule",
    "default_security_group_rules",
    SecurityGroupDefaultRuleNotFound,
    lambda ctx: sa.true(),
    views,
    has_tags=False,
)


def for_group(tx: Tx, is_default: bool) -> Sequence[sa.Row[Any]]:
    """Return what a new group starts with."""
    c = t.default_rules.c
    used = c.used_in_default_sg if is_default else c.used_in_non_default_sg
    return tx.all(sa.select(t.default_rules).where(used.is_(True)).order_by(c.created_at, c.id))


def seed(tx: Tx) -> None:
    """Make what a new cloud starts with: everything out; in, from the own group, by default."""
    for ethertype in ("IPv4", "IPv6"):
        _insert(tx, "egress", ethertype, None, True)
        _insert(tx, "ingress", ethertype, PARENT, False)


def _insert(tx: Tx, direction: str, ethertype: str, remote: str | None, in_all: bool) -> None:
    rows.insert(
        tx,
        t.default_rules,
        project_id="",
        name="",
        description=f"Legacy default SG rule for {direction} traffic",
        direction=direction,
        ethertype=ethertype,
        remote_group_id=remote,
        used_in_default_sg=True,
        used_in_non_default_sg=in_all,
    )

"""Rows of security groups and their rules, and the default group of a project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.neutron.errors_security import SecurityGroupNotFound, SecurityGroupRuleNotFound
from gureum.neutron.store import tables as t
from gureum.neutron.store.networks import shared_filter
from gureum.neutron.store.query import (
    Noun,
    View,
    Where,
    asked,
    granted,
    grouped,
    own_or_granted,
    shared_ids,
    standard_views,
)


def views(
    ctx: Context, tx: Tx, rows: Sequence[sa.Row[Any]], only: frozenset[str] = frozenset()
) -> list[View]:
    """Return groups with their rules: a constant number of queries."""
    ids = [row.id for row in rows]
    shared = shared_ids(ctx, tx, "security_group", ids) if asked(only, "shared") else set()
    found = (
        tx.among(
            t.security_group_rules.c.security_group_id,
            ids,
            t.security_group_rules.c.created_at,
            t.security_group_rules.c.id,
        )
        if ids and asked(only, "security_group_rules")
        else []
    )
    by_group: dict[str, list[View]] = {}
    for view in rule_views(ctx, tx, found):
        by_group.setdefault(view["security_group_id"], []).append(view)
    out = standard_views(tx, rows, tags=asked(only, "tags"))
    for view in out:
        view["shared"] = view["id"] in shared
        view["security_group_rules"] = by_group.get(view["id"], [])
    return out


def rule_views(ctx: Context, tx: Tx, rows: Sequence[sa.Row[Any]]) -> list[View]:
    """Return rules; whether they belong to a default group says one query."""
    groups = {row.security_group_id for row in rows}
    defaults: set[str] = set()
    if groups:
        column = t.default_security_groups.c.security_group_id
        defaults = {row.security_group_id for row in tx.among(column, groups)}
    out = standard_views(tx, rows)
    for view in out:
        view["belongs_to_default_sg"] = view["security_group_id"] in defaults
    return out


def _visible_rules(ctx: Context) -> Where:
    c = t.security_group_rules.c
    groups = sa.select(t.security_groups.c.id).where(
        sa.or_(
            t.security_groups.c.project_id == (ctx.project_id or ""),
            granted(t.security_groups, "security_group", ctx, "access_as_shared"),
        )
    )
    return sa.or_(c.project_id == (ctx.project_id or ""), c.security_group_id.in_(groups))


SECURITY_GROUP = Noun(
    t.security_groups,
    "security_group",
    "security_groups",
    SecurityGroupNotFound,
    own_or_granted(t.security_groups, "security_group", "access_as_shared"),
    views,
    special={"shared": shared_filter(t.security_groups, "security_group")},
    partial=True,
)

RULE = Noun(
    t.security_group_rules,
    "security_group_rule",
    "security_group_rules",
    SecurityGroupRuleNotFound,
    _visible_rules,
    rule_views,
)


def default_of(tx: Tx, project_id: str) -> str | None:
    """Return the id of a project's default group, if it has one."""
    found = tx.by(t.default_security_groups.c.project_id, project_id)
    return None if found is None else str(found.security_group_id)


def worn(tx: Tx, group_id: str) -> bool:
    """Return whether a port wears a group."""
    c = t.port_security_groups.c
    return tx.first(sa.select(c.port_id).where(c.security_group_id == group_id)) is not None


def wearers(tx: Tx, group_id: str, limit: int) -> list[str]:
    """Return ports that wear a group, so many at most."""
    c = t.port_security_groups.c
    wanted = sa.select(c.port_id).where(c.security_group_id == group_id).limit(limit)
    return [row.port_id for row in tx.all(wanted)]


def rules_of(tx: Tx, group_ids: Sequence[str]) -> dict[str, list[sa.Row[Any]]]:
    """Return the rules by group, in one query."""
    c = t.security_group_rules.c
    found = tx.among(c.security_group_id, group_ids, c.security_group_id, c.id)
    return grouped(found, "security_group_id")

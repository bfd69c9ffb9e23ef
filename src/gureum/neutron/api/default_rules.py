"""The rules that new security groups start with.

Follows: Network API v2.0, "Security group default rules".
"""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Boolean, Conflict, Id, Page, String, operation
from gureum.neutron.api.common import ListQuery, ShowQuery, View, loader, rule_target
from gureum.neutron.api.security_groups import RuleMatch, RuleMatchCreate
from gureum.neutron.errors_security import SecurityGroupDefaultRuleNotFound
from gureum.neutron.logic import security_rules
from gureum.neutron.store import rows
from gureum.neutron.store import tables as t
from gureum.neutron.store.default_rules import DEFAULT_RULE
from gureum.neutron.store.query import list_page, reload


class DefaultRule(RuleMatch):
    """A rule that new groups start with."""

    id = Id("Id.")
    description = String("Free text.")
    remote_group_id = String("A group on the other side; PARENT is the new group itself.")
    used_in_default_sg = Boolean("Whether default groups start with it.")
    used_in_non_default_sg = Boolean("Whether other groups start with it.")


class DefaultRuleCreate(RuleMatchCreate):
    """A new rule."""

    description = String("Free text.", default="")
    project_id = String("Ignored.")
    tenant_id = String("Ignored.")
    used_in_default_sg = Boolean("Default groups start with it.", default=False)
    used_in_non_default_sg = Boolean("Other groups start with it.", default=True)


class DefaultSecurityGroupRuleExists(Conflict):
    """The same rule is there."""

    code = "default_rule_exists"
    text = "Default Security group rule already exists. Rule id is {rule_id}."


@operation(
    "POST",
    "/default-security-group-rules",
    policy="create_default_security_group_rule",
    wrap="default_security_group_rule",
    request=DefaultRuleCreate,
    response=DefaultRule,
    errors=(DefaultSecurityGroupRuleExists,),
)
def create_default_security_group_rule(ctx: Context, tx: Tx, new: Any) -> View:
    """Let new security groups start with one more rule."""
    spec = security_rules.spec_of(new)
    for row in tx.all(t.default_rules.select()):
        together = (row.used_in_default_sg and new.used_in_default_sg) or (
            row.used_in_non_default_sg and new.used_in_non_default_sg
        )
        if together and security_rules.spec_of_row(row).fingerprint() == spec.fingerprint():
            raise DefaultSecurityGroupRuleExists(rule_id=row.id)
    rule_id = rows.insert(
        tx,
        t.default_rules,
        project_id="",
        name="",
        description=new.get("description", "") or "",
        direction=spec.direction,
        ethertype=spec.ethertype,
        protocol=spec.protocol,
        port_range_min=spec.port_range_min,
        port_range_max=spec.port_range_max,
        remote_ip_prefix=spec.remote_ip_prefix,
        remote_group_id=spec.remote_group_id,
        remote_address_group_id=spec.remote_address_group_id,
        used_in_default_sg=new.used_in_default_sg,
        used_in_non_default_sg=new.used_in_non_default_sg,
    )
    return reload(ctx, tx, DEFAULT_RULE, rule_id)


@operation(
    "GET",
    "/default-security-group-rules",
    policy="get_default_security_group_rule",
    query=ListQuery,
    items=DefaultRule,
    response_wrap="default_security_group_rules",
)
def list_default_security_group_rules(ctx: Context, tx: Tx, query: Any) -> Page:
    """List the rules that new security groups start with."""
    return list_page(ctx, tx, DEFAULT_RULE, query)


@operation(
    "GET",
    "/default-security-group-rules/{default_security_group_rule_id}",
    policy="get_default_security_group_rule",
    load=loader(DEFAULT_RULE),
    query=ShowQuery,
    response=DefaultRule,
    response_wrap="default_security_group_rule",
    errors=(SecurityGroupDefaultRuleNotFound,),
)
def show_default_security_group_rule(ctx: Context, tx: Tx, rule: View, query: Any) -> View:
    """Show a rule that new security groups start with."""
    return rule


@operation(
    "DELETE",
    "/default-security-group-rules/{default_security_group_rule_id}",
    policy="delete_default_security_group_rule",
    load=loader(DEFAULT_RULE),
    target=lambda ctx, loaded, new: rule_target(loaded),
    errors=(SecurityGroupDefaultRuleNotFound,),
)
def delete_default_security_group_rule(ctx: Context, tx: Tx, rule: View) -> None:
    """Let new security groups start without a rule."""
    tx.delete_by(t.default_rules.c.id, rule["id"])

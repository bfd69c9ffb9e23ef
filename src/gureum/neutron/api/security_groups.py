"""Security groups and their rules. Follows: Network API v2.0, "Security groups"."""

from __future__ import annotations

import ipaddress
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    Boolean,
    Enum,
    Field,
    Id,
    Integer,
    Invalid,
    ListOf,
    Page,
    String,
    Struct,
    operation,
)
from gureum.neutron.api.common import (
    ListQuery,
    ShowQuery,
    Standard,
    StandardCreate,
    StandardUpdate,
    Unnamed,
    UnnamedCreate,
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
from gureum.neutron.deps import Deps
from gureum.neutron.errors import OverQuota
from gureum.neutron.errors_security import (
    DuplicateSecurityGroupRuleInPost,
    SecurityGroupCannotRemoveDefault,
    SecurityGroupCannotUpdateDefault,
    SecurityGroupDefaultAlreadyExists,
    SecurityGroupInUse,
    SecurityGroupNotFound,
    SecurityGroupNotSingleGroupRules,
    SecurityGroupRuleExists,
    SecurityGroupRuleNotFound,
)
from gureum.neutron.logic import security_groups, security_rules
from gureum.neutron.store import tables as t
from gureum.neutron.store.query import list_page, load
from gureum.neutron.store.security_groups import RULE, SECURITY_GROUP, default_of


class RemotePrefix(Field[str]):
    """A CIDR or an address, kept as it was written; "" and null mean any."""

    json_type = "string"

    def parser(self, version: Any) -> Any:
        def parse(value: Any, path: str) -> str | None:
            if value == "":
                return None
            try:
                if not isinstance(value, str):
                    raise ValueError
                network = ipaddress.ip_network(value, strict=False)
            except ValueError:
                raise Invalid(path, f"'{str(value)[:60]}' is not a valid CIDR", value) from None
            return value if "/" in value else str(network)

        return parse


class RuleMatch(Struct):
    """Which packets a rule lets pass."""

    direction = String("ingress or egress.")
    ethertype = String("IPv4 or IPv6.")
    protocol = String("Protocol, or null for any.")
    port_range_min = Integer("First port, or ICMP type.")
    port_range_max = Integer("Last port, or ICMP code.")
    remote_ip_prefix = String("Who is on the other side.")
    remote_group_id = Id("A group whose members are on the other side.")
    remote_address_group_id = Id("An address group on the other side.")


class Rule(Unnamed, RuleMatch):
    """A security group rule."""

    security_group_id = Id("Its group.")
    normalized_cidr = String("remote_ip_prefix without host bits.")
    belongs_to_default_sg = Boolean("Whether its group is a default one.")


class SecurityGroup(Standard):
    """A security group."""

    stateful = Boolean("Whether connections are tracked.")
    shared = Boolean("Whether other projects may use it.")
    is_default = Boolean("Whether it is its project's default group.")
    security_group_rules = ListOf(Rule, "Its rules.")


class SecurityGroupCreate(StandardCreate):
    """A new group."""

    stateful = Boolean("Track connections.", default=True)


class SecurityGroupUpdate(StandardUpdate):
    """Changes of a group."""

    stateful = Boolean("Track connections.")


class RuleMatchCreate(Struct):
    """Which packets a new rule shall let pass."""

    direction = Enum("Direction.", "ingress", "egress", required=True)
    ethertype = Enum("Family.", "IPv4", "IPv6", fold=True, default="IPv4")
    protocol = String("Name or number.", null=True, lenient=True, max=40)
    port_range_min = Integer("First port, or ICMP type.", null=True)
    port_range_max = Integer("Last port, or ICMP code.", null=True)
    remote_ip_prefix = RemotePrefix("Other side.", null=True)
    remote_group_id = Id("Other side.", null=True)
    remote_address_group_id = Id("Other side.", uuid=True, null=True)


class RuleCreate(UnnamedCreate, RuleMatchCreate):
    """A new rule."""

    security_group_id = Id("Its group.", uuid=True, required=True)


GroupBody = bulk("security_group", "security_groups", SecurityGroupCreate)
GroupMade = bulk_answer("security_group", "security_groups", SecurityGroup)
RuleBody = bulk("security_group_rule", "security_group_rules", RuleCreate)
RuleMade = bulk_answer("security_group_rule", "security_group_rules", Rule)


def _make_group(ctx: Context, tx: Tx, new: Any) -> View:
    project_id = owner(ctx, new)
    target = rule_target({"project_id": project_id})
    enforce_create(ctx, tx.deps.policy, "create_security_group", new, target)
    return security_groups.create(ctx, tx, new, project_id)


@operation(
    "POST",
    "/security-groups",
    policy="create_security_group",
    request=GroupBody,
    response=GroupMade,
    errors=(OverQuota, SecurityGroupDefaultAlreadyExists),
)
def create_security_group(ctx: Context, tx: Tx, body: Any) -> Any:
    """Create a security group, or several."""
    return create_all(
        ctx, tx, body, "security_group", "security_groups", SecurityGroup, _make_group
    )


@operation(
    "GET",
    "/security-groups",
    policy="get_security_group",
    query=ListQuery,
    items=SecurityGroup,
    response_wrap="security_groups",
    manual=True,
    waits=False,
    kept=True,
)
def list_security_groups(ctx: Context, deps: Deps, query: Any) -> Page:
    """List security groups; the caller's own project gets its default group now at the latest."""
    with deps.db.read() as tx:
        ready = not ctx.project_id or default_of(tx, ctx.project_id) is not None
        if ready:
            return list_page(ctx, tx, SECURITY_GROUP, query)
    deps.db.retrying(lambda tx: security_groups.default_group(tx, ctx.project_id or ""))
    with deps.db.read() as tx:
        return list_page(ctx, tx, SECURITY_GROUP, query)


@operation(
    "GET",
    "/security-groups/{security_group_id}",
    policy="get_security_group",
    load=loader(SECURITY_GROUP),
    target=view_target,
    query=ShowQuery,
    response=SecurityGroup,
    response_wrap="security_group",
    errors=(SecurityGroupNotFound,),
    kept=True,
)
def show_security_group(ctx: Context, tx: Tx, group: View, query: Any) -> View:
    """Show a security group."""
    return group


@operation(
    "PUT",
    "/security-groups/{security_group_id}",
    policy="update_security_group",
    load=loader(SECURITY_GROUP, "update_security_group"),
    target=view_target,
    wrap="security_group",
    request=SecurityGroupUpdate,
    response=SecurityGroup,
    errors=(SecurityGroupNotFound, SecurityGroupCannotUpdateDefault),
)
def update_security_group(ctx: Context, tx: Tx, group: View, new: Any) -> View:
    """Change a security group."""
    return security_groups.update(ctx, tx, group, new)


@operation(
    "DELETE",
    "/security-groups/{security_group_id}",
    policy="delete_security_group",
    load=loader(SECURITY_GROUP, "delete_security_group"),
    target=view_target,
    errors=(SecurityGroupNotFound, SecurityGroupInUse, SecurityGroupCannotRemoveDefault),
)
def delete_security_group(ctx: Context, tx: Tx, group: View) -> None:
    """Delete a security group."""
    security_groups.delete(ctx, tx, group)


# --- rules --------------------------------------------------------------------------------------


def load_rule(ctx: Context, tx: Tx, rule_id: str) -> View:
    """Return a visible rule with the owner of its group."""
    view = load(ctx, tx, RULE, rule_id)
    project = tx.scalar(
        sa.select(t.security_groups.c.project_id).where(
            t.security_groups.c.id == view["security_group_id"]
        )
    )
    return {**view, "security_group:tenant_id": project}


def _make_rule(ctx: Context, tx: Tx, new: Any) -> View:
    project_id = owner(ctx, new)
    enforce_create(
        ctx,
        tx.deps.policy,
        "create_security_group_rule",
        new,
        rule_target({"project_id": project_id}),
    )
    group = load(ctx, tx, SECURITY_GROUP, new.security_group_id)
    if group["project_id"] != ctx.project_id and not ctx.is_admin:
        raise SecurityGroupNotFound(id=new.security_group_id)
    return security_rules.create(ctx, tx, new, group, group["project_id"])


@operation(
    "POST",
    "/security-group-rules",
    policy="create_security_group_rule",
    request=RuleBody,
    response=RuleMade,
    errors=(OverQuota, SecurityGroupRuleExists, SecurityGroupNotFound),
)
def create_security_group_rule(ctx: Context, tx: Tx, body: Any) -> Any:
    """Create a security group rule, or several of one group."""
    if body.has("security_group_rules"):
        _check_bulk(body.get("security_group_rules"))
    return create_all(
        ctx, tx, body, "security_group_rule", "security_group_rules", Rule, _make_rule
    )


def _check_bulk(new: Any) -> None:
    if len({rule.security_group_id for rule in new}) > 1:
        raise SecurityGroupNotSingleGroupRules()
    prints = [security_rules.spec_of(rule).fingerprint() for rule in new]
    if len(set(prints)) < len(prints):
        raise DuplicateSecurityGroupRuleInPost()


@operation(
    "GET",
    "/security-group-rules",
    policy="get_security_group_rule",
    query=ListQuery,
    items=Rule,
    response_wrap="security_group_rules",
    kept=True,
)
def list_security_group_rules(ctx: Context, tx: Tx, query: Any) -> Page:
    """List security group rules."""
    return list_page(ctx, tx, RULE, query)


@operation(
    "GET",
    "/security-group-rules/{security_group_rule_id}",
    policy="get_security_group_rule",
    load=load_rule,
    target=view_target,
    query=ShowQuery,
    response=Rule,
    response_wrap="security_group_rule",
    errors=(SecurityGroupRuleNotFound,),
    kept=True,
)
def show_security_group_rule(ctx: Context, tx: Tx, rule: View, query: Any) -> View:
    """Show a security group rule."""
    return rule


@operation(
    "DELETE",
    "/security-group-rules/{security_group_rule_id}",
    policy="delete_security_group_rule",
    load=loader(RULE, "delete_security_group_rule", load_rule),
    target=view_target,
    errors=(SecurityGroupRuleNotFound,),
)
def delete_security_group_rule(ctx: Context, tx: Tx, rule: View) -> None:
    """Delete a security group rule."""
    security_rules.delete(ctx, tx, rule)

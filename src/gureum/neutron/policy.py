"""The rules of the Network API: OpenStack's names, the secure-RBAC personas as defaults.

Owns: the rule list and the `field:` check that OpenStack's own policy files use for this service.
Follows: Neutron configuration reference, "Policy Reference".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from oslo_policy import policy as oslo

from gureum.core.policy.rules import Rule

ADMIN = "rule:admin_only"
MEMBER = "role:member and project_id:%(project_id)s"
MANAGER = "role:manager and project_id:%(project_id)s"
READER = "role:reader and project_id:%(project_id)s"
SERVICE = "rule:service_api"
NET_MEMBER = "role:member and rule:network_owner"
NET_READER = "role:reader and rule:network_owner"
PARENT_MEMBER = "role:member and rule:ext_parent_owner"
PARENT_READER = "role:reader and rule:ext_parent_owner"


@oslo.register("field")
class FieldCheck(oslo.Check):
    """`field:NOUN:ATTRIBUTE=VALUE`, where VALUE may be `~REGULAR EXPRESSION`."""

    def __call__(
        self, target: Mapping[str, Any], creds: Any, enforcer: Any, current_rule: Any = None
    ) -> bool:
        name, _, wanted = self.match.partition("=")
        value = target.get(name.split(":", 1)[1])
        if value is None:
            return False
        if wanted.startswith("~"):
            return re.match(wanted[1:], str(value)) is not None
        if isinstance(value, bool):
            return str(value).lower() == wanted.lower()
        return str(value) == wanted


def _any(*checks: str) -> str:
    return " or ".join(f"({check})" for check in checks)


def _base(name: str, check: str, text: str) -> Rule:
    return Rule(name, check, text, ())


_BASE = [
    _base("context_is_admin", "role:admin", "An administrator."),
    _base("admin_only", "rule:context_is_admin", "An administrator."),
    _base("service_api", "role:service", "Another service of the cloud."),
    _base("context_is_advsvc", "role:advsvc", "An advanced network service."),
    _base("owner", "tenant_id:%(tenant_id)s", "The owner."),
    _base("admin_or_owner", "rule:context_is_admin or rule:owner", "Owner or administrator."),
    _base("network_owner", "tenant_id:%(network:tenant_id)s", "The owner of the network."),
    _base(
        "admin_or_network_owner",
        "rule:context_is_admin or rule:network_owner",
        "Owner of the network or administrator.",
    ),
    _base(
        "admin_owner_or_network_owner",
        "rule:owner or rule:admin_or_network_owner",
        "Owner of the resource or of its network, or administrator.",
    ),
    _base("ext_parent_owner", "tenant_id:%(ext_parent:tenant_id)s", "Owner of the parent."),
    _base(
        "admin_or_ext_parent_owner",
        "rule:context_is_admin or rule:ext_parent_owner",
        "Owner of the parent or administrator.",
    ),
    _base("sg_owner", "tenant_id:%(security_group:tenant_id)s", "Owner of the group."),
    _base(
        "admin_owner_or_sg_owner",
        "rule:owner or rule:context_is_admin or rule:sg_owner",
        "Owner of the rule or its group, or administrator.",
    ),
    _base("regular_user", "", "Anyone with a token."),
    _base("shared", "field:networks:shared=True", "It is shared with the caller."),
    _base("external", "field:networks:router:external=True", "It is external."),
    _base("network_device", "field:port:device_owner=~^network:", "A port of the cloud itself."),
    _base("shared_subnetpools", "field:subnetpools:shared=True", "A pool shared with the caller."),
    _base(
        "shared_address_scopes",
        "field:address_scopes:shared=True",
        "A scope shared with the caller.",
    ),
    _base(
        "shared_address_groups",
        "field:address_groups:shared=True",
        "A group shared with the caller.",
    ),
    _base(
        "shared_security_group",
        "field:security_groups:shared=True",
        "A group shared with the caller.",
    ),
    _base("default", "rule:admin_or_owner", "What has no rule of its own."),
]

A_M = _any(ADMIN, MEMBER)
A_R = _any(ADMIN, READER)
A_M_NET = _any(ADMIN, MEMBER, NET_MEMBER)
A_S = _any(ADMIN, SERVICE)


def _crud(noun: str, *, read: str = A_R, write: str = A_M) -> list[Rule]:
    return [
        Rule(f"create_{noun}", write, f"Create a {noun}."),
        Rule(f"get_{noun}", read, f"Show a {noun}, list them."),
        Rule(f"update_{noun}", write, f"Change a {noun}."),
        Rule(f"delete_{noun}", write, f"Delete a {noun}."),
    ]


def _attributes(check: str, verbs: str, noun: str, *names: str) -> list[Rule]:
    return [
        Rule(f"{verb}_{noun}:{name}", check, f"{name} of a {noun}: {verb}.")
        for verb in verbs.split()
        for name in names
    ]


_PROVIDER = (
    "provider:network_type",
    "provider:physical_network",
    "provider:segmentation_id",
)
_NETWORKS = [
    *_crud("network", read=_any(ADMIN, READER, "rule:shared", "rule:external", SERVICE)),
    *_attributes(ADMIN, "create update", "network", "shared", "router:external", "is_default"),
    *_attributes(ADMIN, "create get update", "network", "segments", *_PROVIDER),
    *_attributes(A_M, "create update", "network", "port_security_enabled"),
    Rule("get_dhcp-agents", ADMIN, "The DHCP agents of a network."),
    Rule("get_dhcp-networks", ADMIN, "The networks of a DHCP agent."),
    Rule("create_dhcp-network", ADMIN, "Put a network on a DHCP agent."),
    Rule("delete_dhcp-network", ADMIN, "Take a network off a DHCP agent."),
    Rule("get_network_ip_availability", ADMIN, "Used addresses of networks."),
    Rule("get_auto_allocated_topology", A_R, "Get, and make, a project's own network."),
    Rule("delete_auto_allocated_topology", A_M, "Delete a project's own network."),
]
_SUBNETS = [
    Rule("create_subnet", A_M_NET, "Create a subnet."),
    Rule("get_subnet", _any(ADMIN, READER, NET_READER, "rule:shared", SERVICE), "Show subnets."),
    Rule("update_subnet", A_M_NET, "Change a subnet."),
    Rule("delete_subnet", A_M_NET, "Delete a subnet."),
    *_attributes(ADMIN, "create get update", "subnet", "segment_id"),
    *_attributes(A_M_NET, "create update", "subnet", "service_types"),
]
_NET_OWNER = _any(ADMIN, SERVICE, NET_MEMBER)
_PORTS = [
    Rule("create_port", _any(ADMIN, SERVICE, MEMBER), "Create a port."),
    Rule("get_port", _any(ADMIN, SERVICE, READER, NET_READER), "Show ports."),
    Rule("update_port", _any(ADMIN, SERVICE, MEMBER), "Change a port."),
    Rule("delete_port", _any(ADMIN, SERVICE, MEMBER, NET_MEMBER), "Delete a port."),
    *_attributes(
        _any("not rule:network_device", ADMIN, SERVICE, NET_MEMBER),
        "create update",
        "port",
        "device_owner",
    ),
    *_attributes(_NET_OWNER, "create", "port", "mac_address", "fixed_ips:ip_address"),
    *_attributes(
        _any(ADMIN, SERVICE, NET_MEMBER, "rule:shared"), "create", "port", "fixed_ips:subnet_id"
    ),
    *_attributes(_any(ADMIN, SERVICE), "update", "port", "mac_address"),
    *_attributes(_NET_OWNER, "update", "port", "fixed_ips:ip_address"),
    *_attributes(
        _any(ADMIN, SERVICE, NET_MEMBER, "rule:shared"), "update", "port", "fixed_ips:subnet_id"
    ),
    *_attributes(_NET_OWNER, "create update", "port", "port_security_enabled"),
    *_attributes(_any(_NET_OWNER, "rule:shared"), "create", "port", "fixed_ips"),
    *_attributes(_NET_OWNER, "update", "port", "fixed_ips"),
    *_attributes(_any(ADMIN, NET_MEMBER), "create update", "port", "allowed_address_pairs"),
    *_attributes(A_S, "create get update", "port", "binding:host_id", "binding:profile"),
    *_attributes(_any(ADMIN, SERVICE, MEMBER), "create update", "port", "binding:vnic_type"),
    *_attributes(A_S, "get", "port", "binding:vif_type", "binding:vif_details"),
    *_attributes(ADMIN, "get", "port", "resource_request"),
]
_ROUTERS = [
    *_crud("router"),
    *_attributes(ADMIN, "create get update", "router", "distributed", "ha"),
    *_attributes(A_M, "create update", "router", "external_gateway_info"),
    *_attributes(A_M, "create update", "router", "external_gateway_info:network_id"),
    *_attributes(
        ADMIN,
        "create update",
        "router",
        "external_gateway_info:enable_snat",
        "external_gateway_info:external_fixed_ips",
    ),
    Rule("add_router_interface", A_M, "Connect a router to a subnet."),
    Rule("remove_router_interface", A_M, "Disconnect a router from a subnet."),
    Rule("add_extraroutes", A_M, "Add static routes."),
    Rule("remove_extraroutes", A_M, "Remove static routes."),
    Rule("get_l3-agents", ADMIN, "The L3 agents of a router."),
    Rule("get_l3-routers", ADMIN, "The routers of an L3 agent."),
    Rule("create_l3-router", ADMIN, "Put a router on an L3 agent."),
    Rule("delete_l3-router", ADMIN, "Take a router off an L3 agent."),
]
_FLOATING = [
    *_crud("floatingip"),
    *_attributes(ADMIN, "create", "floatingip", "floating_ip_address"),
    Rule("get_floatingip_pool", A_R, "List the subnets that floating IPs come from."),
]
_FORWARDING = [
    Rule(f"{verb}_floatingip_port_forwarding", check, f"Port forwardings: {verb}.")
    for verb, check in (
        ("create", _any(ADMIN, PARENT_MEMBER)),
        ("get", _any(ADMIN, PARENT_READER)),
        ("update", _any(ADMIN, PARENT_MEMBER)),
        ("delete", _any(ADMIN, PARENT_MEMBER)),
    )
]
_SECURITY = [
    *_crud("security_group", read=_any(ADMIN, READER, "rule:shared_security_group", SERVICE)),
    Rule("create_security_group_rule", A_M, "Create a security group rule."),
    Rule(
        "get_security_group_rule",
        _any(ADMIN, READER, "rule:sg_owner", "rule:shared_security_group"),
        "Show security group rules.",
    ),
    Rule("delete_security_group_rule", A_M, "Delete a security group rule."),
]
_DEFAULT_RULES = [
    Rule("create_default_security_group_rule", ADMIN, "Add a rule for new groups."),
    Rule("get_default_security_group_rule", "rule:regular_user", "Show rules of new groups."),
    Rule("delete_default_security_group_rule", ADMIN, "Remove a rule for new groups."),
]
_POOLS = [
    *_crud("subnetpool", read=_any(ADMIN, READER, "rule:shared_subnetpools")),
    *_attributes(ADMIN, "create", "subnetpool", "shared"),
    *_attributes(ADMIN, "create update", "subnetpool", "is_default"),
    Rule("add_prefixes", A_M, "Add prefixes to a pool."),
    Rule("remove_prefixes", A_M, "Remove prefixes from a pool."),
    *_crud("address_scope", read=_any(ADMIN, READER, "rule:shared_address_scopes")),
    *_attributes(ADMIN, "create update", "address_scope", "shared"),
    *_crud("address_group", read=_any(ADMIN, READER, "rule:shared_address_groups")),
    Rule("add_addresses", A_M, "Add addresses to an address group."),
    Rule("remove_addresses", A_M, "Remove addresses from an address group."),
]
_RBAC = [
    *_crud("rbac_policy"),
    *_attributes(
        _any(ADMIN, "(not field:rbac_policy:target_tenant=*) and " + MEMBER),
        "create update",
        "rbac_policy",
        "target_tenant",
    ),
]
_ADMINS = [
    *_crud("network_segment_range", read=ADMIN, write=ADMIN),
    *_crud("agent", read=ADMIN, write=ADMIN),
    Rule("get_quota", _any(ADMIN, MANAGER, READER), "Show quotas."),
    Rule("update_quota", ADMIN, "Change quotas."),
    Rule("delete_quota", ADMIN, "Reset quotas."),
    Rule("get_availability_zone", "rule:regular_user", "List availability zones."),
    Rule("get_service_provider", "rule:regular_user", "List service providers."),
]

_TAGGED = (
    "address_group",
    "address_scope",
    "floatingip",
    "network",
    "port",
    "router",
    "security_group",
    "security_group_rule",
    "subnet",
    "subnetpool",
)
_TAGS = [
    Rule(f"{verb}_{many}_tags", check, f"Tags of {many}: {verb}.")
    for many in (f"{noun}s" for noun in _TAGGED)
    for verb, check in (
        ("get", _any(ADMIN, READER, "rule:shared")),
        ("create", A_M),
        ("update", A_M),
        ("delete", A_M),
    )
]

RULES: list[Rule] = [
    *_BASE,
    *_NETWORKS,
    *_SUBNETS,
    *_PORTS,
    *_ROUTERS,
    *_FLOATING,
    *_FORWARDING,
    *_SECURITY,
    *_DEFAULT_RULES,
    *_POOLS,
    *_RBAC,
    *_ADMINS,
    *_TAGS,
]

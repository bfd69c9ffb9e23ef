"""What this cloud's Network API has. The list names only what is there.

Follows: Network API v2.0, "Extensions".
"""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import Json, String, Struct, operation
from gureum.neutron.errors import ExtensionNotFound

_UPDATED = "2026-01-01T00:00:00-00:00"

ALIASES: dict[str, tuple[str, str]] = {
    "address-group": ("Address group", "Address groups."),
    "address-scope": ("Address scope", "Address scopes."),
    "agent": ("agent", "Agents."),
    "allowed-address-pairs": ("Allowed Address Pairs", "Further addresses of a port."),
    "auto-allocated-topology": ("Auto Allocated Topology Services", "Just a network."),
    "availability_zone": ("Availability Zone", "Availability zones."),
    "binding": ("Port Binding", "Where a port is plugged."),
    "default-subnetpools": ("Default Subnetpools", "Default subnet pools."),
    "dhcp_agent_scheduler": ("DHCP Agent Scheduler", "Which DHCP agents serve a network."),
    "dns-domain-ports": ("dns_domain for ports", "Domains of ports."),
    "dns-integration": ("DNS Integration", "Names of ports."),
    "expose-port-forwarding-in-fip": (
        "Forwardings shown with a floating IP",
        "Forwardings shown with a floating IP.",
    ),
    "ext-gw-mode": (
        "Neutron L3 Configurable external gateway mode",
        "Routers with and without SNAT.",
    ),
    "external-net": ("Neutron external network", "Networks that lead outside."),
    "extra_dhcp_opt": ("Neutron Extra DHCP options", "Extra DHCP options of a port."),
    "extraroute": ("Neutron Extra Route", "Static routes of a router."),
    "extraroute-atomic": (
        "Atomically add/remove extra routes",
        "Adding and removing static routes.",
    ),
    "filter-validation": ("Filter parameters validation", "Unknown filters are refused."),
    "fip-port-details": ("Floating IP Port Details Extension", "The port behind a floating IP."),
    "floating-ip-port-forwarding": ("Floating IP Port Forwarding", "Ports of floating IPs."),
    "floating-ip-port-forwarding-description": (
        "Descriptions of forwardings",
        "Descriptions of forwardings.",
    ),
    "floating-ip-port-forwarding-detail": ("Ids of forwardings", "Ids of forwardings."),
    "floating-ip-port-forwarding-port-ranges": ("Ranges of ports", "Ranges of ports."),
    "floatingip-pools": ("Floating IP Pools Extension", "Subnets that floating IPs come from."),
    "ip-substring-filtering": ("IP address substring filtering", "Ports by a part of an address."),
    "l3_agent_scheduler": ("L3 Agent Scheduler", "Which L3 agents serve a router."),
    "multi-provider": ("Multi Provider Network", "Networks with several segments."),
    "net-mtu": ("Network MTU", "Largest packets of a network."),
    "net-mtu-writable": ("Network MTU (writable)", "Choosing the largest packet."),
    "network-ip-availability": ("Network IP Availability", "Used addresses."),
    "network-segment-range": ("Neutron Network Segment Range", "Segmentation ids set aside."),
    "network_availability_zone": ("Network Availability Zone", "Zones of networks."),
    "pagination": ("Pagination support", "Pages of lists."),
    "port-mac-address-regenerate": ("Neutron Port MAC address regenerate", "A new MAC for a port."),
    "port-security": ("Port Security", "Unfiltered ports."),
    "project-id": ("project_id field enabled", "project_id beside tenant_id."),
    "provider": ("Provider Network", "Segments of provider networks."),
    "quota-check-limit": ("Refusing quotas below the use", "Refusing quotas below the use."),
    "quota-check-limit-default": ("Refusing them unless forced", "Refusing them unless forced."),
    "quota_details": ("Quota details management support", "What of a quota is used."),
    "quotas": ("Quota management support", "Quotas."),
    "rbac-address-group": ("Add address_group type to RBAC", "Opening address groups."),
    "rbac-address-scope": ("Add address_scope type to RBAC", "Opening address scopes."),
    "rbac-policies": ("RBAC Policies", "Opening networks to other projects."),
    "rbac-security-groups": ("Add security_group type to network RBAC", "Opening security groups."),
    "rbac-subnetpool": ("Add subnetpool type to RBAC", "Opening subnet pools."),
    "revision-if-match": (
        "If-Match constraints based on revision_number",
        "Writes at a known revision.",
    ),
    "router": ("Neutron L3 Router", "Routers and floating IPs."),
    "router_availability_zone": ("Router Availability Zone", "Zones of routers."),
    "security-group": ("security-group", "Security groups."),
    "security-groups-default-rules": (
        "Rules that new groups start with",
        "Rules that new groups start with.",
    ),
    "security-groups-normalized-cidr": (
        "Normalized CIDR field for security group rules",
        "CIDR of a rule without host bits.",
    ),
    "security-groups-remote-address-group": (
        "Remote address group id field for security group rules",
        "Rules with an address group.",
    ),
    "security-groups-rules-belongs-to-default-sg": (
        "Rules of default groups",
        "Rules of default groups.",
    ),
    "security-groups-shared-filtering": ("Shared groups as a filter", "Shared groups as a filter."),
    "service-type": ("Neutron Service Type Management", "Service providers."),
    "sorting": ("Sorting support", "Sorted lists."),
    "standard-attr-description": ("standard-attr-description", "Descriptions."),
    "standard-attr-revisions": ("Resource revision numbers", "Revision numbers."),
    "standard-attr-tag": ("Tag support for resources with standard attribute", "Tags."),
    "standard-attr-timestamp": ("Resource timestamps", "Times of creation and change."),
    "stateful-security-group": ("Stateful security group", "Groups that do not track connections."),
    "subnet-service-types": ("Subnet service types", "Subnets kept for kinds of ports."),
    "subnet_allocation": ("Subnet Allocation", "Subnet pools."),
    "subnetpool-prefix-ops": ("Subnet Pool Prefix Operations", "Adding and removing prefixes."),
    "tag": ("Tag support", "Tags of networks."),
    "tag-ext": (
        "Tag support for resources: subnet, subnetpool, port, router",
        "Tags of other resources.",
    ),
    "tag-ports-during-bulk-creation": ("Tag Ports During Bulk Creation", "Tags of new ports."),
}
"""Alias -> its documented name, by which clients look it up too, and what it is."""


class Extension(Struct):
    """A named part of the API."""

    alias = String("Alias.")
    name = String("Name.")
    description = String("What it is.")
    updated = String("Last change.")
    links = Json("Nothing.")


def _shown(alias: str) -> dict[str, Any]:
    return {
        "alias": alias,
        "name": ALIASES[alias][0],
        "description": ALIASES[alias][1],
        "updated": _UPDATED,
        "links": [],
    }


@operation(
    "GET",
    "/extensions",
    policy="regular_user",
    items=Extension,
    response_wrap="extensions",
)
def list_extensions(ctx: Context, tx: Tx) -> Any:
    """List the extensions."""
    return [_shown(alias) for alias in sorted(ALIASES)]


@operation(
    "GET",
    "/extensions/{alias}",
    policy="regular_user",
    response=Extension,
    response_wrap="extension",
    errors=(ExtensionNotFound,),
)
def show_extension(ctx: Context, tx: Tx, alias: str) -> Any:
    """Show an extension."""
    if alias not in ALIASES:
        raise ExtensionNotFound(id=alias)
    return _shown(alias)

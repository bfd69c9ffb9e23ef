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

ALIASES: dict[str, str] = {
    "address-group": "Address groups",
    "address-scope": "Address scopes",
    "agent": "Agents",
    "allowed-address-pairs": "Further addresses of a port",
    "auto-allocated-topology": "Just a network",
    "availability_zone": "Availability zones",
    "binding": "Where a port is plugged",
    "default-subnetpools": "Default subnet pools",
    "dhcp_agent_scheduler": "Which DHCP agents serve a network",
    "dns-domain-ports": "Domains of ports",
    "dns-integration": "Names of ports",
    "ext-gw-mode": "Routers with and without SNAT",
    "external-net": "Networks that lead outside",
    "extra_dhcp_opt": "Extra DHCP options of a port",
    "extraroute": "Static routes of a router",
    "extraroute-atomic": "Adding and removing static routes",
    "expose-port-forwarding-in-fip": "Forwardings shown with a floating IP",
    "floating-ip-port-forwarding": "Ports of floating IPs",
    "floating-ip-port-forwarding-description": "Descriptions of forwardings",
    "floating-ip-port-forwarding-detail": "Ids of forwardings",
    "floating-ip-port-forwarding-port-ranges": "Ranges of ports",
    "floatingip-pools": "Subnets that floating IPs come from",
    "filter-validation": "Unknown filters are refused",
    "fip-port-details": "The port behind a floating IP",
    "ip-substring-filtering": "Ports by a part of an address",
    "l3_agent_scheduler": "Which L3 agents serve a router",
    "multi-provider": "Networks with several segments",
    "net-mtu": "Largest packets of a network",
    "net-mtu-writable": "Choosing the largest packet",
    "network-ip-availability": "Used addresses",
    "network-segment-range": "Segmentation ids set aside",
    "network_availability_zone": "Zones of networks",
    "pagination": "Pages of lists",
    "port-mac-address-regenerate": "A new MAC for a port",
    "port-security": "Unfiltered ports",
    "project-id": "project_id beside tenant_id",
    "provider": "Segments of provider networks",
    "quota-check-limit": "Refusing quotas below the use",
    "quota-check-limit-default": "Refusing them unless forced",
    "quota_details": "What of a quota is used",
    "quotas": "Quotas",
    "rbac-address-group": "Opening address groups",
    "rbac-address-scope": "Opening address scopes",
    "rbac-policies": "Opening networks to other projects",
    "rbac-security-groups": "Opening security groups",
    "rbac-subnetpool": "Opening subnet pools",
    "revision-if-match": "Writes at a known revision",
    "router": "Routers and floating IPs",
    "router_availability_zone": "Zones of routers",
    "security-group": "Security groups",
    "security-groups-default-rules": "Rules that new groups start with",
    "security-groups-normalized-cidr": "CIDR of a rule without host bits",
    "security-groups-remote-address-group": "Rules with an address group",
    "security-groups-rules-belongs-to-default-sg": "Rules of default groups",
    "security-groups-shared-filtering": "Shared groups as a filter",
    "service-type": "Service providers",
    "sorting": "Sorted lists",
    "standard-attr-description": "Descriptions",
    "standard-attr-revisions": "Revision numbers",
    "standard-attr-tag": "Tags",
    "standard-attr-timestamp": "Times of creation and change",
    "stateful-security-group": "Groups that do not track connections",
    "subnet-service-types": "Subnets kept for kinds of ports",
    "subnet_allocation": "Subnet pools",
    "subnetpool-prefix-ops": "Adding and removing prefixes",
    "tag": "Tags of networks",
    "tag-ext": "Tags of other resources",
    "tag-ports-during-bulk-creation": "Tags of new ports",
}


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
        "name": ALIASES[alias],
        "description": ALIASES[alias],
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

"""The tables of the database `neutron`.

Owns: names, columns, constraints. What the constraints guard: one owner of an address in a network,
one MAC in a network, one network a segment, one default security group a project.
`revision_number` is both the API's attribute and the generation of compare-and-swap.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.db.types import JsonText, UtcDateTime

metadata = sa.MetaData()


def _table(name: str, *columns: Any) -> sa.Table:
    return sa.Table(name, metadata, *columns, mysql_charset="utf8mb4", mysql_collate="utf8mb4_bin")


def _id() -> sa.Column[Any]:
    return sa.Column("id", sa.String(36), primary_key=True)


def _ref(name: str, target: str, *, null: bool = False, cascade: bool = False) -> sa.Column[Any]:
    key = sa.ForeignKey(target, ondelete="CASCADE" if cascade else None)
    return sa.Column(name, sa.String(36), key, nullable=null)


def _text(name: str, length: int = 255) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length), nullable=False, default="", server_default="")


def _flag(name: str, value: bool) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean, nullable=False, default=value)


def _standard() -> list[sa.Column[Any]]:
    return [
        sa.Column("project_id", sa.String(255), nullable=False, default=""),
        _text("name"),
        _text("description"),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("revision_number", sa.BigInteger, nullable=False, default=1),
    ]


networks = _table(
    "networks",
    _id(),
    *_standard(),
    _flag("admin_state_up", True),
    _text("status", 16),
    sa.Column("mtu", sa.Integer, nullable=False),
    _flag("port_security_enabled", True),
    _flag("router_external", False),
    _flag("is_default", False),
    sa.Column("availability_zone_hints", JsonText),
    _text("dns_domain"),
    sa.Index("networks_project", "project_id", "id"),
    sa.Index("networks_name", "name"),
    sa.Index("networks_external", "router_external", "is_default"),
)

segments = _table(
    "segments",
    _id(),
    _ref("network_id", "networks.id", cascade=True),
    sa.Column("network_type", sa.String(32), nullable=False),
    _text("physical_network", 64),
    sa.Column("segmentation_id", sa.BigInteger),
    sa.Column("segment_index", sa.Integer, nullable=False, default=0),
    sa.UniqueConstraint(
        "network_type", "physical_network", "segmentation_id", name="segments_once"
    ),
    sa.Index("segments_network", "network_id"),
)

address_scopes = _table(
    "address_scopes",
    _id(),
    *_standard(),
    sa.Column("ip_version", sa.Integer, nullable=False),
    sa.Index("address_scopes_project", "project_id", "id"),
)

subnetpools = _table(
    "subnetpools",
    _id(),
    *_standard(),
    sa.Column("ip_version", sa.Integer, nullable=False),
    sa.Column("default_prefixlen", sa.Integer, nullable=False),
    sa.Column("min_prefixlen", sa.Integer, nullable=False),
    sa.Column("max_prefixlen", sa.Integer, nullable=False),
    sa.Column("default_quota", sa.Integer),
    sa.Column("prefixes", JsonText, nullable=False),
    _ref("address_scope_id", "address_scopes.id", null=True),
    _flag("is_default", False),
    sa.Index("subnetpools_project", "project_id", "id"),
)

subnets = _table(
    "subnets",
    _id(),
    *_standard(),
    _ref("network_id", "networks.id", cascade=True),
    sa.Column("ip_version", sa.Integer, nullable=False),
    sa.Column("cidr", sa.String(64), nullable=False),
    sa.Column("gateway_ip", sa.String(64)),
    _flag("enable_dhcp", True),
    sa.Column("ipv6_ra_mode", sa.String(16)),
    sa.Column("ipv6_address_mode", sa.String(16)),
    _ref("subnetpool_id", "subnetpools.id", null=True),
    sa.Column("segment_id", sa.String(36)),
    _flag("dns_publish_fixed_ip", False),
    sa.Column("allocation_pools", JsonText, nullable=False),
    sa.Column("dns_nameservers", JsonText, nullable=False),
    sa.Column("host_routes", JsonText, nullable=False),
    sa.Column("service_types", JsonText, nullable=False),
    sa.Index("subnets_network", "network_id"),
    sa.Index("subnets_project", "project_id", "id"),
    sa.Index("subnets_pool", "subnetpool_id"),
)

ports = _table(
    "ports",
    _id(),
    *_standard(),
    _ref("network_id", "networks.id"),
    sa.Column("mac_address", sa.String(32), nullable=False),
    _flag("admin_state_up", True),
    _text("status", 16),
    _text("device_id"),
    _text("device_owner"),
    _flag("port_security_enabled", True),
    _text("dns_name"),
    _text("dns_domain"),
    _flag("l2_active", False),
    _flag("dhcp_ready", False),
    sa.Column("allowed_address_pairs", JsonText, nullable=False),
    sa.Column("extra_dhcp_opts", JsonText, nullable=False),
    sa.UniqueConstraint("network_id", "mac_address", name="ports_mac_once"),
    sa.Index("ports_project", "project_id", "id"),
    sa.Index("ports_device", "device_id"),
    sa.Index("ports_owner", "network_id", "device_owner"),
    sa.Index("ports_name", "name"),
)

port_bindings = _table(
    "port_bindings",
    sa.Column(
        "port_id", sa.String(36), sa.ForeignKey("ports.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("host", sa.String(255), primary_key=True),
    sa.Column("vnic_type", sa.String(32), nullable=False),
    sa.Column("profile", JsonText, nullable=False),
    sa.Column("vif_type", sa.String(32), nullable=False),
    sa.Column("vif_details", JsonText, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Index("port_bindings_host", "host", "status"),
)

ip_allocations = _table(
    "ip_allocations",
    sa.Column("network_id", sa.String(36), primary_key=True),
    sa.Column("ip_key", sa.String(32), primary_key=True),
    sa.Column("next_key", sa.String(33), nullable=False),
    sa.Column("ip_address", sa.String(64), nullable=False),
    _ref("subnet_id", "subnets.id"),
    _ref("port_id", "ports.id", cascade=True),
    sa.Column("position", sa.Integer, nullable=False, default=0),
    sa.Index("ip_allocations_subnet", "subnet_id", "ip_key"),
    sa.Index("ip_allocations_port", "port_id"),
    sa.Index("ip_allocations_address", "ip_address"),
)

address_groups = _table(
    "address_groups",
    _id(),
    *_standard(),
    sa.Column("addresses", JsonText, nullable=False),
    sa.Index("address_groups_project", "project_id", "id"),
)

security_groups = _table(
    "security_groups",
    _id(),
    *_standard(),
    _flag("stateful", True),
    _flag("is_default", False),
    sa.Index("security_groups_project", "project_id", "id"),
)

default_security_groups = _table(
    "default_security_groups",
    sa.Column("project_id", sa.String(255), primary_key=True),
    _ref("security_group_id", "security_groups.id", cascade=True),
    sa.Index("default_security_groups_group", "security_group_id"),
)

security_group_rules = _table(
    "security_group_rules",
    _id(),
    *_standard(),
    _ref("security_group_id", "security_groups.id", cascade=True),
    sa.Column("direction", sa.String(8), nullable=False),
    sa.Column("ethertype", sa.String(8), nullable=False),
    sa.Column("protocol", sa.String(40)),
    sa.Column("port_range_min", sa.Integer),
    sa.Column("port_range_max", sa.Integer),
    sa.Column("remote_ip_prefix", sa.String(64)),
    sa.Column("normalized_cidr", sa.String(64)),
    _ref("remote_group_id", "security_groups.id", null=True, cascade=True),
    _ref("remote_address_group_id", "address_groups.id", null=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.UniqueConstraint("security_group_id", "fingerprint", name="security_group_rules_once"),
    sa.Index("security_group_rules_remote", "remote_group_id"),
    sa.Index("security_group_rules_project", "project_id", "id"),
)

port_security_groups = _table(
    "port_security_groups",
    sa.Column(
        "port_id", sa.String(36), sa.ForeignKey("ports.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column(
        "security_group_id", sa.String(36), sa.ForeignKey("security_groups.id"), primary_key=True
    ),
    sa.Index("port_security_groups_group", "security_group_id"),
)

routers = _table(
    "routers",
    _id(),
    *_standard(),
    _flag("admin_state_up", True),
    _text("status", 16),
    _flag("enable_snat", True),
    _ref("gateway_port_id", "ports.id", null=True),
    sa.Column("routes", JsonText, nullable=False),
    sa.Column("availability_zone_hints", JsonText, nullable=False),
    sa.Index("routers_project", "project_id", "id"),
    sa.Index("routers_gateway", "gateway_port_id"),
)

floatingips = _table(
    "floatingips",
    _id(),
    *_standard(),
    _ref("floating_network_id", "networks.id"),
    sa.Column("floating_ip_address", sa.String(64), nullable=False),
    _ref("floating_port_id", "ports.id"),
    _ref("port_id", "ports.id", null=True),
    sa.Column("fixed_ip_address", sa.String(64)),
    _ref("router_id", "routers.id", null=True),
    _text("status", 16),
    _text("dns_name"),
    _text("dns_domain"),
    sa.UniqueConstraint("port_id", "fixed_ip_address", name="floatingips_fixed_once"),
    sa.Index("floatingips_project", "project_id", "id"),
    sa.Index("floatingips_router", "router_id"),
    sa.Index("floatingips_floating_port", "floating_port_id"),
    sa.Index("floatingips_address", "floating_ip_address"),
)

port_forwardings = _table(
    "port_forwardings",
    _id(),
    sa.Column("project_id", sa.String(255), nullable=False),
    _ref("floatingip_id", "floatingips.id", cascade=True),
    _text("description"),
    sa.Column("protocol", sa.String(16), nullable=False),
    sa.Column("external_first", sa.Integer, nullable=False),
    sa.Column("external_last", sa.Integer, nullable=False),
    sa.Column("internal_first", sa.Integer, nullable=False),
    sa.Column("internal_last", sa.Integer, nullable=False),
    _ref("internal_port_id", "ports.id"),
    sa.Column("internal_ip_address", sa.String(64), nullable=False),
    sa.Index("port_forwardings_floatingip", "floatingip_id"),
    sa.Index("port_forwardings_port", "internal_port_id"),
)

auto_topologies = _table(
    "auto_topologies",
    sa.Column("project_id", sa.String(255), primary_key=True),
    _ref("network_id", "networks.id", cascade=True),
    _ref("router_id", "routers.id", null=True),
)

default_rules = _table(
    "default_rules",
    _id(),
    *_standard(),
    sa.Column("direction", sa.String(8), nullable=False),
    sa.Column("ethertype", sa.String(8), nullable=False),
    sa.Column("protocol", sa.String(40)),
    sa.Column("port_range_min", sa.Integer),
    sa.Column("port_range_max", sa.Integer),
    sa.Column("remote_ip_prefix", sa.String(64)),
    sa.Column("remote_group_id", sa.String(36)),
    sa.Column("remote_address_group_id", sa.String(36)),
    _flag("used_in_default_sg", False),
    _flag("used_in_non_default_sg", True),
)

segment_ranges = _table(
    "segment_ranges",
    _id(),
    *_standard(),
    _flag("shared", True),
    sa.Column("network_type", sa.String(32), nullable=False),
    _text("physical_network", 64),
    sa.Column("minimum", sa.BigInteger, nullable=False),
    sa.Column("maximum", sa.BigInteger, nullable=False),
    sa.Index("segment_ranges_type", "network_type", "physical_network"),
)

rbac_policies = _table(
    "rbac_policies",
    _id(),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.Column("object_type", sa.String(32), nullable=False),
    sa.Column("object_id", sa.String(36), nullable=False),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("target_tenant", sa.String(255), nullable=False),
    sa.UniqueConstraint("object_id", "action", "target_tenant", name="rbac_policies_once"),
    sa.Index("rbac_policies_target", "object_type", "target_tenant"),
    sa.Index("rbac_policies_project", "project_id", "id"),
)

tags = _table(
    "tags",
    sa.Column("resource_id", sa.String(36), primary_key=True),
    sa.Column("tag", sa.String(255), primary_key=True),
    sa.Index("tags_tag", "tag"),
)

quotas = _table(
    "quotas",
    sa.Column("project_id", sa.String(255), primary_key=True),
    sa.Column("resource", sa.String(64), primary_key=True),
    sa.Column("amount", sa.BigInteger, nullable=False),
)

# One row a project and resource: changed first by every transaction that counts against a quota, so that
# two of them never count side by side.
quota_gates = _table(
    "quota_gates",
    sa.Column("project_id", sa.String(255), primary_key=True),
    sa.Column("resource", sa.String(64), primary_key=True),
    sa.Column("entered", sa.BigInteger, nullable=False),
)

agents = _table(
    "agents",
    _id(),
    sa.Column("binary", sa.String(255), nullable=False),
    sa.Column("agent_type", sa.String(255), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    _text("topic"),
    _text("availability_zone"),
    _text("description"),
    _flag("admin_state_up", True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("heartbeat_at", UtcDateTime, nullable=False),
    sa.Column("configurations", JsonText, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False, default=0),
    sa.Column("machine_id", sa.String(64), nullable=False, default="", server_default=""),
    sa.UniqueConstraint("agent_type", "host", name="agents_once"),
    sa.Index("agents_host", "host"),
)

network_dhcp_agents = _table(
    "network_dhcp_agents",
    sa.Column(
        "network_id",
        sa.String(36),
        sa.ForeignKey("networks.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column(
        "agent_id", sa.String(36), sa.ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Index("network_dhcp_agents_agent", "agent_id"),
)

router_l3_agents = _table(
    "router_l3_agents",
    sa.Column(
        "router_id",
        sa.String(36),
        sa.ForeignKey("routers.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column(
        "agent_id", sa.String(36), sa.ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Index("router_l3_agents_agent", "agent_id"),
)

revisions = _table(
    "revisions",
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", sa.BigInteger, nullable=False),
    sa.Column("floor", sa.BigInteger, nullable=False),
)

changes = _table(
    "changes",
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("agent", sa.String(8), primary_key=True),
    sa.Column("host", sa.String(255), primary_key=True),
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("item_id", sa.String(36), primary_key=True),
    sa.Index("changes_host", "agent", "host", "revision"),
)

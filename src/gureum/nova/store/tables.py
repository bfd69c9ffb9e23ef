"""The tables of Nova's databases.

Owns: `API` (database nova_api: what is common to all cells) and `CELL` (databases nova_cell0, nova_cell1:
servers, hosts, sagas). Must not: hold a query. Names follow the Compute API; sizes carry units.

A server is found through `server_mappings`; its row is in the database of that cell. Deleted servers stay
as rows with `deleted` set, for `changes-since`, instance actions and usage.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from gureum.core.db.types import JsonText, UtcDateTime
from gureum.core.reconcile import lease_tables
from gureum.core.saga.store import saga_tables

API = sa.MetaData()
CELL = sa.MetaData()

CELL0 = "cell0"
CELL1 = "cell1"
DATABASE_OF_CELL = {CELL0: "nova_cell0", CELL1: "nova_cell1"}

_ID = sa.String(36)
_OWNER = sa.String(64)
_HOST = sa.String(255)
_LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
_KIND: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


def _moment(name: str, *, nullable: bool = True) -> "sa.Column[object]":
    return sa.Column(name, UtcDateTime(), nullable=nullable)


def _number(name: str = "number") -> "sa.Column[int]":
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, primary_key=True, autoincrement=True)


# -- nova_api ------------------------------------------------------------------------------------

flavors = sa.Table(
    "flavors",
    API,
    _number(),
    sa.Column("flavor_id", sa.String(255), nullable=False, unique=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("memory_mib", sa.Integer, nullable=False),
    sa.Column("disk_gib", sa.Integer, nullable=False),
    sa.Column("ephemeral_gib", sa.Integer, nullable=False, default=0),
    sa.Column("swap_mib", sa.Integer, nullable=False, default=0),
    sa.Column("rxtx_factor", sa.Float(53), nullable=False, default=1.0),
    sa.Column("is_public", sa.Boolean(create_constraint=False), nullable=False, default=True),
    sa.Column("disabled", sa.Boolean(create_constraint=False), nullable=False, default=False),
    sa.Column("description", sa.Text),
    _moment("created_at", nullable=False),
    _moment("updated_at"),
    **_KIND,
)

flavor_extra_specs = sa.Table(
    "flavor_extra_specs",
    API,
    sa.Column(
        "flavor_number", sa.ForeignKey("flavors.number", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("value", sa.String(255), nullable=False),
    **_KIND,
)

flavor_projects = sa.Table(
    "flavor_projects",
    API,
    sa.Column(
        "flavor_number", sa.ForeignKey("flavors.number", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("project_id", sa.String(255), primary_key=True),
    **_KIND,
)

keypairs = sa.Table(
    "keypairs",
    API,
    _number(),
    sa.Column("user_id", _OWNER, nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("type", sa.String(8), nullable=False, default="ssh"),
    sa.Column("public_key", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.String(255), nullable=False),
    _moment("created_at", nullable=False),
    _moment("updated_at"),
    sa.UniqueConstraint("user_id", "name", name="uq_keypairs_user_name"),
    **_KIND,
)

# user_id "" is the project's own limit.
quotas = sa.Table(
    "quotas",
    API,
    sa.Column("project_id", sa.String(255), primary_key=True),
    sa.Column("user_id", _OWNER, primary_key=True, default=""),
    sa.Column("resource", sa.String(64), primary_key=True),
    sa.Column("hard_limit", sa.Integer, nullable=False),
    **_KIND,
)

quota_classes = sa.Table(
    "quota_classes",
    API,
    sa.Column("class_name", sa.String(255), primary_key=True),
    sa.Column("resource", sa.String(64), primary_key=True),
    sa.Column("hard_limit", sa.Integer, nullable=False),
    **_KIND,
)

# One row a project or user: changed first by every transaction that counts, so that two of them
# collide whatever database holds them.
quota_gates = sa.Table(
    "quota_gates",
    API,
    sa.Column("owner", sa.String(80), primary_key=True),
    sa.Column("generation", sa.BigInteger, nullable=False, default=0),
    **_KIND,
)

server_groups = sa.Table(
    "server_groups",
    API,
    _number(),
    sa.Column("id", _ID, nullable=False, unique=True),
    sa.Column("project_id", _OWNER, nullable=False),
    sa.Column("user_id", _OWNER, nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("policy", sa.String(32), nullable=False),
    sa.Column("rules", JsonText(), nullable=False, default=dict),
    _moment("created_at", nullable=False),
    sa.Index("ix_server_groups_project", "project_id", "number"),
    **_KIND,
)

server_group_members = sa.Table(
    "server_group_members",
    API,
    sa.Column("group_id", sa.ForeignKey("server_groups.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("server_id", _ID, primary_key=True),
    sa.Column("user_id", _OWNER, nullable=False),
    sa.Index("ix_server_group_members_server", "server_id"),
    **_KIND,
)

# The availability zone of an aggregate is its metadata key "availability_zone".
aggregates = sa.Table(
    "aggregates",
    API,
    _number(),
    sa.Column("id", _ID, nullable=False, unique=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    _moment("created_at", nullable=False),
    _moment("updated_at"),
    **_KIND,
)

aggregate_hosts = sa.Table(
    "aggregate_hosts",
    API,
    sa.Column(
        "aggregate_number", sa.ForeignKey("aggregates.number", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("host", _HOST, primary_key=True),
    sa.Index("ix_aggregate_hosts_host", "host"),
    **_KIND,
)

aggregate_metadata = sa.Table(
    "aggregate_metadata",
    API,
    sa.Column(
        "aggregate_number", sa.ForeignKey("aggregates.number", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("value", sa.String(255), nullable=False),
    **_KIND,
)

cell_mappings = sa.Table(
    "cell_mappings",
    API,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("id", _ID, nullable=False, unique=True),
    sa.Column("disabled", sa.Boolean(create_constraint=False), nullable=False, default=False),
    **_KIND,
)

host_mappings = sa.Table(
    "host_mappings",
    API,
    sa.Column("host", _HOST, primary_key=True),
    sa.Column("cell", sa.String(64), nullable=False),
    **_KIND,
)

# Written before the server's row; the sizes are what quota counts. `deleted_at` ends the counting.
server_mappings = sa.Table(
    "server_mappings",
    API,
    sa.Column("server_id", _ID, primary_key=True),
    sa.Column("project_id", _OWNER, nullable=False),
    sa.Column("user_id", _OWNER, nullable=False),
    sa.Column("cell", sa.String(64), nullable=False),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("memory_mib", sa.Integer, nullable=False),
    _moment("created_at", nullable=False),
    _moment("deleted_at"),
    sa.Index("ix_server_mappings_project", "project_id", "deleted_at", "user_id"),
    sa.Index("ix_server_mappings_created", "created_at"),
    sa.Index("ix_server_mappings_deleted", "deleted_at"),
    **_KIND,
)

lease_tables(API)


def _revisions(metadata: sa.MetaData) -> sa.Table:
    """One row. What schedulers keep in memory takes the next value with every change; whoever knows a
    value below `floor` reads everything anew."""
    return sa.Table(
        "revisions",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.Column("floor", sa.BigInteger, nullable=False),
        **_KIND,
    )


# Of aggregates, their hosts and metadata.
api_revisions = _revisions(API)

# Only the SHA-256 of a token is kept.
console_tokens = sa.Table(
    "console_tokens",
    API,
    sa.Column("token_hash", sa.String(64), primary_key=True),
    sa.Column("server_id", _ID, nullable=False, index=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("host", _HOST, nullable=False),
    sa.Column("port", sa.Integer, nullable=False),
    sa.Column("internal_path", sa.String(255)),
    _moment("created_at", nullable=False),
    sa.Column("expires_at", UtcDateTime(), nullable=False, index=True),
    **_KIND,
)

# -- the cells -----------------------------------------------------------------------------------

saga_tables(CELL)

# Of compute nodes and their services, heartbeats left out.
cell_revisions = _revisions(CELL)

# power_state is the API's number. locked_by: NULL, "owner" or "admin". flavor: the whole flavor as it was,
# `embedded` in the API. image: what the image service said when the server was made. generation:
# compare-and-swap.
servers = sa.Table(
    "servers",
    CELL,
    _number(),
    sa.Column("id", _ID, nullable=False, unique=True),
    sa.Column("project_id", _OWNER, nullable=False),
    sa.Column("user_id", _OWNER, nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("hostname", sa.String(255), nullable=False),
    sa.Column("description", sa.String(255)),
    sa.Column("vm_state", sa.String(32), nullable=False),
    sa.Column("power_state", sa.Integer, nullable=False, default=0),
    sa.Column("progress", sa.Integer, nullable=False, default=0),
    sa.Column("host", _HOST),
    sa.Column("node", _HOST),
    sa.Column("availability_zone", sa.String(255)),
    sa.Column("pinned_zone", sa.String(255)),
    sa.Column("flavor_id", sa.String(255), nullable=False),
    sa.Column("flavor_name", sa.String(255), nullable=False),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("memory_mib", sa.Integer, nullable=False),
    sa.Column("disk_gib", sa.Integer, nullable=False),
    sa.Column("ephemeral_gib", sa.Integer, nullable=False, default=0),
    sa.Column("swap_mib", sa.Integer, nullable=False, default=0),
    sa.Column("flavor", JsonText(), nullable=False),
    sa.Column("image_id", sa.String(36)),
    sa.Column("image", JsonText(), nullable=False, default=dict),
    sa.Column("kernel_id", sa.String(36), nullable=False, default=""),
    sa.Column("ramdisk_id", sa.String(36), nullable=False, default=""),
    sa.Column("key_name", sa.String(255)),
    sa.Column("key_type", sa.String(8)),
    sa.Column("public_key", sa.Text),
    sa.Column("user_data", _LONG_TEXT),
    sa.Column("config_drive", sa.Boolean(create_constraint=False), nullable=False, default=False),
    sa.Column("access_ipv4", sa.String(39)),
    sa.Column("access_ipv6", sa.String(39)),
    sa.Column("disk_config", sa.String(8), nullable=False, default="MANUAL"),
    sa.Column("reservation_id", sa.String(64), nullable=False),
    sa.Column("launch_index", sa.Integer, nullable=False, default=0),
    sa.Column("root_device_name", sa.String(64)),
    sa.Column("locked_by", sa.String(8)),
    sa.Column("locked_reason", sa.String(255)),
    sa.Column("password", sa.String(1024), nullable=False, default=""),
    sa.Column("hidden", sa.Boolean(create_constraint=False), nullable=False, default=False),
    sa.Column("deleted", sa.Boolean(create_constraint=False), nullable=False, default=False),
    _moment("created_at", nullable=False),
    _moment("updated_at"),
    _moment("launched_at"),
    _moment("terminated_at"),
    _moment("deleted_at"),
    sa.Column("generation", sa.BigInteger, nullable=False, default=1),
    sa.Index("ix_servers_project_created", "project_id", "deleted", "created_at", "id"),
    sa.Index("ix_servers_created", "deleted", "created_at", "id"),
    sa.Index("ix_servers_host", "host", "deleted"),
    sa.Index("ix_servers_state", "vm_state", "deleted", "host"),
    sa.Index("ix_servers_project_updated", "project_id", "updated_at"),
    sa.Index("ix_servers_reservation", "reservation_id"),
    **_KIND,
)

# What was asked for: model.BuildRequest as JSON. Passwords and injected files travel in the saga's
# parameters and are forgotten with them.
server_requests = sa.Table(
    "server_requests",
    CELL,
    sa.Column("server_id", _ID, primary_key=True),
    sa.Column("request", JsonText(), nullable=False),
    **_KIND,
)

server_metadata = sa.Table(
    "server_metadata",
    CELL,
    sa.Column("server_id", _ID, primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("value", sa.String(255), nullable=False),
    **_KIND,
)

server_system_metadata = sa.Table(
    "server_system_metadata",
    CELL,
    sa.Column("server_id", _ID, primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    **_KIND,
)

server_tags = sa.Table(
    "server_tags",
    CELL,
    sa.Column("server_id", _ID, primary_key=True),
    sa.Column("tag", sa.String(80), primary_key=True),
    sa.Index("ix_server_tags_tag", "tag"),
    **_KIND,
)

# message is shown to users; details only to administrators.
server_faults = sa.Table(
    "server_faults",
    CELL,
    _number(),
    sa.Column("server_id", _ID, nullable=False),
    sa.Column("code", sa.Integer, nullable=False),
    sa.Column("message", sa.String(255), nullable=False),
    sa.Column("details", sa.Text),
    sa.Column("host", _HOST),
    _moment("created_at", nullable=False),
    sa.Index("ix_server_faults_server", "server_id", "number"),
    **_KIND,
)

# What Neutron said last of a server's ports: PortSpec of the agent's contract as JSON in `spec`.
# keep: the port existed before the server and outlives it.
server_nics = sa.Table(
    "server_nics",
    CELL,
    sa.Column("server_id", _ID, primary_key=True),
    sa.Column("port_id", _ID, primary_key=True),
    sa.Column("position", sa.Integer, nullable=False, default=0),
    sa.Column("network_id", _ID, nullable=False),
    sa.Column("network_label", sa.String(255), nullable=False),
    sa.Column("mac", sa.String(32), nullable=False),
    sa.Column("tag", sa.String(60)),
    sa.Column("keep", sa.Boolean(create_constraint=False), nullable=False, default=False),
    sa.Column("spec", JsonText(), nullable=False),
    # [{"id", "name"}]; null: not read since the column is there
    sa.Column("security_groups", JsonText()),
    _moment("updated_at", nullable=False),
    sa.Index("ix_server_nics_port", "port_id"),
    **_KIND,
)

server_addresses = sa.Table(
    "server_addresses",
    CELL,
    sa.Column("server_id", _ID, primary_key=True),
    sa.Column("port_id", _ID, primary_key=True),
    sa.Column("address", sa.String(39), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("network_label", sa.String(255), nullable=False),
    sa.Column("mac", sa.String(32), nullable=False),
    sa.Column("position", sa.Integer, nullable=False, default=0),
    sa.Index("ix_server_addresses_address", "address"),
    **_KIND,
)

# Disks; room for volumes. destination "local" or "volume".
server_disks = sa.Table(
    "server_disks",
    CELL,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("server_id", _ID, nullable=False, index=True),
    sa.Column("source", sa.String(16), nullable=False),
    sa.Column("destination", sa.String(16), nullable=False),
    sa.Column("boot_index", sa.Integer),
    sa.Column("device_name", sa.String(64)),
    sa.Column("image_id", sa.String(36)),
    sa.Column("volume_id", sa.String(36)),
    sa.Column("attachment_id", sa.String(36)),
    sa.Column("size_gib", sa.Integer),
    sa.Column("guest_format", sa.String(32)),
    sa.Column(
        "delete_on_termination", sa.Boolean(create_constraint=False), nullable=False, default=True
    ),
    sa.Column("tag", sa.String(60)),
    **_KIND,
)

# One row a verb on a server; what happened in it is read from its saga's steps.
server_actions = sa.Table(
    "server_actions",
    CELL,
    _number(),
    sa.Column("id", _ID, nullable=False, unique=True),
    sa.Column("server_id", _ID, nullable=False),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("user_id", _OWNER),
    sa.Column("project_id", _OWNER),
    sa.Column("saga_id", sa.String(64), index=True),
    sa.Column("host", _HOST),
    sa.Column("message", sa.String(255)),
    _moment("started_at", nullable=False),
    _moment("updated_at", nullable=False),
    sa.Index("ix_server_actions_server", "server_id", "number"),
    sa.Index("ix_server_actions_request", "server_id", "request_id"),
    **_KIND,
)

services = sa.Table(
    "services",
    CELL,
    _number(),
    sa.Column("id", _ID, nullable=False, unique=True),
    sa.Column("host", _HOST, nullable=False),
    sa.Column("binary", sa.String(64), nullable=False),
    sa.Column("disabled", sa.Boolean(create_constraint=False), nullable=False, default=False),
    sa.Column("disabled_reason", sa.String(255)),
    sa.Column("forced_down", sa.Boolean(create_constraint=False), nullable=False, default=False),
    sa.Column("boot_id", sa.String(64), nullable=False, default=""),
    sa.Column("machine_id", sa.String(64), nullable=False, default="", server_default=""),
    _moment("last_seen_at"),
    _moment("started_at"),
    _moment("created_at", nullable=False),
    _moment("updated_at"),
    sa.UniqueConstraint("host", "binary", name="uq_services_host_binary"),
    **_KIND,
)

# inventory: the agent contract's Inventory as JSON; capabilities likewise.
compute_nodes = sa.Table(
    "compute_nodes",
    CELL,
    _number(),
    sa.Column("id", _ID, nullable=False, unique=True),
    sa.Column("service_id", _ID, nullable=False, index=True),
    sa.Column("host", _HOST, nullable=False),
    sa.Column("hypervisor_hostname", _HOST, nullable=False),
    sa.Column("inventory", JsonText(), nullable=False),
    sa.Column("capabilities", JsonText(), nullable=False),
    _moment("created_at", nullable=False),
    _moment("updated_at"),
    sa.Column("revision", sa.BigInteger, nullable=False, server_default="1", index=True),
    sa.UniqueConstraint("host", "hypervisor_hostname", name="uq_compute_nodes_host_node"),
    **_KIND,
)

# Why the scheduler chose or refused: one row a decision.
schedule_records = sa.Table(
    "schedule_records",
    CELL,
    _number(),
    sa.Column("server_id", _ID, nullable=False, index=True),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("chosen_host", _HOST),
    sa.Column("explanation", JsonText(), nullable=False),
    _moment("created_at", nullable=False),
    **_KIND,
)

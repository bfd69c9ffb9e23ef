"""The tables of Placement.

Usage is the sum of allocations, never a counter. Every change to a provider raises its generation.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.db.types import UtcDateTime

metadata = sa.MetaData()
_BIN: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}

providers = sa.Table(
    "resource_providers",
    metadata,
    sa.Column("uuid", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("parent_uuid", sa.String(36), index=True),
    sa.Column("root_uuid", sa.String(36), nullable=False, index=True),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False, server_default="1", index=True),
    **_BIN,
)

# One row. Whoever changes a provider, or what it holds, takes the next value and writes it to the provider;
# the lock on this row makes the order of revisions the order of commits. A provider that goes raises `floor`.
revisions = sa.Table(
    "revisions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", sa.BigInteger, nullable=False),
    sa.Column("floor", sa.BigInteger, nullable=False),
    **_BIN,
)

inventories = sa.Table(
    "inventories",
    metadata,
    sa.Column("provider_uuid", sa.String(36), sa.ForeignKey(providers.c.uuid), primary_key=True),
    sa.Column("resource_class", sa.String(255), primary_key=True),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("reserved", sa.Integer, nullable=False),
    sa.Column("min_unit", sa.Integer, nullable=False),
    sa.Column("max_unit", sa.Integer, nullable=False),
    sa.Column("step_size", sa.Integer, nullable=False),
    sa.Column("allocation_ratio", sa.Float(53), nullable=False),
    sa.Index("inventories_by_class", "resource_class", "provider_uuid"),
    **_BIN,
)

consumers = sa.Table(
    "consumers",
    metadata,
    sa.Column("uuid", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.Column("user_id", sa.String(255), nullable=False),
    sa.Column("consumer_type", sa.String(255), nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Index("consumers_by_owner", "project_id", "user_id"),
    **_BIN,
)

allocations = sa.Table(
    "allocations",
    metadata,
    sa.Column("consumer_uuid", sa.String(36), sa.ForeignKey(consumers.c.uuid), primary_key=True),
    sa.Column("provider_uuid", sa.String(36), sa.ForeignKey(providers.c.uuid), primary_key=True),
    sa.Column("resource_class", sa.String(255), primary_key=True),
    sa.Column("used", sa.Integer, nullable=False),
    sa.Index("allocations_by_provider", "provider_uuid", "resource_class", "used"),
    **_BIN,
)

provider_traits = sa.Table(
    "resource_provider_traits",
    metadata,
    sa.Column("provider_uuid", sa.String(36), sa.ForeignKey(providers.c.uuid), primary_key=True),
    sa.Column("trait", sa.String(255), primary_key=True),
    sa.Index("provider_traits_by_trait", "trait", "provider_uuid"),
    **_BIN,
)

provider_aggregates = sa.Table(
    "resource_provider_aggregates",
    metadata,
    sa.Column("provider_uuid", sa.String(36), sa.ForeignKey(providers.c.uuid), primary_key=True),
    sa.Column("aggregate_uuid", sa.String(36), primary_key=True),
    sa.Index("provider_aggregates_by_aggregate", "aggregate_uuid", "provider_uuid"),
    **_BIN,
)

custom_traits = sa.Table(
    "custom_traits", metadata, sa.Column("name", sa.String(255), primary_key=True), **_BIN
)

custom_classes = sa.Table(
    "custom_resource_classes", metadata, sa.Column("name", sa.String(255), primary_key=True), **_BIN
)

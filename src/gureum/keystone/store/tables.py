"""The tables of Keystone.

Names are unique within their domain; role names of all domains share "" as their domain. Every write that
can change what a token means raises the number in `epochs`, which caches compare.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.db.types import JsonText, UtcDateTime

metadata = sa.MetaData()
_BIN: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def _id(name: str = "id", **kwargs: object) -> sa.Column[str]:
    return sa.Column(name, sa.String(64), primary_key=True, **kwargs)  # type: ignore[arg-type]


domains = sa.Table(
    "domains",
    metadata,
    _id(),
    sa.Column("name", sa.String(64), nullable=False, unique=True),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("options", JsonText, nullable=False),
    sa.Column("tags", JsonText, nullable=False),
    sa.Column("extra_values", JsonText, nullable=False),
    **_BIN,
)

projects = sa.Table(
    "projects",
    metadata,
    _id(),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("domain_id", sa.String(64), sa.ForeignKey("domains.id"), nullable=False),
    sa.Column("parent_id", sa.String(64), nullable=False, index=True),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("options", JsonText, nullable=False),
    sa.Column("extra_values", JsonText, nullable=False),
    sa.UniqueConstraint("domain_id", "name"),
    **_BIN,
)

project_tags = sa.Table(
    "project_tags",
    metadata,
    _id("project_id"),
    sa.Column("tag", sa.String(255), primary_key=True),
    sa.ForeignKeyConstraint(["project_id"], ["projects.id"], ondelete="CASCADE"),
    sa.Index("project_tags_by_tag", "tag"),
    **_BIN,
)

users = sa.Table(
    "users",
    metadata,
    _id(),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("domain_id", sa.String(64), sa.ForeignKey("domains.id"), nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("default_project_id", sa.String(64)),
    sa.Column("description", sa.Text),
    sa.Column("email", sa.String(255)),
    sa.Column("options", JsonText, nullable=False),
    sa.Column("extra_values", JsonText, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("failed_count", sa.Integer, nullable=False, default=0),
    sa.Column("failed_at", UtcDateTime),
    sa.UniqueConstraint("domain_id", "name"),
    **_BIN,
)

passwords = sa.Table(
    "passwords",
    metadata,
    _id(),
    sa.Column(
        "user_id",
        sa.String(64),
        sa.ForeignKey("users.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("hash", sa.String(255), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    **_BIN,
)

groups = sa.Table(
    "groups",
    metadata,
    _id(),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("domain_id", sa.String(64), sa.ForeignKey("domains.id"), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("extra_values", JsonText, nullable=False),
    sa.UniqueConstraint("domain_id", "name"),
    **_BIN,
)

memberships = sa.Table(
    "memberships",
    metadata,
    _id("user_id"),
    _id("group_id"),
    sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
    sa.ForeignKeyConstraint(["group_id"], ["groups.id"], ondelete="CASCADE"),
    sa.Index("memberships_by_group", "group_id"),
    **_BIN,
)

roles = sa.Table(
    "roles",
    metadata,
    _id(),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("domain_id", sa.String(64), nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("options", JsonText, nullable=False),
    sa.Column("extra_values", JsonText, nullable=False),
    sa.UniqueConstraint("domain_id", "name"),
    **_BIN,
)

implied_roles = sa.Table(
    "implied_roles",
    metadata,
    _id("prior_role_id"),
    _id("implied_role_id"),
    sa.ForeignKeyConstraint(["prior_role_id"], ["roles.id"], ondelete="CASCADE"),
    sa.ForeignKeyConstraint(["implied_role_id"], ["roles.id"], ondelete="CASCADE"),
    **_BIN,
)

assignments = sa.Table(
    "assignments",
    metadata,
    sa.Column("actor_type", sa.String(8), primary_key=True),  # user, group
    _id("actor_id"),
    sa.Column("target_type", sa.String(8), primary_key=True),  # system, domain, project
    _id("target_id"),  # "all" for the system
    _id("role_id"),
    sa.Column("inherited", sa.Boolean, primary_key=True),
    sa.ForeignKeyConstraint(["role_id"], ["roles.id"], ondelete="CASCADE"),
    sa.Index("assignments_by_target", "target_type", "target_id"),
    sa.Index("assignments_by_role", "role_id"),
    **_BIN,
)

regions = sa.Table(
    "regions",
    metadata,
    sa.Column("id", sa.String(255), primary_key=True),
    sa.Column("parent_region_id", sa.String(255), sa.ForeignKey("regions.id")),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("extra_values", JsonText, nullable=False),
    **_BIN,
)

services = sa.Table(
    "services",
    metadata,
    _id(),
    sa.Column("type", sa.String(255), nullable=False),
    sa.Column("name", sa.String(255)),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("extra_values", JsonText, nullable=False),
    **_BIN,
)

endpoints = sa.Table(
    "endpoints",
    metadata,
    _id(),
    sa.Column(
        "service_id",
        sa.String(64),
        sa.ForeignKey("services.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("region_id", sa.String(255), sa.ForeignKey("regions.id"), index=True),
    sa.Column("interface", sa.String(8), nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("extra_values", JsonText, nullable=False),
    **_BIN,
)

application_credentials = sa.Table(
    "application_credentials",
    metadata,
    _id(),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column(
        "user_id", sa.String(64), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False
    ),
    sa.Column(
        "project_id",
        sa.String(64),
        sa.ForeignKey("projects.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("secret_hash", sa.String(255), nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("unrestricted", sa.Boolean, nullable=False),
    sa.Column("role_ids", JsonText, nullable=False),
    sa.Column("access_rule_ids", JsonText, nullable=False),
    sa.UniqueConstraint("user_id", "name"),
    **_BIN,
)

access_rules = sa.Table(
    "access_rules",
    metadata,
    _id(),
    sa.Column(
        "user_id", sa.String(64), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False
    ),
    sa.Column("service", sa.String(64), nullable=False),
    sa.Column("method", sa.String(16), nullable=False),
    sa.Column("path", sa.String(128), nullable=False),
    sa.UniqueConstraint("user_id", "service", "method", "path"),
    **_BIN,
)

revocations = sa.Table(
    "revocations",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("audit_id", sa.String(64), index=True),  # one token
    sa.Column("user_id", sa.String(64), index=True),  # every token of a user, optionally in a scope
    sa.Column("project_id", sa.String(64), index=True),
    sa.Column("domain_id", sa.String(64), index=True),
    sa.Column("application_credential_id", sa.String(64), index=True),
    sa.Column("issued_before", UtcDateTime, nullable=False),
    sa.Column("drop_at", UtcDateTime, nullable=False, index=True),
    **_BIN,
)

epochs = sa.Table(
    "epochs",
    metadata,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)

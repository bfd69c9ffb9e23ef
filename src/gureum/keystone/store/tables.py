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


def _parent(name: str, of: str) -> sa.Column[str]:
    key = sa.ForeignKey(of, ondelete="CASCADE")
    return sa.Column(name, sa.String(64), key, nullable=False, index=True)


def _user(name: str) -> sa.Column[str]:
    return _parent(name, "users.id")


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
    sa.Index("projects_by_name", "name"),
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
    sa.Column("last_active_at", UtcDateTime),
    sa.UniqueConstraint("domain_id", "name"),
    sa.Index("users_by_name", "name"),
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
    sa.Column("expires_at", UtcDateTime, index=True),
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
    sa.Index("groups_by_name", "name"),
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
    sa.Column("token_hash", sa.String(64)),  # of the one token, for those who check offline
    sa.Column("token_expires_at", UtcDateTime),
    **_BIN,
)

epochs = sa.Table(
    "epochs",
    metadata,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    **_BIN,
)

credentials = sa.Table(
    "credentials",
    metadata,
    _id(),
    sa.Column("type", sa.String(255), nullable=False, index=True),
    _user("user_id"),
    sa.Column("project_id", sa.String(64)),
    sa.Column("encrypted_blob", sa.Text, nullable=False),
    sa.Column("extra_values", JsonText, nullable=False),
    **_BIN,
)

trusts = sa.Table(
    "trusts",
    metadata,
    _id(),
    _user("trustor_user_id"),
    _user("trustee_user_id"),
    sa.Column("project_id", sa.String(64), sa.ForeignKey("projects.id", ondelete="CASCADE")),
    sa.Column("impersonation", sa.Boolean, nullable=False),
    sa.Column("role_ids", JsonText, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("remaining_uses", sa.Integer),
    sa.Column("redelegation_count", sa.Integer, nullable=False),
    sa.Column("redelegated_trust_id", sa.String(64), index=True),
    sa.Column("extra_values", JsonText, nullable=False),
    **_BIN,
)

policies = sa.Table(
    "policies",
    metadata,
    _id(),
    sa.Column("type", sa.String(255), nullable=False, index=True),
    sa.Column("blob", sa.Text, nullable=False),
    sa.Column("extra_values", JsonText, nullable=False),
    **_BIN,
)

# "" stands for "none" in the key: an endpoint, or a service, or a service in a region
policy_links = sa.Table(
    "policy_links",
    metadata,
    _id("endpoint_id"),
    _id("service_id"),
    sa.Column("region_id", sa.String(255), primary_key=True),
    _parent("policy_id", "policies.id"),
    **_BIN,
)

project_endpoints = sa.Table(
    "project_endpoints",
    metadata,
    _id("project_id"),
    _id("endpoint_id"),
    sa.ForeignKeyConstraint(["project_id"], ["projects.id"], ondelete="CASCADE"),
    sa.ForeignKeyConstraint(["endpoint_id"], ["endpoints.id"], ondelete="CASCADE"),
    sa.Index("project_endpoints_by_endpoint", "endpoint_id"),
    **_BIN,
)

endpoint_groups = sa.Table(
    "endpoint_groups",
    metadata,
    _id(),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("filters", JsonText, nullable=False),
    **_BIN,
)

project_endpoint_groups = sa.Table(
    "project_endpoint_groups",
    metadata,
    _id("project_id"),
    _id("endpoint_group_id"),
    sa.ForeignKeyConstraint(["project_id"], ["projects.id"], ondelete="CASCADE"),
    sa.ForeignKeyConstraint(["endpoint_group_id"], ["endpoint_groups.id"], ondelete="CASCADE"),
    **_BIN,
)

consumers = sa.Table(
    "consumers",
    metadata,
    _id(),
    sa.Column("encrypted_secret", sa.Text, nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("extra_values", JsonText, nullable=False),
    **_BIN,
)

identity_providers = sa.Table(
    "identity_providers",
    metadata,
    _id(),
    sa.Column("domain_id", sa.String(64), sa.ForeignKey("domains.id"), nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("authorization_ttl_s", sa.Integer),
    **_BIN,
)

idp_remote_ids = sa.Table(
    "idp_remote_ids",
    metadata,
    sa.Column("remote_id", sa.String(255), primary_key=True),
    _parent("idp_id", "identity_providers.id"),
    **_BIN,
)

mappings = sa.Table(
    "mappings",
    metadata,
    _id(),
    sa.Column("rules", JsonText, nullable=False),
    sa.Column("schema_version", sa.String(5), nullable=False),
    **_BIN,
)

protocols = sa.Table(
    "protocols",
    metadata,
    _id(),
    _id("idp_id"),
    sa.Column("mapping_id", sa.String(64), nullable=False, index=True),
    sa.Column("remote_id_attribute", sa.String(64)),
    sa.ForeignKeyConstraint(["idp_id"], ["identity_providers.id"], ondelete="CASCADE"),
    **_BIN,
)

service_providers = sa.Table(
    "service_providers",
    metadata,
    _id(),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("auth_url", sa.String(256), nullable=False),
    sa.Column("sp_url", sa.String(256), nullable=False),
    sa.Column("relay_state_prefix", sa.String(256), nullable=False),
    **_BIN,
)

# values are encrypted as a whole: any of them may be a password of a directory
domain_options = sa.Table(
    "domain_options",
    metadata,
    _id("domain_id"),
    sa.Column("option_group", sa.String(64), primary_key=True),
    sa.Column("option", sa.String(64), primary_key=True),
    sa.Column("encrypted_value", sa.Text, nullable=False),
    sa.ForeignKeyConstraint(["domain_id"], ["domains.id"], ondelete="CASCADE"),
    **_BIN,
)

# "" stands for "no region": a NULL would let the same limit be registered twice
registered_limits = sa.Table(
    "registered_limits",
    metadata,
    _id(),
    _parent("service_id", "services.id"),
    sa.Column("region_id", sa.String(255), nullable=False),
    sa.Column("resource_name", sa.String(255), nullable=False),
    sa.Column("default_limit", sa.Integer, nullable=False),
    sa.Column("description", sa.Text),
    sa.UniqueConstraint("service_id", "region_id", "resource_name"),
    **_BIN,
)

limits = sa.Table(
    "limits",
    metadata,
    _id(),
    _parent("registered_limit_id", "registered_limits.id"),
    sa.Column("project_id", sa.String(64), nullable=False),  # "" for a domain's limit
    sa.Column("domain_id", sa.String(64), nullable=False),  # "" for a project's limit
    sa.Column("resource_limit", sa.Integer, nullable=False),
    sa.Column("description", sa.Text),
    sa.UniqueConstraint("registered_limit_id", "project_id", "domain_id"),
    sa.Index("limits_by_project", "project_id"),
    sa.Index("limits_by_domain", "domain_id"),
    **_BIN,
)

# -- OAuth1 ----------------------------------------------------------------------------------------

request_tokens = sa.Table(
    "request_tokens",
    metadata,
    _id(),
    _parent("consumer_id", "consumers.id"),
    sa.Column("encrypted_secret", sa.Text, nullable=False),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("user_id", sa.String(64)),  # who has authorized it
    sa.Column("role_ids", JsonText),
    sa.Column("verifier", sa.String(64)),
    sa.Column("expires_at", UtcDateTime),
    **_BIN,
)

access_tokens = sa.Table(
    "access_tokens",
    metadata,
    _id(),
    _parent("consumer_id", "consumers.id"),
    _user("user_id"),
    sa.Column("encrypted_secret", sa.Text, nullable=False),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("role_ids", JsonText, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    **_BIN,
)

# what may be used once: OAuth1 nonces, passcodes of TOTP
used_codes = sa.Table(
    "used_codes",
    metadata,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("code", sa.String(64), primary_key=True),  # SHA-256
    sa.Column("drop_at", UtcDateTime, nullable=False, index=True),
    **_BIN,
)

# -- federation ------------------------------------------------------------------------------------

federated_users = sa.Table(
    "federated_users",
    metadata,
    _id("idp_id"),
    _id("protocol_id"),
    _id("unique_hash"),  # SHA-256 of the name that the provider knows the user by
    _user("user_id"),
    sa.Column("unique_id", sa.Text, nullable=False),
    sa.ForeignKeyConstraint(["idp_id"], ["identity_providers.id"], ondelete="CASCADE"),
    **_BIN,
)

# memberships that a login through a provider renews and that end after its authorization_ttl
expiring_memberships = sa.Table(
    "expiring_memberships",
    metadata,
    _id("user_id"),
    _id("group_id"),
    _id("idp_id"),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
    sa.ForeignKeyConstraint(["group_id"], ["groups.id"], ondelete="CASCADE"),
    sa.ForeignKeyConstraint(["idp_id"], ["identity_providers.id"], ondelete="CASCADE"),
    **_BIN,
)

# -- tokens and keys -------------------------------------------------------------------------------

# tokens of the provider `uuid`: the hash of the token, never the token
stored_tokens = sa.Table(
    "stored_tokens",
    metadata,
    _id("token_hash"),
    sa.Column("claims", JsonText, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False, index=True),
    **_BIN,
)

# keys that the nodes of a cloud share, encrypted with the cluster key that each node has in a file
shared_keys = sa.Table(
    "shared_keys",
    metadata,
    sa.Column("purpose", sa.String(32), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("encrypted_secret", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    **_BIN,
)

# -- directories -----------------------------------------------------------------------------------

# users and groups of a directory (LDAP): their rows here mirror what it says
directory_entries = sa.Table(
    "directory_entries",
    metadata,
    _id("public_id"),
    _parent("domain_id", "domains.id"),
    sa.Column("kind", sa.String(8), nullable=False),  # user, group
    sa.Column("local_id", sa.String(255), nullable=False),
    sa.Column("dn", sa.Text, nullable=False),
    sa.Column("seen_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("domain_id", "kind", "local_id"),
    **_BIN,
)

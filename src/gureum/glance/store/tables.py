"""The tables of Glance.

`holder` and `upload_id` name the process and the upload that may finish an image in `saving` or
`importing`. The id of an image is never given to another one, so the ids of deleted images stay.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.db.types import JsonText, UtcDateTime
from gureum.core.saga.store import saga_tables

metadata = sa.MetaData()
_BIN: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}

images = sa.Table(
    "images",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255)),
    sa.Column("project_id", sa.String(255)),
    sa.Column("status", sa.String(30), nullable=False),
    sa.Column("visibility", sa.String(16), nullable=False),
    sa.Column("protected", sa.Boolean, nullable=False),
    sa.Column("os_hidden", sa.Boolean, nullable=False),
    sa.Column("min_disk", sa.Integer, nullable=False),
    sa.Column("min_ram", sa.Integer, nullable=False),
    sa.Column("disk_format", sa.String(20)),
    sa.Column("container_format", sa.String(20)),
    sa.Column("size", sa.BigInteger),
    sa.Column("virtual_size", sa.BigInteger),
    sa.Column("checksum", sa.String(32)),
    sa.Column("os_hash_algo", sa.String(64)),
    sa.Column("os_hash_value", sa.String(128)),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("upload_id", sa.String(36)),
    sa.Column("holder", sa.String(64)),
    sa.Index("images_by_time", "created_at", "id"),
    sa.Index("images_by_project", "project_id", "created_at", "id"),
    sa.Index("images_by_visibility", "visibility", "created_at", "id"),
    sa.Index("images_by_name", "name"),
    sa.Index("images_by_status", "status"),
    **_BIN,
)

properties = sa.Table(
    "image_properties",
    metadata,
    sa.Column("image_id", sa.String(36), sa.ForeignKey(images.c.id), primary_key=True),
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Index("image_properties_by_name", "name", "image_id"),
    **_BIN,
)

tags = sa.Table(
    "image_tags",
    metadata,
    sa.Column("image_id", sa.String(36), sa.ForeignKey(images.c.id), primary_key=True),
    sa.Column("tag", sa.String(255), primary_key=True),
    sa.Index("image_tags_by_tag", "tag", "image_id"),
    **_BIN,
)

members = sa.Table(
    "image_members",
    metadata,
    sa.Column("image_id", sa.String(36), sa.ForeignKey(images.c.id), primary_key=True),
    sa.Column("member_id", sa.String(255), primary_key=True),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Index("image_members_by_member", "member_id", "status", "image_id"),
    **_BIN,
)

locations = sa.Table(
    "image_locations",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("image_id", sa.String(36), sa.ForeignKey(images.c.id), nullable=False),
    sa.Column("store", sa.String(64), nullable=False),
    sa.Column("url", sa.Text),
    sa.Column("about", JsonText, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Index("image_locations_by_image", "image_id", "position"),
    sa.Index("image_locations_by_status", "status"),
    **_BIN,
)

tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("type", sa.String(30), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("project_id", sa.String(255)),
    sa.Column("user_id", sa.String(64)),
    sa.Column("image_id", sa.String(36)),
    sa.Column("request_id", sa.String(64)),
    sa.Column("input", JsonText, nullable=False),
    sa.Column("result", JsonText),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    sa.Index("tasks_by_time", "created_at", "id"),
    sa.Index("tasks_by_project", "project_id", "created_at", "id"),
    sa.Index("tasks_by_image", "image_id", "created_at"),
    sa.Index("tasks_by_end", "expires_at"),
    **_BIN,
)

deleted_images = sa.Table(
    "deleted_images",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("deleted_at", UtcDateTime, nullable=False),
    **_BIN,
)

metadef_namespaces = sa.Table(
    "metadef_namespaces",
    metadata,
    sa.Column("namespace", sa.String(80), primary_key=True),
    sa.Column("display_name", sa.String(80)),
    sa.Column("description", sa.Text),
    sa.Column("visibility", sa.String(16), nullable=False),
    sa.Column("protected", sa.Boolean, nullable=False),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Index("metadef_namespaces_by_time", "created_at", "namespace"),
    **_BIN,
)

metadef_items = sa.Table(
    "metadef_items",
    metadata,
    sa.Column("namespace", sa.String(80), primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(80), primary_key=True),
    sa.Column("body", JsonText, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    **_BIN,
)

metadef_resource_types = sa.Table(
    "metadef_resource_types",
    metadata,
    sa.Column("name", sa.String(80), primary_key=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    **_BIN,
)

metadef_associations = sa.Table(
    "metadef_associations",
    metadata,
    sa.Column("namespace", sa.String(80), primary_key=True),
    sa.Column("name", sa.String(80), primary_key=True),
    sa.Column("prefix", sa.String(80)),
    sa.Column("properties_target", sa.String(80)),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Index("metadef_associations_by_type", "name", "namespace"),
    **_BIN,
)

saga_tables(metadata)

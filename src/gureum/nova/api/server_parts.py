"""Metadata and tags of servers. API reference: "Server metadata", "Server tags"."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.spec import ListOf, Reply, String, Struct, operation
from gureum.nova.api.server_shapes import TAG, metadata_field
from gureum.nova.deps import Deps
from gureum.nova.errors import (
    Bad,
    Locked,
    MetadataNotFound,
    OverQuota,
    ServerNotFound,
    TagNotFound,
    WrongState,
)
from gureum.nova.logic import server_parts
from gureum.nova.logic.server_load import Keyed, Server, load, load_keyed
from gureum.nova.policy import PREFIX

METADATA = "/servers/{server_id}/metadata"
TAGS = "/servers/{server_id}/tags"


class MetadataBody(Struct):
    """Metadata to write."""

    metadata = metadata_field("Metadata.", required=True)


class MetaBody(Struct):
    """One item of metadata."""

    meta = metadata_field("The item.", required=True, max=1)


class TagsBody(Struct):
    """All tags."""

    tags = ListOf(String("", min=1, max=60, pattern=TAG), "Tags.", max=50, required=True)


# -- metadata --------------------------------------------------------------------------------------


@operation(
    "GET",
    METADATA,
    policy=PREFIX + "server-metadata:index",
    load=load,
    manual=True,
    waits=False,
    errors=(ServerNotFound,),
)
def list_metadata(ctx: Context, deps: Deps, server: Server) -> Any:
    """Show all metadata of a server."""
    return {"metadata": server_parts.metadata(server)}


@operation(
    "POST",
    METADATA,
    policy=PREFIX + "server-metadata:create",
    load=load,
    status=200,
    request=MetadataBody,
    manual=True,
    waits=False,
    errors=(ServerNotFound, WrongState, OverQuota, Locked),
)
def create_metadata(ctx: Context, deps: Deps, server: Server, new: MetadataBody) -> Any:
    """Write metadata of a server; other items stay."""
    return {"metadata": server_parts.write_metadata(ctx, deps, server, new.metadata, replace=False)}


@operation(
    "PUT",
    METADATA,
    policy=PREFIX + "server-metadata:update_all",
    load=load,
    request=MetadataBody,
    manual=True,
    waits=False,
    errors=(ServerNotFound, WrongState, OverQuota, Locked),
)
def replace_metadata(ctx: Context, deps: Deps, server: Server, new: MetadataBody) -> Any:
    """Replace all metadata of a server."""
    return {"metadata": server_parts.write_metadata(ctx, deps, server, new.metadata, replace=True)}


@operation(
    "GET",
    METADATA + "/{key}",
    policy=PREFIX + "server-metadata:show",
    load=load_keyed,
    manual=True,
    waits=False,
    errors=(ServerNotFound, MetadataNotFound),
)
def show_metadata(ctx: Context, deps: Deps, found: Keyed) -> Any:
    """Show one item of a server's metadata."""
    values = server_parts.metadata(found.server)
    if found.key not in values:
        raise MetadataNotFound()
    return {"meta": {found.key: values[found.key]}}


@operation(
    "PUT",
    METADATA + "/{key}",
    policy=PREFIX + "server-metadata:update",
    load=load_keyed,
    request=MetaBody,
    manual=True,
    waits=False,
    errors=(ServerNotFound, WrongState, OverQuota, Bad, Locked),
)
def update_metadata(ctx: Context, deps: Deps, found: Keyed, new: MetaBody) -> Any:
    """Write one item of a server's metadata."""
    if list(new.meta) != [found.key]:
        raise Bad("Request body and URI mismatch")
    server_parts.write_metadata(ctx, deps, found.server, new.meta, replace=False)
    return {"meta": new.meta}


@operation(
    "DELETE",
    METADATA + "/{key}",
    policy=PREFIX + "server-metadata:delete",
    load=load_keyed,
    manual=True,
    waits=False,
    errors=(ServerNotFound, MetadataNotFound, WrongState, Locked),
)
def delete_metadata(ctx: Context, deps: Deps, found: Keyed) -> None:
    """Remove one item of a server's metadata."""
    server_parts.delete_metadata(ctx, deps, found.server, found.key)


# -- tags ------------------------------------------------------------------------------------------


@operation(
    "GET",
    TAGS,
    policy=PREFIX + "os-server-tags:index",
    load=load,
    since="2.26",
    manual=True,
    waits=False,
    errors=(ServerNotFound,),
)
def list_tags(ctx: Context, deps: Deps, server: Server) -> Any:
    """List the tags of a server."""
    return {"tags": server_parts.tags(server)}


@operation(
    "PUT",
    TAGS,
    policy=PREFIX + "os-server-tags:update_all",
    load=load,
    since="2.26",
    request=TagsBody,
    manual=True,
    waits=False,
    errors=(ServerNotFound, WrongState),
)
def replace_tags(ctx: Context, deps: Deps, server: Server, new: TagsBody) -> Any:
    """Replace all tags of a server."""
    return {"tags": server_parts.replace_tags(server, new.tags)}


@operation(
    "DELETE",
    TAGS,
    policy=PREFIX + "os-server-tags:delete_all",
    load=load,
    since="2.26",
    manual=True,
    waits=False,
    errors=(ServerNotFound, WrongState),
)
def delete_tags(ctx: Context, deps: Deps, server: Server) -> None:
    """Remove all tags of a server."""
    server_parts.replace_tags(server, ())


@operation(
    "GET",
    TAGS + "/{tag}",
    policy=PREFIX + "os-server-tags:show",
    load=load_keyed,
    since="2.26",
    status=204,
    manual=True,
    waits=False,
    errors=(ServerNotFound, TagNotFound),
)
def check_tag(ctx: Context, deps: Deps, found: Keyed) -> None:
    """Look for a tag on a server."""
    if found.key not in server_parts.tags(found.server):
        raise TagNotFound(server_id=found.server.id, tag=found.key)


@operation(
    "PUT",
    TAGS + "/{tag}",
    policy=PREFIX + "os-server-tags:update",
    load=load_keyed,
    since="2.26",
    status=201,
    manual=True,
    waits=False,
    errors=(ServerNotFound, WrongState, Bad),
)
def add_tag(ctx: Context, deps: Deps, found: Keyed) -> Reply:
    """Add a tag to a server."""
    if not 1 <= len(found.key) <= 60 or "," in found.key:
        raise Bad(f"Invalid input for field/attribute tag. {found.key[:70]!r} is no tag.")
    if not server_parts.add_tag(deps, found.server, found.key):
        return Reply(None, status=204)
    href = f"{ctx.base_url}/servers/{found.server.id}/tags/{found.key}"
    return Reply(None, headers=[("Location", href)])


@operation(
    "DELETE",
    TAGS + "/{tag}",
    policy=PREFIX + "os-server-tags:delete",
    load=load_keyed,
    since="2.26",
    manual=True,
    waits=False,
    errors=(ServerNotFound, TagNotFound, WrongState),
)
def delete_tag(ctx: Context, deps: Deps, found: Keyed) -> None:
    """Remove a tag from a server."""
    server_parts.delete_tag(found.server, found.key)

"""Servers: create, list, show, update, delete. API reference: "Servers (servers)"."""

from __future__ import annotations

from typing import Any

import msgspec

from gureum.core.context import Context
from gureum.core.spec import Change, Page, Reply, operation
from gureum.nova.api.links import links, next_query
from gureum.nova.api.server_shapes import (
    ServerBrief,
    ServerCreate,
    ServerDetail,
    ServerMade,
    ServerQuery,
    ServerShown,
    ServerUpdate,
    ServerUpdated,
    plain_addresses,
)
from gureum.nova.api.server_views import brief_view, server_views
from gureum.nova.deps import Deps
from gureum.nova.errors import (
    Bad,
    ExternalNetworkForbidden,
    ImageUnusable,
    Locked,
    MarkerNotFound,
    NetworkAmbiguous,
    NoCertificates,
    NoVolumes,
    OverQuota,
    PortInUse,
    QuotaExceeded,
    ServerNotFound,
)
from gureum.nova.logic import server_create, server_facts, server_find, server_verbs
from gureum.nova.logic.server_load import Server, load, reload
from gureum.nova.policy import PREFIX
from gureum.nova.store.server_lists import Entry


@operation(
    "POST",
    "/servers",
    policy=PREFIX + "servers:create",
    status=202,
    request=ServerCreate,
    response=ServerMade,
    response_wrap="server",
    manual=True,
    errors=(
        Bad,
        ImageUnusable,
        NoVolumes,
        NoCertificates,
        QuotaExceeded,
        OverQuota,
        NetworkAmbiguous,
        PortInUse,
        ExternalNetworkForbidden,
    ),
)
def create_server(ctx: Context, deps: Deps, new: ServerCreate) -> Any:
    """Create servers. Returns at once; what is being done shows in task_state."""
    hints = new.get("hints") or new.get("hints_before") or {}
    made = server_create.create(ctx, deps, new.server, hints)
    if new.server.get("return_reservation_id"):
        return Reply(raw=msgspec.json.encode({"reservation_id": made.reservation_id}))
    hrefs = links(ctx, "servers", made.server_id)
    body: dict[str, Any] = {
        "id": made.server_id,
        "links": hrefs,
        "disk_config": made.disk_config,
        "security_groups": [{"name": name} for name in made.security_groups],
    }
    if made.admin_pass:
        body["admin_pass"] = made.admin_pass
    return Reply(body, headers=[("Location", hrefs[0]["href"])])


@operation(
    "GET",
    "/servers",
    policy=PREFIX + "servers:index",
    query=ServerQuery,
    items=ServerBrief,
    response_wrap="servers",
    manual=True,
    waits=False,
    errors=(Bad, MarkerNotFound),
    kept=True,
)
def list_servers(ctx: Context, deps: Deps, query: ServerQuery) -> Page:
    """List servers."""
    found, more = server_find.find(ctx, deps, query, detail=False)
    following = next_query(query, found[-1].row.id, query.get("limit")) if more and found else None
    return Page([brief_view(ctx, entry.row) for entry in found], following)


@operation(
    "GET",
    "/servers/detail",
    policy=PREFIX + "servers:detail",
    query=ServerQuery,
    items=ServerDetail,
    response_wrap="servers",
    manual=True,
    errors=(Bad, MarkerNotFound),
    kept=True,
)
def list_servers_detail(ctx: Context, deps: Deps, query: ServerQuery) -> Page:
    """List servers with details."""
    found, more = server_find.find(ctx, deps, query, detail=True)
    following = next_query(query, found[-1].row.id, query.get("limit")) if more and found else None
    facts = server_facts.gather(deps, found)
    return Page(server_views(ctx, deps, facts), following)


def show(ctx: Context, deps: Deps, server: Server) -> dict[str, Any]:
    """Return what the API says of one server."""
    entry = Entry(server.cell, server.row)
    known = {server.id: server.task_state}
    facts = server_facts.gather(deps, [entry], with_groups=True, task_states=known)
    return server_views(ctx, deps, facts)[0]


@operation(
    "GET",
    "/servers/{server_id}",
    policy=PREFIX + "servers:show",
    load=load,
    response=ServerShown,
    response_wrap="server",
    manual=True,
    errors=(ServerNotFound,),
    kept=True,
)
def show_server(ctx: Context, deps: Deps, server: Server) -> Any:
    """Show a server."""
    return show(ctx, deps, server)


@operation(
    "PUT",
    "/servers/{server_id}",
    policy=PREFIX + "servers:update",
    wrap="server",
    load=load,
    request=ServerUpdate,
    response=ServerUpdated,
    manual=True,
    changes=(Change("addresses were plain", "2.75", down=plain_addresses),),
    errors=(ServerNotFound, Bad),
)
def update_server(ctx: Context, deps: Deps, server: Server, new: ServerUpdate) -> Any:
    """Update a server."""
    if new.has("pinned_zone"):
        entry = Entry(server.cell, server.row)
        [facts] = server_facts.gather(deps, [entry])
        server_verbs.update(ctx, deps, server, new, zone_now=facts.zone)
    else:
        server_verbs.update(ctx, deps, server, new, zone_now=None)
    return show(ctx, deps, reload(deps, server))


@operation(
    "DELETE",
    "/servers/{server_id}",
    policy=PREFIX + "servers:delete",
    load=load,
    manual=True,
    waits=False,
    errors=(ServerNotFound, Locked),
)
def delete_server(ctx: Context, deps: Deps, server: Server) -> None:
    """Delete a server, whatever is being done to it."""
    server_verbs.delete(ctx, deps, server)

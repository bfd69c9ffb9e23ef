"""What was done to servers. API reference: "Servers actions"."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.spec import UNSET, Integer, ListOf, Page, String, Struct, Time, operation
from gureum.nova.api.links import next_query
from gureum.nova.deps import Deps
from gureum.nova.errors import ActionNotFound, Bad, MarkerNotFound, ServerNotFound
from gureum.nova.logic import server_actions
from gureum.nova.logic.server_load import (
    Keyed,
    Server,
    load,
    load_any,
    load_any_keyed,
    load_keyed,
)
from gureum.nova.policy import PREFIX

LIST = "/servers/{server_id}/os-instance-actions"
SHOW = LIST + "/{request_id}"
_EVENTS = PREFIX + "os-instance-actions:events"


class ActionBrief(Struct):
    """An action in a list."""

    action = String("Verb.")
    server_id = String("Server.", key="instance_uuid")
    request_id = String("Request.")
    user_id = String("Who asked.")
    project_id = String("In which project.")
    start_time = Time("When.", form="us")
    message = String("`Error` when it failed.")
    updated_at = Time("When something happened last.", form="us", since="2.58")


class EventShown(Struct):
    """A step of an action."""

    event = String("Step.")
    start_time = Time("When it began.", form="us")
    finish_time = Time("When it ended.", form="us")
    result = String("Success or Error.")
    traceback = String("For administrators.")
    host = String("For administrators.", since="2.62")
    host_id = String("Tells hosts apart within the project.", key="hostId", since="2.62")
    details = String("What went wrong.", since="2.84")


class ActionShown(ActionBrief):
    """An action with its steps."""

    events_before = ListOf(EventShown, "Steps.", key="events", until="2.50", policy=_EVENTS)
    events = ListOf(EventShown, "Steps.", since="2.51")


class ActionQuery(Struct, extra="ignore", forbid_since="2.58"):
    """Paging and time."""

    limit = Integer("Most items.", min=0, since="2.58")
    marker = String("Request of the last action of the page before.", since="2.58")
    changes_since = Time("Changed at or after.", key="changes-since", since="2.58")
    changes_before = Time("Changed at or before.", key="changes-before", since="2.66")


def _page(ctx: Context, deps: Deps, server: Server, query: ActionQuery) -> Page:
    found, more = server_actions.find(deps, server, query)
    following = (
        next_query(query, found[-1].request_id, query.get("limit")) if more and found else None
    )
    return Page(found, following)


def _shown(ctx: Context, deps: Deps, server: Server, request_id: str) -> dict[str, Any]:
    action = server_actions.show(deps, server, request_id)
    target = {"project_id": server.project_id, "user_id": server.user_id}
    inside = deps.policy.allows(_EVENTS, ctx, target)
    events = [
        {
            "event": event.event,
            "start_time": event.start_time,
            "finish_time": event.finish_time,
            "result": event.result,
            "traceback": event.traceback if inside else UNSET,
            "host": event.host if inside else UNSET,
            "host_id": event.host_id,
            "details": event.details,
        }
        for event in action.events
    ]
    return {
        **{name: getattr(action, name) for name in ActionBrief.fields},
        "events": events,
        "events_before": events,
    }


@operation(
    "GET",
    LIST,
    policy=PREFIX + "os-instance-actions:list",
    load=load,
    query=ActionQuery,
    items=ActionBrief,
    response_wrap="instanceActions",
    until="2.20",
    manual=True,
    waits=False,
    errors=(ServerNotFound,),
)
def list_actions_before(ctx: Context, deps: Deps, server: Server, query: ActionQuery) -> Page:
    """List what was done to a live server."""
    return _page(ctx, deps, server, query)


@operation(
    "GET",
    LIST,
    policy=PREFIX + "os-instance-actions:list",
    load=load_any,
    query=ActionQuery,
    items=ActionBrief,
    response_wrap="instanceActions",
    since="2.21",
    manual=True,
    waits=False,
    errors=(ServerNotFound, MarkerNotFound, Bad),
)
def list_actions(ctx: Context, deps: Deps, server: Server, query: ActionQuery) -> Page:
    """List what was done to a server, deleted or not."""
    return _page(ctx, deps, server, query)


@operation(
    "GET",
    SHOW,
    policy=PREFIX + "os-instance-actions:show",
    load=load_keyed,
    response=ActionShown,
    response_wrap="instanceAction",
    until="2.20",
    manual=True,
    waits=False,
    errors=(ServerNotFound, ActionNotFound),
)
def show_action_before(ctx: Context, deps: Deps, asked: Keyed) -> Any:
    """Show what a request did to a live server."""
    return _shown(ctx, deps, asked.server, asked.key)


@operation(
    "GET",
    SHOW,
    policy=PREFIX + "os-instance-actions:show",
    load=load_any_keyed,
    response=ActionShown,
    response_wrap="instanceAction",
    since="2.21",
    manual=True,
    waits=False,
    errors=(ServerNotFound, ActionNotFound),
)
def show_action(ctx: Context, deps: Deps, asked: Keyed) -> Any:
    """Show what a request did to a server, deleted or not."""
    return _shown(ctx, deps, asked.server, asked.key)

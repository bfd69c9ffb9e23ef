"""What other services tell Nova. API reference: "Create external events"."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.spec import Enum, Id, ListOf, Reply, String, Struct, Value, operation
from gureum.nova.deps import Deps
from gureum.nova.logic import external_events
from gureum.nova.policy import PREFIX


class Event(Struct):
    """Something that happened to a server's port or volume."""

    name = Enum(
        "What happened.",
        "network-changed",
        "network-vif-plugged",
        "network-vif-unplugged",
        "network-vif-deleted",
        Value("volume-extended", since="2.51"),
        Value("power-update", since="2.76"),
        Value("accelerator-request-bound", since="2.82"),
        Value("volume-reimaged", since="2.93"),
        required=True,
    )
    server_uuid = Id("Server.", uuid=True, required=True)
    status = Enum("How it went.", "failed", "completed", "in-progress", default="completed")
    tag = String("Port or volume.")


class Events(Struct):
    """Events."""

    events = ListOf(Event, "Events.", min=1, max=1000, required=True)


@operation(
    "POST",
    "/os-server-external-events",
    policy=PREFIX + "os-server-external-events:create",
    request=Events,
    status=200,
    manual=True,
)
def create_external_events(ctx: Context, deps: Deps, new: Events) -> Any:
    """Tell Nova what happened elsewhere; each event is answered with a code of its own."""
    hosts = external_events.hosts_of(deps, [event.server_uuid for event in new.events])
    shown, changed = [], []
    for event in new.events:
        known, host = event.server_uuid in hosts, hosts.get(event.server_uuid)
        code = 404 if not known else 422 if not host else 200
        if event.name not in external_events.NETWORK_EVENTS and code == 200:
            code = 400
        entry = {
            "name": event.name,
            "server_uuid": event.server_uuid,
            "status": event.status if code == 200 else "failed",
            "code": code,
        }
        if event.get("tag") is not None:
            entry["tag"] = event.tag
        shown.append(entry)
        if code == 200:
            changed.append(event.server_uuid)
    if changed:
        deps.refresh_ports(list(dict.fromkeys(changed)))
    failed = any(entry["code"] != 200 for entry in shown)
    return Reply({"events": shown}, status=207 if failed else 200)

"""Actions on servers. API reference: "Servers - run an action", "remote consoles"."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.spec import Enum, Integer, OneOf, Reply, String, Struct, Value, operation
from gureum.nova import model
from gureum.nova.deps import Deps
from gureum.nova.errors import (
    Bad,
    ConsoleTokenNotFound,
    ConsoleUnavailable,
    Locked,
    NotReady,
    SecurityGroupNotFound,
    ServerNotFound,
    WrongState,
)
from gureum.nova.logic import consoles, server_parts, server_verbs
from gureum.nova.logic.hosts_call import ask
from gureum.nova.logic.server_load import Server, load
from gureum.nova.policy import PREFIX

PATH = "/servers/{server_id}/action"
_ERRORS = (ServerNotFound, WrongState, Locked)


class Reboot(Struct):
    """How to reboot."""

    type = Enum("SOFT asks the guest, HARD does not.", "SOFT", "HARD", fold=True, required=True)


class Lock(Struct):
    """Why."""

    reason = String("Shown with the server.", key="locked_reason", min=1, since="2.73")


class ResetState(Struct):
    """To which state."""

    state = Enum("Wanted state.", model.ACTIVE, model.ERROR, required=True)


class ConsoleLength(Struct):
    """How much of the console."""

    length = OneOf(
        (Integer("", min=-1), String("", max=0)),
        "Lines from the end; -1 or null is all.",
        null=True,
    )


class VncConsole(Struct):
    """Which kind."""

    type = Enum("Kind of console.", "novnc", "xvpvnc", required=True)


class GroupAction(Struct):
    """Which security group."""

    name = String("Name or id.", required=True, min=1)


class RemoteConsole(Struct):
    """Which console."""

    protocol = Enum(
        "Protocol.", "vnc", "spice", "rdp", "serial", Value("mks", since="2.8"), required=True
    )
    type = Enum(
        "Kind of console.",
        "novnc",
        "xvpvnc",
        "spice-html5",
        "rdp-html5",
        "serial",
        Value("webmks", since="2.8"),
        Value("spice-direct", since="2.99"),
        required=True,
    )


class TokenQuery(Struct, extra="ignore", forbid_since="2.99"):
    """No parameters."""


class ConsolePlace(Struct):
    """Where a console token leads."""

    server_id = String("Server.", key="instance_uuid")
    host = String("Host.")
    port = Integer("Port.")
    tls_port = Integer("Port with TLS.", since="2.99")
    internal_path = String("Path.", key="internal_access_path")


@operation(
    "POST",
    PATH,
    action="os-start",
    policy=PREFIX + "servers:start",
    load=load,
    manual=True,
    waits=False,
    errors=_ERRORS,
)
def start_server(ctx: Context, deps: Deps, server: Server) -> None:
    """Start a stopped server."""
    server_verbs.power(ctx, deps, server, model.START)


@operation(
    "POST",
    PATH,
    action="os-stop",
    policy=PREFIX + "servers:stop",
    load=load,
    manual=True,
    waits=False,
    errors=_ERRORS,
)
def stop_server(ctx: Context, deps: Deps, server: Server) -> None:
    """Stop a server; the guest may shut itself down first."""
    server_verbs.power(ctx, deps, server, model.STOP)


@operation(
    "POST",
    PATH,
    action="reboot",
    policy=PREFIX + "servers:reboot",
    load=load,
    request=Reboot,
    manual=True,
    waits=False,
    errors=_ERRORS,
)
def reboot_server(ctx: Context, deps: Deps, server: Server, new: Reboot) -> None:
    """Reboot a server."""
    verb = model.REBOOT_SOFT if new.type == "SOFT" else model.REBOOT_HARD
    server_verbs.power(ctx, deps, server, verb)


@operation(
    "POST",
    PATH,
    action="pause",
    policy=PREFIX + "os-pause-server:pause",
    load=load,
    manual=True,
    waits=False,
    errors=_ERRORS,
)
def pause_server(ctx: Context, deps: Deps, server: Server) -> None:
    """Pause a server: it keeps its memory and gets no time."""
    server_verbs.power(ctx, deps, server, model.PAUSE)


@operation(
    "POST",
    PATH,
    action="unpause",
    policy=PREFIX + "os-pause-server:unpause",
    load=load,
    manual=True,
    waits=False,
    errors=_ERRORS,
)
def unpause_server(ctx: Context, deps: Deps, server: Server) -> None:
    """Let a paused server go on."""
    server_verbs.power(ctx, deps, server, model.UNPAUSE)


@operation(
    "POST",
    PATH,
    action="suspend",
    policy=PREFIX + "os-suspend-server:suspend",
    load=load,
    manual=True,
    waits=False,
    errors=_ERRORS,
)
def suspend_server(ctx: Context, deps: Deps, server: Server) -> None:
    """Suspend a server: its memory goes to disk."""
    server_verbs.power(ctx, deps, server, model.SUSPEND)


@operation(
    "POST",
    PATH,
    action="resume",
    policy=PREFIX + "os-suspend-server:resume",
    load=load,
    manual=True,
    waits=False,
    errors=_ERRORS,
)
def resume_server(ctx: Context, deps: Deps, server: Server) -> None:
    """Let a suspended server go on."""
    server_verbs.power(ctx, deps, server, model.RESUME)


@operation(
    "POST",
    PATH,
    action="lock",
    policy=PREFIX + "os-lock-server:lock",
    load=load,
    request=Lock,
    manual=True,
    waits=False,
    errors=(ServerNotFound,),
)
def lock_server(ctx: Context, deps: Deps, server: Server, new: Lock) -> None:
    """Lock a server: only administrators act on it until it is unlocked."""
    server_verbs.lock(ctx, deps, server, new.get("reason"))


@operation(
    "POST",
    PATH,
    action="unlock",
    policy=PREFIX + "os-lock-server:unlock",
    load=load,
    manual=True,
    waits=False,
    errors=(ServerNotFound,),
)
def unlock_server(ctx: Context, deps: Deps, server: Server) -> None:
    """Unlock a server."""
    server_verbs.unlock(ctx, deps, server)


@operation(
    "POST",
    PATH,
    action="os-resetState",
    policy=PREFIX + "os-admin-actions:reset_state",
    load=load,
    request=ResetState,
    manual=True,
    waits=False,
    errors=(ServerNotFound,),
)
def reset_server_state(ctx: Context, deps: Deps, server: Server, new: ResetState) -> None:
    """Set the state of a server by hand."""
    server_verbs.reset_state(ctx, deps, server, new.state)


@operation(
    "POST",
    PATH,
    action="forceDelete",
    policy=PREFIX + "os-deferred-delete:force",
    load=load,
    manual=True,
    waits=False,
    errors=(ServerNotFound, Locked),
)
def force_delete_server(ctx: Context, deps: Deps, server: Server) -> None:
    """Delete a server at once."""
    server_verbs.delete(ctx, deps, server, force=True)


@operation(
    "POST",
    PATH,
    action="os-getConsoleOutput",
    policy=PREFIX + "os-console-output",
    load=load,
    request=ConsoleLength,
    status=200,
    manual=True,
    errors=(ServerNotFound, NotReady),
)
def get_console_output(ctx: Context, deps: Deps, server: Server, new: ConsoleLength) -> Any:
    """Show the end of the serial console."""
    length = new.get("length")
    lines = None if length in (None, -1, "") else length
    text = ask(deps, server, "get console output", lambda h: h.console_log(server.id, lines))
    if lines is not None:  # what follows the last line break counts as a line, empty or not
        text = "\n".join(text.split("\n")[-lines:]) if lines else ""
    return {"output": "".join(char for char in text if char >= " " or char in "\t\n\r")}


@operation(
    "POST",
    PATH,
    action="os-getVNCConsole",
    policy=PREFIX + "os-remote-consoles",
    load=load,
    request=VncConsole,
    status=200,
    until="2.5",
    manual=True,
    errors=(ServerNotFound, NotReady, ConsoleUnavailable),
)
def get_vnc_console(ctx: Context, deps: Deps, server: Server, new: VncConsole) -> Any:
    """Open a server's screen; from 2.6 on: remote-consoles."""
    return {"console": {"type": new.type, "url": consoles.open_console(deps, server, new.type)}}


@operation(
    "POST",
    "/servers/{server_id}/remote-consoles",
    policy=PREFIX + "os-remote-consoles",
    wrap="remote_console",
    load=load,
    request=RemoteConsole,
    status=200,
    since="2.6",
    manual=True,
    errors=(ServerNotFound, NotReady, ConsoleUnavailable),
)
def create_remote_console(ctx: Context, deps: Deps, server: Server, new: RemoteConsole) -> Any:
    """Open a server's screen: a URL that is good for a while and for this server only."""
    if consoles.PROTOCOL_OF[new.type] != new.protocol:
        raise ConsoleUnavailable(f"Unavailable console type {new.type}.")
    url = consoles.open_console(deps, server, new.type)
    shown = {"protocol": new.protocol, "type": new.type, "url": url}
    return {"remote_console": shown}


@operation(
    "GET",
    "/os-console-auth-tokens/{console_token}",
    since="2.31",
    policy=PREFIX + "os-console-auth-tokens",
    query=TokenQuery,
    response=ConsolePlace,
    response_wrap="console",
    manual=True,
    waits=False,
    errors=(ConsoleTokenNotFound,),
)
def show_console_token(ctx: Context, deps: Deps, token: str, query: TokenQuery) -> Any:
    """Show where a console token leads."""
    with deps.api.read() as tx:
        row = consoles.look_up(tx, token)
    if row is None:
        raise ConsoleTokenNotFound()
    return {**row._mapping, "tls_port": None}


@operation(
    "POST",
    PATH,
    action="addSecurityGroup",
    policy=PREFIX + "os-security-groups:add",
    load=load,
    request=GroupAction,
    manual=True,
    errors=(ServerNotFound, SecurityGroupNotFound, Bad, Locked),
)
def add_security_group(ctx: Context, deps: Deps, server: Server, new: GroupAction) -> Reply:
    """Give the ports of a server a security group."""
    server_parts.add_group(ctx, deps, server, new.name)
    return Reply(None)


@operation(
    "POST",
    PATH,
    action="removeSecurityGroup",
    policy=PREFIX + "os-security-groups:remove",
    load=load,
    request=GroupAction,
    manual=True,
    errors=(ServerNotFound, SecurityGroupNotFound, Bad, Locked),
)
def remove_security_group(ctx: Context, deps: Deps, server: Server, new: GroupAction) -> Reply:
    """Take a security group from the ports of a server."""
    server_parts.remove_group(ctx, deps, server, new.name)
    return Reply(None)

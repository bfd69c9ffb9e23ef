"""The order of checks and the answers of the dispatcher, on a toy service."""

import time
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Database
from gureum.core.http.dispatch import Dispatcher
from gureum.core.http.messages import Request
from gureum.core.policy import Policy, Rule
from gureum.core.service import DatabaseSpec, Service
from gureum.core.spec import (
    PUBLIC,
    Behaviour,
    Boolean,
    Change,
    Enum,
    Integer,
    ListOf,
    Microversions,
    NotFound,
    Reply,
    String,
    Struct,
    Unauthorized,
    Value,
    Version,
    operation,
)

METADATA = sa.MetaData()
THINGS = sa.Table(
    "things",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(36)),
    sa.Column("name", sa.String(255)),
    sa.Column("size", sa.Integer),
)


class ThingCreate(Struct):
    """A new thing."""

    name = String("Name.", required=True, min=1)
    size = Integer("Size in GiB.", default=1, min=0)
    colour = Enum("Colour.", "red", Value("blue", since="2.5"), since="2.2")
    owner = String("Owner.", policy="things:create:owner")
    strict_names = Behaviour("Blank names are refused.", since="2.4")


class Thing(Struct):
    """A thing."""

    id = String("Id.")
    name = String("Name.")
    size = Integer("Size.")
    project_id = String("Owner.", since="2.3", key="tenant")
    secret = String("For admins.", policy="things:show:secret")


class ThingQuery(Struct, extra="ignore", forbid_since="2.6"):
    """Filters."""

    name = String("Name.")
    ids = ListOf(String(""), "Ids.")


def load_thing(ctx: Context, tx: Any, thing_id: str) -> Any:
    row = tx.one(sa.select(THINGS).where(THINGS.c.id == thing_id))
    if row is None or (row.project_id != ctx.project_id and not ctx.is_admin):
        raise NotFound(f"Thing {thing_id} could not be found.")
    return row


@operation(
    "POST",
    "/things",
    policy="things:create",
    wrap="thing",
    request=ThingCreate,
    response=Thing,
    changes=(
        Change(
            "size was text",
            "2.5",
            down=lambda body: body.update(size=str(body["size"])),
            status=200,
        ),
    ),
)
def create_thing(ctx: Context, tx: Any, new: ThingCreate) -> Any:
    """Create a thing."""
    row = {"id": f"t-{new.name}", "project_id": ctx.project_id, "name": new.name, "size": new.size}
    tx.insert(THINGS, **row)
    return row


@operation(
    "GET",
    "/things/{thing_id}",
    policy="things:show",
    response=Thing,
    response_wrap="thing",
    load=load_thing,
)
def show_thing(ctx: Context, tx: Any, thing: Any) -> Any:
    """Show a thing."""
    return {**thing._mapping, "secret": "s"}


@operation(
    "GET", "/things", policy="things:list", query=ThingQuery, items=Thing, response_wrap="things"
)
def list_things(ctx: Context, tx: Any, query: ThingQuery) -> Any:
    """List things."""
    return tx.all(sa.select(THINGS).order_by(THINGS.c.id))


@operation(
    "POST",
    "/things/{thing_id}/action",
    policy="things:act",
    action="paint",
    load=load_thing,
    request=type("Paint", (Struct,), {"__doc__": "x", "colour": String("c", required=True)}),
)
def paint(ctx: Context, tx: Any, thing: Any, new: Any) -> None:
    """Paint it."""


@operation(
    "POST",
    "/things/{thing_id}/action",
    policy="things:act",
    action="burn",
    load=load_thing,
    request=type("Burn", (Struct,), {"__doc__": "x"}),
    since="2.3",
)
def burn(ctx: Context, tx: Any, thing: Any, new: Any) -> None:
    """Burn it."""


@operation("GET", "/", policy=PUBLIC)
def versions(ctx: Context, tx: Any) -> Any:
    """List versions."""
    return Reply({"versions": []}, status=300)


@operation("GET", "/crash", policy="things:list")
def crash(ctx: Context, tx: Any) -> Any:
    """Fail."""
    raise RuntimeError("secret inside")


class Tokens:
    def authenticate(self, token: str, service_token: str | None, request_id: str) -> Context:
        if token not in ("member", "admin", "other"):
            raise Unauthorized()
        return Context(
            request_id=request_id,
            user_id=token,
            project_id="p" if token != "other" else "q",
            roles=("admin", "member") if token == "admin" else ("member",),
        )


@pytest.fixture
def call():
    database = Database("sqlite://")
    with database.write() as tx:
        METADATA.create_all(tx.connection)
    rules = [
        Rule("things:create", "role:member", "c"),
        Rule("things:show", "role:member", "s"),
        Rule("things:list", "role:member", "l"),
        Rule("things:act", "role:member", "a"),
        Rule("things:create:owner", "role:admin", "o"),
        Rule("things:show:secret", "role:admin", "x"),
    ]
    service = Service(
        "things",
        "things",
        "Things",
        [create_thing, show_thing, list_things, paint, burn, crash],
        rules,
        error_body=lambda e, r: {"error": {"code": e.status, "message": e.message}},
        prefix="/v2.1",
        root_operations=[versions],
        versions=Microversions("things", Version(2, 1), Version(2, 6), "x-things-version"),
        databases=[DatabaseSpec("things", METADATA, "")],
        project_in_path=True,
    )
    dispatcher = Dispatcher(service, Policy(rules), Tokens(), {"": database})

    def send(
        method: str,
        path: str,
        body: Any = None,
        token: str | None = "member",
        version: str | None = None,
        raw: bytes | None = None,
        query: Any = (),
    ) -> Any:
        headers = {"x-auth-token": token} if token else {}
        if version:
            headers["openstack-api-version"] = f"things {version}"
        data = raw if raw is not None else (msgspec.json.encode(body) if body is not None else b"")
        response = dispatcher.handle(
            Request(method, path, list(query), headers, data, base="http://h")
        )
        return (
            response.status,
            msgspec.json.decode(response.body) if response.body else None,
            dict(response.headers),
        )

    return send


def test_create_then_show(call):
    status, body, headers = call(
        "POST", "/v2.1/things", {"thing": {"name": "a", "size": "3"}}, version="2.5"
    )
    assert (status, body["thing"]) == (201, {"id": "t-a", "name": "a", "size": 3, "tenant": "p"})
    assert headers["OpenStack-API-Version"] == "things 2.5"
    assert call("GET", "/v2.1/things/t-a", version="latest")[1]["thing"]["name"] == "a"
    assert call("GET", "/v2.1/things/t-a", token="other")[0] == 404
    assert call("GET", "/v2.1/" + "a" * 32 + "/things/t-a", token="member")[0] == 400
    assert "secret" in call("GET", "/v2.1/things/t-a", token="admin")[1]["thing"]


def test_old_version_gets_old_shape_and_status(call):
    status, body, _ = call("POST", "/v2.1/things", {"thing": {"name": "a"}})
    assert (status, body["thing"]) == (200, {"id": "t-a", "name": "a", "size": "1"})


@pytest.mark.parametrize(
    ("body", "version", "status"),
    [
        ({"thing": {"name": "a", "colour": "red"}}, "2.1", 400),
        ({"thing": {"name": "a", "colour": "blue"}}, "2.4", 400),
        ({"thing": {"name": "a", "colour": "blue"}}, "2.5", 201),
        ({"thing": {"name": "x" * 2_000_000}}, "2.5", 413),
        ({"thing": {"name": "x" * 300}}, "2.5", 400),
        ({"thing": {"name": 5}}, "2.5", 400),
        ({"thing": {"name": "a", "owner": "me"}}, "2.5", 403),
        ({"thing": []}, "2.5", 400),
        ({"other": {}}, "2.5", 400),
        ([], "2.5", 400),
        ({"thing": {"name": "a"}}, "2.7", 406),
        ({"thing": {"name": "a"}}, "x", 400),
    ],
)
def test_body_is_checked_at_its_version(call, body, version, status):
    assert call("POST", "/v2.1/things", body, version=version)[0] == status


def test_envelope_of_refusals(call):
    assert call("POST", "/v2.1/things", raw=b"{")[0] == 400
    assert call("GET", "/v2.1/things", token=None)[0] == 401
    assert call("GET", "/v2.1/things", token="bad")[0] == 401
    assert call("GET", "/v2.1/nothing")[0] == 404
    status, body, headers = call("PUT", "/v2.1/things")
    assert (status, headers["Allow"]) == (405, "GET, POST")
    assert body["error"]["code"] == 405
    status, body, _ = call("GET", "/v2.1/crash")
    assert status == 500 and "inside" not in str(body)
    assert call("GET", "/", token=None)[0] == 300


def test_unknown_query_is_refused_since_2_6(call):
    assert call("GET", "/v2.1/things", query=[("x", "1")])[0] == 200
    assert call("GET", "/v2.1/things", query=[("x", "1")], version="2.6")[0] == 400


def test_actions_are_chosen_by_the_key(call):
    call("POST", "/v2.1/things", {"thing": {"name": "a"}})
    assert call("POST", "/v2.1/things/t-a/action", {"paint": {"colour": "red"}})[0] == 202
    assert call("POST", "/v2.1/things/t-a/action", {"burn": None})[0] == 400
    assert call("POST", "/v2.1/things/t-a/action", {"burn": None}, version="2.3")[0] == 202
    assert call("POST", "/v2.1/things/t-a/action", {"fly": None})[0] == 400


def test_one_call_with_two_rules_uses_the_one_that_its_query_asks_for():
    class Query(Struct):
        mine = Boolean("Only one's own.")

    @operation(
        "GET",
        "/two",
        policy="two:all",
        query=Query,
        rule=lambda ctx, loaded, query: "two:own" if query.get("mine") else "two:all",
    )
    def list_two(ctx, tx, query):
        """List."""
        return []

    rules = [Rule("two:all", "role:admin", "All."), Rule("two:own", "role:member", "Own.")]
    service = Service("two", "two", "Two", [list_two], rules, lambda error, request_id: {})
    db = Database("sqlite://")
    dispatcher = Dispatcher(service, Policy(rules), Tokens(), {"": db})
    for query, status in (([], 403), ([("mine", "1")], 200)):
        headers = {"x-auth-token": "member"}
        assert dispatcher.handle(Request("GET", "/two", query, headers)).status == status


def test_operation_says_by_itself_whether_it_needs_a_thread():
    @operation("GET", "/quick", policy=PUBLIC, at_once=lambda deps, headers: "x-known" in headers)
    def quick(ctx, tx):
        """Answer."""
        return {}

    service = Service("q", "q", "Q", [quick], [], lambda error, request_id: {})
    dispatcher = Dispatcher(service, Policy([]), Tokens(), {"": Database("sqlite://")})
    assert dispatcher.needs(Request("GET", "/quick", [], {"x-known": "1"})).at_once
    assert not dispatcher.needs(Request("GET", "/quick", [], {})).at_once
    assert not dispatcher.needs(Request("GET", "/nothing", [], {})).at_once


class KnownTokens(Tokens):
    """Remembers one token."""

    def knows(self, token: str | None, service_token: str | None) -> bool:
        return token == "member"


def test_a_brief_look_is_answered_without_a_thread(tmp_path):
    @operation("GET", "/brief", policy="q:get")
    def brief(ctx, tx):
        """Look."""
        return {}

    @operation("POST", "/brief", policy="q:get", write=True)
    def change(ctx, tx):
        """Change."""
        return {}

    @operation("GET", "/outside", policy="q:get", manual=True)
    def outside(ctx, deps):
        """Ask somebody else."""
        return {}

    @operation("GET", "/costly", policy="q:get")
    def costly(ctx, tx):
        """Look at much."""
        until = time.thread_time() + 0.005
        while time.thread_time() < until:
            pass
        return {}

    operations = [brief, change, outside, costly]
    service = Service("q", "q", "Q", operations, [], lambda error, request_id: {})
    policy = Policy([Rule("q:get", "role:member", "Look.")])
    database = Database(f"sqlite:///{tmp_path}/q.sqlite")
    dispatcher = Dispatcher(service, policy, KnownTokens(), {"": database})

    def at_once(method: str, path: str, token: str = "member") -> bool:
        for _ in range(50):
            request = Request(method, path, [], {"x-auth-token": token})
            assert dispatcher.handle(request).status in (200, 201)
        return dispatcher.needs(Request(method, path, [], {"x-auth-token": token})).at_once

    assert not dispatcher.needs(Request("GET", "/brief", [], {"x-auth-token": "member"})).at_once
    assert at_once("GET", "/brief")
    asked = Request("GET", "/brief", [], {"x-auth-token": "unknown"})
    assert not dispatcher.needs(asked).at_once  # Keystone would have to be asked
    assert not at_once("POST", "/brief")
    assert not at_once("GET", "/outside")
    assert not at_once("GET", "/costly")
    database.close()

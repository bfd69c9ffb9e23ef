"""An answer is given again while its databases do not change, and never a moment longer."""

import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from gureum.core import reading
from gureum.core.context import Context
from gureum.core.db import Database
from gureum.core.http import kept
from gureum.core.http.dispatch import Dispatcher
from gureum.core.http.kept import KeptAnswers
from gureum.core.http.messages import Request, Response
from gureum.core.policy import Policy, Rule
from gureum.core.reading import Reading
from gureum.core.service import Service
from gureum.core.spec import NotFound, Unauthorized, operation

METADATA = sa.MetaData()
THINGS = sa.Table(
    "things", METADATA, sa.Column("name", sa.String(36), primary_key=True), sa.Column("size", sa.Integer)
)
CALLERS = {
    "alice": Context("r", user_id="a", project_id="p1", roles=("reader",)),
    "also-alice": Context("r", user_id="a", project_id="p1", roles=("reader",)),
    "bob": Context("r", user_id="b", project_id="p2", roles=("reader",)),
    "nobody": Context("r", user_id="n", project_id="p1", roles=()),
}


class Deps:
    """What the handlers share with a test."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.asked = 0
        self.meanwhile: Any = lambda: None


@operation("GET", "/things", policy="things:list", kept=True)
def list_things(ctx: Context, tx: Any) -> Any:
    """List things."""
    tx.deps.asked += 1
    return [row.name for row in tx.all(sa.select(THINGS))]


@operation("GET", "/things/{name}", policy="things:list", manual=True, waits=False, kept=True)
def show_thing(ctx: Context, deps: Deps, name: str) -> Any:
    """Show a thing."""
    deps.asked += 1
    with deps.database.read() as tx:
        row = tx.one(sa.select(THINGS).where(THINGS.c.name == name))
    deps.meanwhile()
    if row is None:
        raise NotFound()
    return {"size": row.size, "project_id": ctx.project_id}


class Tokens:
    def __init__(self) -> None:
        self.good = dict(CALLERS)

    def authenticate(self, token: str, service_token: str | None, request_id: str) -> Context:
        if token not in self.good:
            raise Unauthorized()
        return self.good[token]

    def knows(self, token: str | None, service_token: str | None) -> bool:
        return True


class Site:
    """A toy service on a file."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        METADATA.create_all(self.database.engine)
        self.deps = self.database.deps = Deps(self.database)
        self.tokens = Tokens()
        rules = [Rule("things:list", "role:reader", "List.")]
        service = Service(
            "things", "things", "Things", [list_things, show_thing], rules, lambda error, ident: {}
        )
        self.dispatcher = Dispatcher(
            service, Policy(rules), self.tokens, {"": self.database}, deps=self.deps
        )

    def get(self, path: str, token: str = "alice", **more: Any) -> tuple[int, Any]:
        """Ask; returns the status and the body."""
        response, _ = self.ask(path, token, **more)
        return response.status, msgspec.json.decode(response.body)

    def ask(
        self, path: str, token: str = "alice", query: Any = (), base: str = "http://c"
    ) -> tuple[Response, bool]:
        """Ask as the edge does; returns the answer, and whether it came from before."""
        headers = {"x-auth-token": token}
        request = Request("GET", path, list(query), headers, base=base)
        at_once = self.dispatcher.needs(request).at_once
        assert at_once or request.kept is None
        return self.dispatcher.handle(request), request.kept is not None

    def add(self, name: str, database: Database | None = None) -> None:
        """Write a thing."""
        with (database or self.database).write() as tx:
            tx.insert(THINGS, name=name, size=1)


@pytest.fixture
def site(tmp_path: Path):
    made = Site(f"sqlite:///{tmp_path}/things.sqlite")
    yield made
    made.database.close()


@pytest.fixture(params=["file", "memory"])
def either(request: Any, tmp_path: Path):
    made = Site("sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path}/t.sqlite")
    yield made
    made.database.close()


def test_second_ask_is_answered_from_before_and_needs_no_thread(either):
    assert either.get("/things") == (200, [])
    response, before = either.ask("/things")
    assert before and msgspec.json.decode(response.body) == []
    assert either.deps.asked == 1


def test_each_answer_has_its_own_request_id(site):
    ids = {dict(site.ask("/things")[0].headers)["x-openstack-request-id"] for _ in range(3)}
    assert len(ids) == 3 and site.deps.asked == 1


def test_write_is_seen_at_once(either):
    either.get("/things")
    either.add("one")
    assert either.get("/things") == (200, ["one"])
    assert either.get("/things/one")[0] == 200


def test_write_of_another_process_is_seen_at_once(site):
    site.get("/things")
    other = Database(site.database.url.render_as_string())
    site.add("theirs", other)
    other.close()
    assert site.get("/things") == (200, ["theirs"])


def test_write_that_was_rolled_back_changes_no_answer(site):
    site.get("/things")
    with pytest.raises(KeyError), site.database.write() as tx:
        tx.insert(THINGS, name="never", size=1)
        raise KeyError
    assert site.get("/things") == (200, [])


def test_write_while_an_answer_is_made_is_not_missed(site):
    site.add("one")

    def grow() -> None:
        site.deps.meanwhile = lambda: None
        with site.database.write() as tx:
            tx.update_by(THINGS.c.name, "one", size=2)

    site.deps.meanwhile = grow
    assert site.get("/things/one")[1]["size"] == 1
    assert site.get("/things/one")[1]["size"] == 2


def test_answers_differ_by_caller_query_and_address(site):
    site.add("one")
    assert site.get("/things/one", "alice")[1]["project_id"] == "p1"
    assert site.get("/things/one", "bob")[1]["project_id"] == "p2"
    site.get("/things/one", query=[("a", "b")])
    site.get("/things/one", base="http://other")
    assert site.deps.asked == 4
    assert site.get("/things/one", "also-alice")[1]["project_id"] == "p1"
    assert site.deps.asked == 4


def test_those_who_may_not_see_it_are_refused_as_ever(site):
    site.add("one")
    site.get("/things/one", "alice")
    assert site.get("/things/one", "nobody")[0] == 403
    del site.tokens.good["alice"]
    assert site.get("/things/one", "alice")[0] == 401


def test_errors_are_not_kept(site):
    assert site.get("/things/one")[0] == 404
    assert site.get("/things/one")[0] == 404
    assert site.deps.asked == 2


def test_what_was_asked_elsewhere_is_not_kept(site):
    site.add("one")
    site.deps.meanwhile = reading.elsewhere
    site.get("/things/one")
    site.get("/things/one")
    assert site.deps.asked == 2


def test_answer_that_stands_on_a_kept_one_changes_with_it(site):
    site.add("one")
    with reading.noted() as first:
        site.get("/things/one")
    with reading.noted() as again:
        site.get("/things/one")
    assert site.deps.asked == 1
    assert first.sources == again.sources == {site.database: site.database.version()}
    site.add("two")
    assert not reading.unchanged(again.sources)


def test_answer_is_not_older_than_its_limit(site, monkeypatch):
    site.get("/things")
    monkeypatch.setattr(kept.time, "monotonic", lambda: threading.TIMEOUT_MAX)
    site.get("/things")
    assert site.deps.asked == 2


def test_servers_of_databases_have_no_version():
    assert Database("mysql+pymysql://nobody@127.0.0.1:1/none").version() is None


def test_store_drops_the_answer_that_was_not_asked_for_longest(monkeypatch):
    monkeypatch.setattr(kept, "_STORE_BYTES", 5000)
    store, read = KeptAnswers(), Reading()
    for name in "abc":
        store.keep(name, Response(200, [], b"x" * 500), read)
    assert store.find("a") is not None
    store.keep("d", Response(200, [], b"x" * 500), read)
    assert [name for name in "abcd" if store.find(name)] == ["a", "c", "d"]
    monkeypatch.setattr(kept, "_ANSWER_BYTES", 100)
    store.keep("e", Response(200, [], b"x" * 500), read)
    assert store.find("e") is None


def test_only_looks_can_be_kept():
    for words in ({"method": "POST"}, {"method": "GET", "headers": ("range",)}):
        with pytest.raises(ValueError, match="cannot be kept"):
            operation(words.pop("method"), "/x", policy="x", kept=True, **words)

"""What a login costs: the hash, a bounded number of queries, and nothing that tells users from names."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher
from sqlalchemy import event

from gureum.core.context import Context
from gureum.keystone.client import TokenChecker
from gureum.keystone.config import KeystoneOptions
from gureum.keystone.logic import proofs
from gureum.keystone.logic.directories import Directories
from gureum.keystone.logic.passwords import Hasher
from gureum.keystone.store import tables

ADMIN = {"project": {"name": "admin", "domain": {"id": "default"}}}
MOST_QUERIES = 11


@contextmanager
def _queries(cloud: Any) -> Iterator[list[str]]:
    asked: list[str] = []

    def before(conn: Any, cursor: Any, text: str, values: Any, ctx: Any, many: bool) -> None:
        asked.append(text)

    event.listen(cloud.db.engine, "before_cursor_execute", before)
    try:
        yield asked
    finally:
        event.remove(cloud.db.engine, "before_cursor_execute", before)


@pytest.fixture
def whole(cloud: Any) -> Any:
    """A cloud in which domains may have directories, as every real one."""
    cloud.deps.directories = Directories(cloud.db)
    cloud.login("admin", "secret", ADMIN)
    return cloud


def test_login_asks_few_queries(whole):
    whole.deps.directories.of = lambda tx, domain_id: None  # looked at once a second
    with _queries(whole) as asked:
        whole.login("admin", "secret", ADMIN)
    assert len(asked) <= MOST_QUERIES, asked


def test_refusals_ask_the_same_of_the_database_with_and_without_such_a_user(whole):
    whole.user("on")
    whole.ok("POST", "/v3/users", {"user": {"name": "empty"}})
    off = whole.user("off")["id"]
    whole.ok("PATCH", f"/v3/users/{off}", {"user": {"enabled": False}})
    whole.try_login("nobody", "pw")  # makes the row that stands in for a user's
    whole.deps.directories.of = lambda tx, domain_id: None
    seen = {}
    for name in ("on", "nobody", "empty", "off"):
        with _queries(whole) as asked:
            assert whole.try_login(name, "wrong")[0] == 401
        seen[name] = [
            text.split(" SET ")[0].split("\n")[0] for text in asked if "UPDATE" not in text
        ]
        seen[name].append(str(sum("UPDATE" in text for text in asked)))
    assert seen["on"] == seen["nobody"] == seen["empty"] == seen["off"], seen


def test_hash_of_the_former_default_still_counts_and_is_renewed(cloud):
    user = cloud.user("alice")
    old = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1).hash("pw")
    p = tables.passwords
    with cloud.db.write() as tx:
        tx.update(p, p.c.user_id == user["id"], hash=old)
    cloud.deps.hasher = Hasher(KeystoneOptions())
    assert cloud.try_login("alice", "wrong")[0] == 401
    assert cloud.try_login("alice", "pw")[0] == 201
    with cloud.db.read() as tx:
        renewed = proofs.current_password(tx, user["id"]).hash
    assert renewed.startswith("$argon2id$v=19$m=7168,t=5,p=1$")
    assert cloud.try_login("alice", "pw")[0] == 201


def test_secret_of_an_application_credential_is_renewed_too(cloud):
    project = cloud.project("work")["id"]
    user = cloud.user("alice", "member", project)["id"]
    token = cloud.login("alice", "pw", {"project": {"id": project}})
    path = f"/v3/users/{user}/application_credentials"
    body = {"application_credential": {"name": "x", "secret": "shh"}}
    made = cloud.ok("POST", path, body, token)["application_credential"]
    cloud.deps.hasher = Hasher(KeystoneOptions(hash_memory_kib=9216, hash_time_cost=1))
    part = {"id": made["id"], "secret": "shh"}
    identity = {"methods": ["application_credential"], "application_credential": part}
    for _ in range(2):
        assert cloud.call("POST", "/v3/auth/tokens", {"auth": {"identity": identity}})[0] == 201
    table = tables.application_credentials
    with cloud.db.read() as tx:
        stored = tx.scalar(sa.select(table.c.secret_hash).where(table.c.id == made["id"]))
    assert "m=9216" in stored


def test_what_one_epoch_keeps_ends_with_it(cloud):
    """Catalogue, implied roles and names of roles are read once, and again after each change."""
    project = cloud.project("work")["id"]
    user = cloud.user("alice", "member", project)["id"]
    scope = {"project": {"id": project}}

    def body() -> Any:
        status, content, _ = cloud.try_login("alice", "pw", scope)
        assert status == 201
        return content["token"]

    before = {role["name"] for role in body()["roles"]}
    assert before == {"member", "reader"}
    extra = cloud.ok("POST", "/v3/roles", {"role": {"name": "extra"}})["role"]["id"]
    cloud.ok("PUT", f"/v3/roles/{cloud.role('reader')}/implies/{extra}")
    assert {role["name"] for role in body()["roles"]} == {"member", "reader", "extra"}
    cloud.ok("PATCH", f"/v3/roles/{extra}", {"role": {"name": "renamed"}})
    assert "renamed" in {role["name"] for role in body()["roles"]}
    service = cloud.ok("GET", "/v3/services?type=compute")["services"][0]["id"]
    public = cloud.ok("GET", f"/v3/endpoints?service_id={service}&interface=public")["endpoints"][0]
    cloud.ok("PATCH", f"/v3/endpoints/{public['id']}", {"endpoint": {"url": "http://new"}})
    shown = [one["url"] for one in body()["catalog"][0]["endpoints"]]
    assert "http://new" in shown
    cloud.ok("PUT", f"/v3/OS-EP-FILTER/projects/{project}/endpoints/{public['id']}")
    assert [one["url"] for part in body()["catalog"] for one in part["endpoints"]] == ["http://new"]
    cloud.ok("DELETE", f"/v3/projects/{project}/users/{user}/roles/{cloud.role('member')}")
    assert cloud.try_login("alice", "pw", scope)[0] == 401


def test_long_tokens_do_not_fill_the_memory_of_a_service():
    checker = TokenChecker(None)  # type: ignore[arg-type]
    checker._ask = lambda token: Context(request_id="", user_id="u")  # type: ignore[method-assign]
    for token in ("short", "é" * 10, "x" * 5000):
        assert not checker.knows(token, None)
        assert checker.authenticate(token, None, "").user_id == "u"
        assert checker.knows(token, None)
    assert max(map(len, checker._cache)) < 600

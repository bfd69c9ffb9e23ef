"""Rules about users and passwords: expiry, first use, age, inactivity; floods; strict limits."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from gureum.core.db.types import utc_now
from gureum.keystone.config import KeystoneOptions, LimitOptions
from gureum.keystone.errors import TooManyLogins
from gureum.keystone.logic import proofs
from gureum.keystone.logic.passwords import Hasher
from gureum.keystone.store import tables


def _rules(cloud: Any, **values: Any) -> None:
    cloud.deps.compliance = replace(cloud.deps.compliance, **values)


def _change(cloud: Any, user: Any, old: str, new: str) -> int:
    body = {"user": {"original_password": old, "password": new}}
    return cloud.call("POST", f"/v3/users/{user['id']}/password", body)[0]


def _age(cloud: Any, user: Any, **passed: float) -> None:
    """Let time pass for a user and its passwords."""
    back = timedelta(**passed)
    p, u = tables.passwords, tables.users
    with cloud.db.write() as tx:
        for row in tx.all(sa.select(p).where(p.c.user_id == user["id"])):
            until = row.expires_at and row.expires_at - back
            tx.update(p, p.c.id == row.id, created_at=row.created_at - back, expires_at=until)
        row = tx.one(sa.select(u).where(u.c.id == user["id"]))
        seen = row.last_active_at and row.last_active_at - back
        tx.update(u, u.c.id == row.id, created_at=row.created_at - back, last_active_at=seen)


def test_password_expires_and_can_still_be_changed(cloud):
    _rules(cloud, password_expires_days=90)
    user = cloud.user("alice")
    assert user["password_expires_at"] > "2026"
    status, body, _ = cloud.try_login("alice", "pw")
    assert status == 201
    assert body["token"]["user"]["password_expires_at"] == user["password_expires_at"]
    _age(cloud, user, days=91)
    status, body, _ = cloud.try_login("alice", "pw")
    assert status == 401 and "expired" in body["error"]["message"]
    assert user["id"] in body["error"]["message"]
    status, body, _ = cloud.try_login("alice", "wrong")
    assert status == 401 and "expired" not in body["error"]["message"]
    assert _change(cloud, user, "pw", "pw2") == 204
    assert cloud.try_login("alice", "pw2")[0] == 201


def test_option_ignores_expiry_at_once(cloud):
    _rules(cloud, password_expires_days=90)
    user = cloud.user("alice")
    _age(cloud, user, days=91)
    path = f"/v3/users/{user['id']}"
    cloud.ok("PATCH", path, {"user": {"options": {"ignore_password_expiry": True}}})
    assert cloud.try_login("alice", "pw")[0] == 201


def test_password_of_an_administrator_must_be_changed_at_first_use(cloud):
    _rules(cloud, change_password_upon_first_use=True, minimum_password_age_days=3)
    user = cloud.user("alice")
    assert cloud.try_login("alice", "pw")[0] == 401
    assert _change(cloud, user, "pw", "mine") == 204  # the age does not count here
    assert cloud.try_login("alice", "mine")[0] == 201
    cloud.ok("PATCH", f"/v3/users/{user['id']}", {"user": {"password": "reset"}})
    assert cloud.try_login("alice", "reset")[0] == 401
    options = {"ignore_change_password_upon_first_use": True}
    body = {"user": {"name": "robot", "password": "pw", "options": options}}
    cloud.ok("POST", "/v3/users", body)
    assert cloud.try_login("robot", "pw")[0] == 201


def test_password_has_a_minimum_age(cloud):
    _rules(cloud, minimum_password_age_days=2)
    user = cloud.user("alice")
    assert _change(cloud, user, "pw", "new") == 400
    _age(cloud, user, days=3)
    assert _change(cloud, user, "pw", "new") == 204
    assert _change(cloud, user, "new", "newer") == 400


def test_user_who_stays_away_counts_as_disabled_until_enabled_again(cloud):
    _rules(cloud, disable_user_account_days_inactive=30)
    user = cloud.user("alice")
    token = cloud.login("alice", "pw")
    _age(cloud, user, days=31)
    path = f"/v3/users/{user['id']}"
    assert cloud.try_login("alice", "pw")[0] == 401
    assert cloud.ok("GET", path)["user"]["enabled"] is False
    assert cloud.ok("PATCH", path, {"user": {"enabled": True}})["user"]["enabled"] is True
    assert cloud.try_login("alice", "pw")[0] == 201
    _age(cloud, user, days=31)
    cloud.ok("PATCH", path, {"user": {"options": {"ignore_user_inactivity": True}}})
    assert cloud.try_login("alice", "pw")[0] == 201
    assert cloud.call("GET", "/v3/auth/projects", token=token)[0] in (200, 401)


def test_locked_user_is_free_again_when_enabled_or_after_a_while(cloud):
    user = cloud.user("alice")
    for _ in range(3):
        cloud.try_login("alice", "no")
    assert cloud.try_login("alice", "pw")[0] == 401
    cloud.ok("PATCH", f"/v3/users/{user['id']}", {"user": {"enabled": True}})
    assert cloud.try_login("alice", "pw")[0] == 201
    for _ in range(3):
        cloud.try_login("alice", "no")
    with cloud.db.write() as tx:
        u = tables.users
        tx.update(u, u.c.id == user["id"], failed_at=utc_now() - timedelta(seconds=61))
    assert cloud.try_login("alice", "pw")[0] == 201


def test_option_ignores_lockout(cloud):
    user = cloud.user("alice")
    options = {"ignore_lockout_failure_attempts": True}
    cloud.ok("PATCH", f"/v3/users/{user['id']}", {"user": {"options": options}})
    for _ in range(4):
        cloud.try_login("alice", "no")
    assert cloud.try_login("alice", "pw")[0] == 201


def test_locked_password_cannot_be_changed_by_its_user(cloud):
    user = cloud.user("alice")
    cloud.ok("PATCH", f"/v3/users/{user['id']}", {"user": {"options": {"lock_password": True}}})
    assert _change(cloud, user, "pw", "new") == 400


def test_password_must_match_the_pattern(cloud):
    _rules(
        cloud, password_regex=r"^(?=.*\d)(?=.*[a-z]).{7,}$", password_regex_description="7, 1 digit"
    )
    body = {"user": {"name": "a", "password": "short1"}}
    status, answer, _ = cloud.call("POST", "/v3/users", body, cloud.admin)
    assert status == 400 and "7, 1 digit" in answer["error"]["message"]
    body["user"]["password"] = "longer1"
    cloud.ok("POST", "/v3/users", body)


@pytest.mark.parametrize("options", [{"magic": True}, {"lock_password": "yes"}])
def test_unknown_or_malformed_options_are_400(cloud, options):
    body = {"user": {"name": "a", "options": options}}
    assert cloud.call("POST", "/v3/users", body, cloud.admin)[0] == 400


def test_users_are_listed_by_the_expiry_of_their_password(cloud):
    cloud.user("never")
    _rules(cloud, password_expires_days=10)
    users = {name: cloud.user(name) for name in ("soon", "later")}
    _age(cloud, users["soon"], days=5)
    soon = cloud.ok("GET", f"/v3/users/{users['soon']['id']}")["user"]["password_expires_at"] + "Z"
    group = cloud.ok("POST", "/v3/groups", {"group": {"name": "g"}})["group"]["id"]
    for user in users.values():
        cloud.ok("PUT", f"/v3/groups/{group}/users/{user['id']}")
    for path in ("/v3/users", f"/v3/groups/{group}/users"):
        for how, wanted in (
            ("lt", []),
            ("lte", ["soon"]),
            ("gt", ["later"]),
            ("gte", ["later", "soon"]),
            ("eq", ["soon"]),
            ("neq", ["later"]),
        ):
            found = cloud.ok("GET", f"{path}?password_expires_at={how}:{soon}")["users"]
            assert sorted(one["name"] for one in found) == wanted, how
    assert cloud.call("GET", "/v3/users?password_expires_at=lt:never", token=cloud.admin)[0] == 400


# -- floods and oracles ----------------------------------------------------------------------------


class Slow:
    """Stands in for argon2: verifies when it is told to."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.running = threading.Semaphore(0)
        self.asked: list[str] = []

    def verify(self, hashed: str, password: str) -> bool:
        self.asked.append(hashed)
        self.running.release()
        assert self.go.wait(10)
        return True

    def check_needs_rehash(self, hashed: str) -> bool:
        return False


@pytest.fixture
def slow() -> Iterator[tuple[Hasher, Slow]]:
    options = KeystoneOptions(
        hash_memory_kib=8192, hash_time_cost=1, hash_workers=2, hash_queue=1, hash_nice=0
    )
    hasher, stub = Hasher(options), Slow()
    hasher._argon2 = stub  # type: ignore[assignment]
    yield hasher, stub
    stub.go.set()


def test_more_logins_than_places_are_refused_at_once(slow):
    hasher, stub = slow
    with ThreadPoolExecutor(3) as callers:
        waiting = [callers.submit(hasher.verify, "x", "pw") for _ in range(3)]
        for _ in range(2):
            assert stub.running.acquire(timeout=10)
        while hasher._taken < 3:
            pass
        with pytest.raises(TooManyLogins):
            hasher.verify("x", "pw")
        stub.go.set()
        assert all(one.result(10) for one in waiting)
    assert hasher.verify("x", "pw")


def test_flood_of_logins_is_503_and_tokens_are_still_checked(cloud, slow):
    hasher, stub = slow
    token = cloud.admin
    cloud.deps.hasher = hasher
    with ThreadPoolExecutor(3) as callers:
        waiting = [callers.submit(cloud.try_login, "admin", "secret") for _ in range(3)]
        for _ in range(2):
            assert stub.running.acquire(timeout=10)
        while hasher._taken < 3:
            pass
        status, body, headers = cloud.try_login("admin", "secret")
        assert status == 503 and headers["Retry-After"] == "5" and "Too many" in str(body)
        assert cloud.call("GET", "/v3/auth/tokens", None, token, x_subject_token=token)[0] == 200
        stub.go.set()
        assert [one.result(10)[0] for one in waiting] == [201, 201, 201]


def test_unknown_disabled_and_wrong_cost_the_same_work(cloud, monkeypatch):
    """The same number of hashes at the same cost, and the same number of writes."""
    user = cloud.user("off")
    cloud.ok("PATCH", f"/v3/users/{user['id']}", {"user": {"enabled": False}})
    cloud.user("on")
    cloud.ok("POST", "/v3/users", {"user": {"name": "empty"}})
    cloud.try_login("nobody", "pw")  # makes the row that stands in for a user's
    work: list[str] = []
    real, write = cloud.deps.hasher._argon2.verify, cloud.db.write

    def verify(hashed: str, password: str) -> bool:
        work.append(hashed.rsplit("$", 2)[0])  # algorithm and cost
        return bool(real(hashed, password))

    def written() -> Any:
        work.append("write")
        return write()

    monkeypatch.setattr(cloud.deps.hasher, "_argon2", _With(cloud.deps.hasher._argon2, verify))
    monkeypatch.setattr(cloud.db, "write", written)
    seen = []
    for name, password in (
        ("on", "wrong"),
        ("nobody", "pw"),
        ("off", "wrong"),
        ("off", "pw"),
        ("empty", "pw"),
    ):
        work.clear()
        assert cloud.try_login(name, password)[0] == 401
        seen.append(tuple(work))
    assert len(set(seen)) == 1 and seen[0][0].startswith("$argon2id$"), seen
    assert seen[0][1:] == ("write",)


class _With:
    """An object with one method replaced."""

    def __init__(self, whole: Any, verify: Any) -> None:
        self._whole, self.verify = whole, verify

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


def test_hash_of_another_cost_is_renewed_at_login(cloud):
    user = cloud.user("alice")
    with cloud.db.read() as tx:
        before = proofs.current_password(tx, user["id"]).hash
    cloud.deps.hasher = Hasher(KeystoneOptions(hash_memory_kib=9216, hash_time_cost=1))
    assert cloud.try_login("alice", "wrong")[0] == 401
    assert cloud.try_login("alice", "pw")[0] == 201
    with cloud.db.read() as tx:
        after = proofs.current_password(tx, user["id"]).hash
    assert "m=9216" in after and after != before
    assert cloud.try_login("alice", "pw")[0] == 201


# -- strict limits ---------------------------------------------------------------------------------


@pytest.fixture
def strict(cloud: Any) -> Any:
    """A cloud with the strict model: top has the child `child`, and a limit `servers` of 10 by default."""
    cloud.deps.limits = LimitOptions(enforcement_model="strict_two_level")
    service = cloud.ok("GET", "/v3/services")["services"][0]["id"]
    registered = {"service_id": service, "resource_name": "servers", "default_limit": 10}
    cloud.ok("POST", "/v3/registered_limits", {"registered_limits": [registered]})
    top = cloud.project("top")
    body = {"project": {"name": "child", "parent_id": top["id"]}}
    child = cloud.ok("POST", "/v3/projects", body)["project"]

    def limit(value: int, **what: str) -> Any:
        one = {"service_id": service, "resource_name": "servers", "resource_limit": value, **what}
        return cloud.call("POST", "/v3/limits", {"limits": [one]}, cloud.admin)

    return cloud, limit, top["id"], child["id"]


def test_model_is_shown_and_trees_stay_two_deep(strict):
    cloud, _, _, child = strict
    assert cloud.ok("GET", "/v3/limits/model")["model"]["name"] == "strict_two_level"
    body = {"project": {"name": "deeper", "parent_id": child}}
    assert cloud.call("POST", "/v3/projects", body, cloud.admin)[0] == 403


def test_limit_fits_between_those_above_and_below(strict):
    cloud, limit, top, child = strict
    assert limit(11, project_id=child)[0] == 403  # above the default of its parent
    status, made, _ = limit(8, project_id=child)
    assert status == 201
    assert limit(7, project_id=top)[0] == 403  # below its child
    status, over, _ = limit(9, project_id=top)
    assert status == 201
    path = f"/v3/limits/{made['limits'][0]['id']}"
    assert cloud.call("PATCH", path, {"limit": {"resource_limit": 10}}, cloud.admin)[0] == 403
    cloud.ok("PATCH", path, {"limit": {"resource_limit": 9}})
    path = f"/v3/limits/{over['limits'][0]['id']}"
    assert cloud.call("PATCH", path, {"limit": {"resource_limit": 5}}, cloud.admin)[0] == 403
    cloud.ok("PATCH", path, {"limit": {"resource_limit": -1}})


def test_limit_of_a_domain_bounds_its_projects(strict):
    cloud, limit, top, _ = strict
    assert limit(20, project_id=top)[0] == 201
    assert limit(15, domain_id="default")[0] == 403
    assert limit(20, domain_id="default")[0] == 201
    other = cloud.project("other")["id"]
    assert limit(21, project_id=other)[0] == 403
    assert limit(20, project_id=other)[0] == 201
    assert limit(-1, project_id=cloud.project("third")["id"])[0] == 403

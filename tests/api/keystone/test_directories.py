"""Domains whose users come from a directory, here one in memory; tests/real/test_ldap.py has a real one."""

from typing import Any

import pytest

from gureum.keystone.drivers.fake import FakeDirectory
from gureum.keystone.logic.directories import Directories, read_files

CONFIG = {"config": {"identity": {"driver": "ldap"}, "ldap": {"url": "ldap://x"}}}


class Corp:
    """A domain with a directory."""

    def __init__(self, cloud: Any, cache_s: float = 0.0) -> None:
        self.cloud, self.fake = cloud, FakeDirectory()
        cloud.deps.directories = Directories(
            cloud.db, cache_s=cache_s, make=lambda options: self.fake, away_s=0.0
        )
        self.domain = cloud.ok("POST", "/v3/domains", {"domain": {"name": "corp"}})["domain"]["id"]
        cloud.ok("PUT", f"/v3/domains/{self.domain}/config", CONFIG)

    def login(self, name: str, password: str, scope: Any = None) -> Any:
        return self.cloud.try_login(name, password, scope, self.domain)

    def check(self, token: str) -> int:
        return self.cloud.call("GET", "/v3/auth/projects", token=token)[0]


@pytest.fixture
def corp(cloud: Any) -> Corp:
    return Corp(cloud)


def test_user_of_a_directory_logs_in_with_its_password_there(corp):
    corp.fake.add("ann", "there")
    status, body, headers = corp.login("ann", "there")
    assert status == 201
    user = body["token"]["user"]
    assert user["name"] == "ann" and user["domain"]["id"] == corp.domain and len(user["id"]) == 64
    assert corp.login("ann", "wrong")[0] == 401
    assert corp.login("ann", "")[0] == 401
    assert corp.login("nobody", "there")[0] == 401
    assert corp.check(headers["X-Subject-Token"]) == 200
    assert corp.login("ann", "there")[1]["token"]["user"]["id"] == user["id"]
    by_id = {"id": user["id"], "password": "there"}
    auth = {"identity": {"methods": ["password"], "password": {"user": by_id}}}
    assert corp.cloud.call("POST", "/v3/auth/tokens", {"auth": auth})[0] == 201


def test_roles_come_from_grants_to_users_and_to_groups_of_the_directory(corp):
    cloud = corp.cloud
    corp.fake.add("ann", "pw")
    corp.fake.add_group("devs", "ann")
    project = cloud.project("demo")
    groups = cloud.ok("GET", f"/v3/groups?domain_id={corp.domain}")["groups"]
    assert [group["name"] for group in groups] == ["devs"]
    role, group = cloud.role("member"), groups[0]["id"]
    cloud.ok("PUT", f"/v3/projects/{project['id']}/groups/{group}/roles/{role}")
    status, _, headers = corp.login("ann", "pw", {"project": {"id": project["id"]}})
    assert status == 201
    token = headers["X-Subject-Token"]
    members = cloud.ok("GET", f"/v3/groups/{group}/users")["users"]
    assert [one["name"] for one in members] == ["ann"]
    mine = cloud.ok("GET", f"/v3/users/{members[0]['id']}/groups")["groups"]
    assert [one["name"] for one in mine] == ["devs"]
    corp.fake.add_group("devs")
    assert corp.check(token) == 401
    assert cloud.ok("GET", f"/v3/groups/{group}/users")["users"] == []


@pytest.mark.parametrize("end", ["disabled", "removed"])
def test_who_is_disabled_or_removed_there_is_out_here(corp, end):
    entry = corp.fake.add("ann", "pw")
    token = corp.login("ann", "pw")[2]["X-Subject-Token"]
    if end == "disabled":
        corp.fake.add("ann", "pw", enabled=False)
    else:
        del corp.fake.people["ann"]
    assert corp.check(token) == 401
    assert corp.login("ann", "pw")[0] == 401
    corp.fake.people["ann"] = entry
    status, body, _ = corp.login("ann", "pw")
    assert status == 201 and body["token"]["user"]["name"] == "ann"


def test_directory_that_is_away_stops_logins_and_keeps_tokens(corp):
    corp.fake.add("ann", "pw")
    token = corp.login("ann", "pw")[2]["X-Subject-Token"]
    corp.fake.down = True
    assert corp.check(token) == 200
    status, _, headers = corp.login("ann", "pw")
    assert status == 503 and headers["Retry-After"]
    path = f"/v3/users?domain_id={corp.domain}"
    assert corp.cloud.call("GET", path, token=corp.cloud.admin)[0] == 503
    assert corp.cloud.try_login("admin", "secret")[0] == 201


def test_answers_of_a_directory_count_for_the_stated_time(cloud):
    corp = Corp(cloud, cache_s=600.0)
    corp.fake.add("ann", "pw")
    token = corp.login("ann", "pw")[2]["X-Subject-Token"]
    corp.fake.add("ann", "pw", enabled=False)
    assert corp.check(token) == 200  # known for ten minutes
    assert corp.login("ann", "pw")[0] == 401  # a login always asks
    assert corp.check(token) == 401


def test_list_shows_what_the_directory_has_now(corp):
    cloud = corp.cloud
    for name in ("ann", "ben"):
        corp.fake.add(name, "pw")
    path = f"/v3/users?domain_id={corp.domain}"
    assert {one["name"] for one in cloud.ok("GET", path)["users"]} == {"ann", "ben"}
    del corp.fake.people["ben"]
    assert {one["name"] for one in cloud.ok("GET", path)["users"]} == {"ann"}
    assert [one["name"] for one in cloud.ok("GET", f"{path}&name=ann")["users"]] == ["ann"]


def test_name_may_wander_to_another_entry(corp):
    from dataclasses import replace

    corp.fake.add("ann", "pw")
    first = corp.login("ann", "pw")[1]["token"]["user"]["id"]
    entry = corp.fake.people.pop("ann")
    other = replace(entry, local_id="ann2", dn="cn=ann2")
    corp.fake.people = {"ann2": other}
    corp.fake.passwords["cn=ann2"] = "pw2"
    corp.fake.user = lambda local_id=None, name=None: other if name == "ann" else None
    second = corp.login("ann", "pw2")[1]["token"]["user"]
    assert second["id"] != first and second["name"] == "ann"


def test_user_from_before_the_directory_is_neither_changed_nor_let_in(cloud):
    domain = cloud.ok("POST", "/v3/domains", {"domain": {"name": "corp"}})["domain"]["id"]
    body = {"user": {"name": "ann", "password": "old", "domain_id": domain}}
    old = cloud.ok("POST", "/v3/users", body)["user"]
    fake = FakeDirectory()
    cloud.deps.directories = Directories(cloud.db, cache_s=0.0, make=lambda options: fake)
    cloud.ok("PUT", f"/v3/domains/{domain}/config", CONFIG)
    for there in (False, True):
        assert cloud.try_login("ann", "old", None, domain)[0] == 401
        if not there:
            fake.add("ann", "new")
    assert cloud.try_login("ann", "new", None, domain)[0] == 401
    shown = cloud.ok("GET", f"/v3/users/{old['id']}")["user"]
    assert shown["enabled"] and shown["name"] == "ann"


def test_nothing_is_written_to_a_directory(corp):
    cloud = corp.cloud
    corp.fake.add("ann", "pw")
    corp.fake.add_group("devs")
    user = corp.login("ann", "pw")[1]["token"]["user"]["id"]
    group = cloud.ok("GET", f"/v3/groups?domain_id={corp.domain}")["groups"][0]["id"]
    for method, path, body in (
        ("POST", "/v3/users", {"user": {"name": "x", "domain_id": corp.domain}}),
        ("PATCH", f"/v3/users/{user}", {"user": {"name": "x"}}),
        ("PATCH", f"/v3/users/{user}", {"user": {"password": "x"}}),
        ("PATCH", f"/v3/users/{user}", {"user": {"enabled": False}}),
        ("DELETE", f"/v3/users/{user}", None),
        ("POST", "/v3/groups", {"group": {"name": "x", "domain_id": corp.domain}}),
        ("PATCH", f"/v3/groups/{group}", {"group": {"name": "x"}}),
        ("DELETE", f"/v3/groups/{group}", None),
        ("PUT", f"/v3/groups/{group}/users/{user}", None),
    ):
        assert cloud.call(method, path, body, cloud.admin)[0] == 403, (method, path)
    body = {"user": {"original_password": "pw", "password": "new"}}
    assert cloud.call("POST", f"/v3/users/{user}/password", body)[0] == 403
    options = {"user": {"options": {"ignore_lockout_failure_attempts": True}}}
    shown = cloud.ok("PATCH", f"/v3/users/{user}", options)["user"]  # these are ours
    assert shown["options"] == options["user"]["options"]
    assert corp.login("ann", "pw")[0] == 201


def test_failed_logins_lock_users_of_a_directory_too(corp):
    corp.fake.add("ann", "pw")
    for _ in range(3):
        assert corp.login("ann", "no")[0] == 401
    assert corp.login("ann", "pw")[0] == 401


def test_domain_goes_with_its_mirrored_users(corp):
    cloud = corp.cloud
    corp.fake.add("ann", "pw")
    corp.fake.add_group("devs", "ann")
    user = corp.login("ann", "pw")[1]["token"]["user"]["id"]
    cloud.ok("PATCH", f"/v3/domains/{corp.domain}", {"domain": {"enabled": False}})
    assert corp.login("ann", "pw")[0] == 401
    cloud.ok("DELETE", f"/v3/domains/{corp.domain}")
    assert cloud.call("GET", f"/v3/users/{user}", token=cloud.admin)[0] == 404


def test_domain_can_be_configured_by_a_file_and_the_api_wins(cloud, tmp_path):
    folder = tmp_path / "domains"
    folder.mkdir()
    (folder / "keystone.Default.conf").write_text(
        "[identity]\ndriver = ldap\n[ldap]\nurl = ldap://file\npage_size = 7\n"
        "user_enabled_invert = true\nuser_attribute_ignore = mail, phone\n"
    )
    seen: list[Any] = []

    def make(options: Any) -> FakeDirectory:
        seen.append(options)
        return FakeDirectory()

    cloud.deps.directories = Directories(cloud.db, config_dir=str(folder), make=make)
    assert cloud.try_login("ann", "pw")[0] == 401
    assert seen[0]["url"] == "ldap://file" and seen[0]["page_size"] == 7
    assert seen[0]["user_enabled_invert"] is True
    assert seen[0]["user_attribute_ignore"] == ["mail", "phone"]
    from gureum.keystone.logic import domain_options

    with cloud.db.write() as tx:
        domain_options.put(tx, "default", {"ldap": {"url": "ldap://api"}})
    cloud.try_login("ann", "pw")
    assert seen[1]["url"] == "ldap://api" and seen[1]["page_size"] == 7


def test_unknown_option_in_a_file_is_refused(tmp_path):
    (tmp_path / "keystone.X.conf").write_text("[ldap]\nmagic = 1\n")
    with pytest.raises(ValueError, match="magic"):
        read_files(str(tmp_path))


@pytest.mark.parametrize(
    "config",
    [
        {"ldap": {"page_size": "many"}},
        {"ldap": {"use_tls": "yes"}},
        {"ldap": {"query_scope": "all"}},
    ],
)
def test_value_of_another_kind_is_400(cloud, config):
    path = "/v3/domains/default/config"
    assert cloud.call("PUT", path, {"config": config}, cloud.admin)[0] == 400

"""10,000 users and 5,000 projects: what is asked all the time finds its rows through an index."""

import time
from typing import Any

import pytest
import sqlalchemy as sa
from databases import on_server
from keystone_cloud import Cloud
from sqlalchemy import event

from gureum.core.db.types import utc_now
from gureum.core.http.kept import KeptAnswers
from gureum.keystone.store import tables

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(on_server(), reason="reads the query plans of SQLite"),
]
USERS, PROJECTS = 10_000, 5_000
BIG = ("users", "passwords", "projects", "project_tags", "assignments", "memberships")


@pytest.fixture(scope="module")
def full(tmp_path_factory: Any) -> Cloud:
    """A cloud whose last user has a role in the last project, directly and through a group."""
    cloud = Cloud(tmp_path_factory.mktemp("full"))
    hashed, now = cloud.deps.hasher.hash("pw"), utc_now()
    member = cloud.role("member")
    common = {"domain_id": "default", "enabled": True, "options": {}, "extra_values": {}}
    with cloud.db.write() as tx:
        tx.insert_many(
            tables.users,
            [
                {**common, "id": f"{n:032x}", "name": f"u{n}", "created_at": now, "failed_count": 0}
                for n in range(USERS)
            ],
        )
        passwords = [
            {"id": f"{n:032x}", "user_id": f"{n:032x}", "hash": hashed, "created_at": now}
            for n in range(USERS)
        ]
        tx.insert_many(tables.passwords, passwords)
        tx.insert_many(
            tables.projects,
            [
                {
                    **common,
                    "id": f"f{n:031x}",
                    "name": f"p{n}",
                    "parent_id": "default",
                    "description": "",
                }
                for n in range(PROJECTS)
            ],
        )
        group = {"id": "g", "name": "g", "domain_id": "default", "description": ""}
        tx.insert(tables.groups, **group, extra_values={})
        grants = [
            {
                "actor_type": "user",
                "actor_id": f"{n:032x}",
                "target_type": "project",
                "target_id": f"f{n % PROJECTS:031x}",
                "role_id": member,
                "inherited": False,
            }
            for n in range(USERS)
        ]
        tx.insert_many(tables.assignments, grants)
        members = [{"user_id": f"{n:032x}", "group_id": "g"} for n in range(USERS)]
        tx.insert_many(tables.memberships, members)
    return cloud


class Plans:
    """The query plans of what was run meanwhile."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.run = cloud, []  # type: ignore[var-annotated]

    def __enter__(self) -> "Plans":
        event.listen(self.cloud.db.engine, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *error: Any) -> None:
        event.remove(self.cloud.db.engine, "before_cursor_execute", self._note)

    def _note(self, connection: Any, cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE")):
            self.run.append((statement, values))

    def scans(self) -> list[str]:
        found = []
        with self.cloud.db.engine.connect() as connection:
            for statement, values in self.run:
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
                for row in plan:
                    words = row[3].split()
                    in_order = "LIMIT" in statement and "USING" in words and "INDEX" in words
                    if words[0] == "SCAN" and words[1] in BIG and not in_order:
                        found.append(f"{row[3]}: {statement}")
        return found


LAST = f"{USERS - 1:032x}"
HOME = {"project": {"id": f"f{PROJECTS - 1:031x}"}}


@pytest.mark.parametrize(
    "path",
    [
        "/v3/users?limit=100",
        f"/v3/users?limit=100&marker={USERS // 2:032x}",
        "/v3/users?name=u9999",
        "/v3/users?name=u9999&domain_id=default",
        f"/v3/users/{LAST}",
        f"/v3/users/{LAST}/projects",
        f"/v3/users/{LAST}/groups",
        "/v3/projects?limit=100",
        "/v3/projects?name=p4999",
        f"/v3/projects/f{PROJECTS - 1:031x}?parents_as_list&subtree_as_list",
        f"/v3/role_assignments?user.id={LAST}",
        f"/v3/role_assignments?scope.project.id=f{7:031x}",
        f"/v3/role_assignments?user.id={LAST}&effective",
        "/v3/users?limit=10&password_expires_at=lt:2026-01-01T00:00:00Z",
        "/v3/auth/projects",
    ],
)
def test_query_reads_no_whole_table(full, path):
    _ = full.admin
    with Plans(full) as plans:
        full.ok("GET", path)
    assert plans.run and plans.scans() == []


def test_login_and_check_read_no_whole_table(full):
    with Plans(full) as plans:
        token = full.login(f"u{USERS - 1}", "pw", HOME)
        full.deps.cache._entries.clear()
        assert full.call("GET", "/v3/auth/projects", token=token)[0] == 200
        assert full.try_login("nobody", "pw")[0] == 401
    assert len(plans.run) > 10 and plans.scans() == []


PAGE = 100


@pytest.fixture(scope="module")
def small(tmp_path_factory: Any) -> Cloud:
    """A cloud with little more than one page of users and projects."""
    cloud = Cloud(tmp_path_factory.mktemp("small"))
    home = cloud.project("home")["id"]
    cloud.user("alice", "member", home)
    for number in range(PAGE):
        cloud.project(f"p{number}")
        cloud.ok("POST", "/v3/users", {"user": {"name": f"u{number}"}})
    return cloud


def _cost(cloud: Cloud, name: str, what: str) -> float:
    """Return the least processor time of some calls, in seconds; of a login without its hash."""
    user = cloud.ok("GET", f"/v3/users?name={name}")["users"][0]
    project = cloud.ok("GET", f"/v3/users/{user['id']}/projects")["projects"][0]
    scope = {"project": {"id": project["id"]}}
    token, hasher = cloud.login(name, "pw", scope), cloud.deps.hasher

    def call() -> None:
        if what == "issue":
            cloud.login(name, "pw", scope)
        elif what.startswith("check"):
            if what == "check anew":
                cloud.deps.cache._entries.pop(token, None)
            assert (
                cloud.call("GET", "/v3/auth/tokens", token=token, x_subject_token=token)[0] == 200
            )
        else:
            cloud.ok("GET", f"/v3/{what}?limit={PAGE}")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(KeptAnswers, "find", lambda kept, key: None)  # else nothing is worked out
        if what == "issue":
            patched.setattr(hasher, "verify", lambda hashed, password: password == "pw")
        found = []
        for _ in range(40):
            before = time.thread_time()
            call()
            found.append(time.thread_time() - before)
    return min(found)


@pytest.mark.parametrize("what", ["issue", "check", "check anew", "users", "projects"])
def test_answer_costs_what_it_costs_in_a_small_cloud(full, small, what):
    """Processor time; a scan of 10,000 rows would cost several times as much."""
    alone, crowded = _cost(small, "alice", what), _cost(full, f"u{USERS - 1}", what)
    print(f"{what}: {1e3 * alone:.2f} ms, among {USERS} users {1e3 * crowded:.2f} ms")
    assert crowded < 1.5 * alone + 0.0005


def test_every_page_of_a_list_is_there_once(full):
    seen: list[str] = []
    path = "/v3/users?limit=1000"
    while path:
        page = full.ok("GET", path)
        seen += [user["id"] for user in page["users"]]
        following = page["links"]["next"]
        path = following and "/v3/users?" + following.partition("?")[2]
    with full.db.read() as tx:
        count = tx.scalar(sa.select(sa.func.count()).select_from(tables.users))
    assert len(seen) == len(set(seen)) == count

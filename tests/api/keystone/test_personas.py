"""Who may do what, on every operation that needs a rule."""

from typing import Any

import pytest

from gureum.core.spec import PUBLIC, TOKEN
from gureum.keystone.service import SERVICE

GUARDED = [op for op in SERVICE.operations if op.policy not in (PUBLIC, TOKEN)]
OPEN_TO_ALL = {"identity:list_regions", "identity:get_region"}


@pytest.fixture
def member(cloud: Any) -> str:
    project = cloud.project("demo")
    cloud.user("alice", "member", project["id"])
    return cloud.login("alice", "pw", {"project": {"id": project["id"]}})


@pytest.mark.parametrize("op", GUARDED, ids=lambda op: f"{op.method} {op.path}")
def test_operation_needs_a_token_and_refuses_a_member(cloud, member, op):
    path = "/v3" + op.path
    for name in op.params:
        path = path.replace(f"{{{name}}}", "0" * 32)
    body = {op.wrap: _body(op)} if op.request is not None and op.wrap else _body(op)
    assert cloud.call(op.method, path, body)[0] == 401
    status = cloud.call(op.method, path, body, member)[0]
    if op.policy in OPEN_TO_ALL:
        assert status in (200, 404)
    elif "application_credential" in op.path or "access_rules" in op.path:
        assert status in (403, 404)
    else:
        assert status == 403, status


def _body(op: Any) -> Any:
    if op.request is None:
        return None
    values = {
        "name": "x",
        "type": "x",
        "url": "http://x",
        "interface": "public",
        "tags": ["a"],
        "service_id": "x",
    }
    return {f.key: values[f.key] for f in op.request.fields.values() if f.required}


def test_crud_of_everything_as_admin(cloud):
    domain = cloud.ok("POST", "/v3/domains", {"domain": {"name": "d1"}})["domain"]
    project = cloud.ok(
        "POST", "/v3/projects", {"project": {"name": "p", "domain_id": domain["id"]}}
    )["project"]
    child = cloud.ok(
        "POST", "/v3/projects", {"project": {"name": "c", "parent_id": project["id"]}}
    )["project"]
    assert child["domain_id"] == domain["id"]
    group = cloud.ok("POST", "/v3/groups", {"group": {"name": "g", "domain_id": domain["id"]}})[
        "group"
    ]
    user = cloud.ok(
        "POST",
        "/v3/users",
        {"user": {"name": "u", "domain_id": domain["id"], "password": "pw", "team": "blue"}},
    )["user"]
    assert user["team"] == "blue" and "password" not in user
    cloud.ok("PUT", f"/v3/groups/{group['id']}/users/{user['id']}")
    role = cloud.role("member")
    cloud.ok(
        "PUT",
        f"/v3/OS-INHERIT/domains/{domain['id']}/groups/{group['id']}/roles/{role}/inherited_to_projects",
    )
    scope = {"project": {"id": child["id"]}}
    token = cloud.login("u", "pw", scope, domain["id"])
    assert cloud.call("GET", f"/v3/projects/{child['id']}", token=token)[0] == 200
    assert cloud.call("GET", f"/v3/projects/{project['id']}", token=token)[0] == 403
    found = cloud.ok("GET", f"/v3/role_assignments?effective&user.id={user['id']}&include_names")
    targets = {item["scope"]["project"]["name"] for item in found["role_assignments"]}
    assert targets == {"p", "c"}
    assert cloud.call("DELETE", f"/v3/projects/{project['id']}", token=cloud.admin)[0] == 403
    assert cloud.call("DELETE", f"/v3/domains/{domain['id']}", token=cloud.admin)[0] == 403
    cloud.ok("PATCH", f"/v3/domains/{domain['id']}", {"domain": {"enabled": False}})
    cloud.ok("DELETE", f"/v3/domains/{domain['id']}")
    assert cloud.call("GET", f"/v3/users/{user['id']}", token=cloud.admin)[0] == 404


def test_domain_manager_creates_users_and_grants_in_the_own_domain_only(cloud):
    domain = cloud.ok("POST", "/v3/domains", {"domain": {"name": "d1"}})["domain"]
    body = {"user": {"name": "boss", "domain_id": domain["id"], "password": "pw"}}
    boss = cloud.ok("POST", "/v3/users", body)["user"]
    manager, admin = cloud.role("manager"), cloud.role("admin")
    cloud.ok("PUT", f"/v3/domains/{domain['id']}/users/{boss['id']}/roles/{manager}")
    token = cloud.login("boss", "pw", {"domain": {"id": domain["id"]}}, domain["id"])
    body = {"user": {"name": "u", "domain_id": domain["id"]}}
    user = cloud.ok("POST", "/v3/users", body, token)["user"]
    assert (
        cloud.call("POST", "/v3/users", {"user": {"name": "u", "domain_id": "default"}}, token)[0]
        == 403
    )
    body = {"project": {"name": "p", "domain_id": domain["id"]}}
    project = cloud.ok("POST", "/v3/projects", body, token)["project"]
    path = f"/v3/projects/{project['id']}/users/{user['id']}/roles"
    assert cloud.call("PUT", f"{path}/{cloud.role('member')}", None, token)[0] == 204
    assert cloud.call("PUT", f"{path}/{admin}", None, token)[0] == 403
    listed = cloud.ok("GET", "/v3/users", token=token)["users"]
    assert {item["domain_id"] for item in listed} == {domain["id"]}


def test_duplicate_name_is_409_and_bad_input_is_400(cloud):
    cloud.project("p")
    assert cloud.call("POST", "/v3/projects", {"project": {"name": "p"}}, cloud.admin)[0] == 409
    for name in ("", "x" * 65, 7, None):
        assert (
            cloud.call("POST", "/v3/projects", {"project": {"name": name}}, cloud.admin)[0] == 400
        )
    assert (
        cloud.call("POST", "/v3/users", {"user": {"name": "u", "enabled": "yes"}}, cloud.admin)[0]
        == 400
    )


def test_implied_roles_cannot_form_a_circle(cloud):
    member, reader = cloud.role("member"), cloud.role("reader")
    assert cloud.call("PUT", f"/v3/roles/{reader}/implies/{member}", None, cloud.admin)[0] == 409
    assert cloud.call("DELETE", f"/v3/roles/{member}", None, cloud.admin)[0] == 403  # immutable

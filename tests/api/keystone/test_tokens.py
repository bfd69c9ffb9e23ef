"""Logging in, scopes, what ends a token."""

from typing import Any

import pytest


def _scope(project: dict[str, Any]) -> dict[str, Any]:
    return {"project": {"id": project["id"]}}


def _check(cloud: Any, token: str) -> int:
    return cloud.call("GET", "/v3/auth/tokens", None, cloud.admin, x_subject_token=token)[0]


def test_unscoped_then_projects_then_scoped_with_catalogue(cloud):
    project = cloud.project("demo")
    cloud.user("alice", "member", project["id"])
    unscoped = cloud.login("alice", "pw")
    assert cloud.call("GET", "/v3/auth/catalog", token=unscoped)[0] == 403
    reach = cloud.ok("GET", "/v3/auth/projects", token=unscoped)["projects"]
    assert [item["name"] for item in reach] == ["demo"]
    auth = {
        "identity": {"methods": ["token"], "token": {"id": unscoped}},
        "scope": {"project": {"id": reach[0]["id"]}},
    }
    status, body, headers = cloud.call("POST", "/v3/auth/tokens", {"auth": auth})
    assert status == 201
    token = body["token"]
    assert sorted(role["name"] for role in token["roles"]) == ["member", "reader"]
    assert token["catalog"][0]["endpoints"][0]["url"].endswith(reach[0]["id"])
    assert token["methods"] == ["password", "token"]
    assert len(headers["X-Subject-Token"]) < 260


def test_a_slash_at_the_end_is_the_collection(cloud):
    assert cloud.call("GET", "/v3/users/", token=cloud.admin)[0] == 200
    assert cloud.call("GET", "/v3/OS-TRUST/trusts/?trustor_user_id=x", token=cloud.admin)[0] == 200


def test_rescoped_token_does_not_outlive_its_parent(cloud):
    first = cloud.try_login("admin", "secret")
    parent = first[1]["token"]
    auth = {
        "identity": {"methods": ["token"], "token": {"id": first[2]["X-Subject-Token"]}},
        "scope": {"system": {"all": True}},
    }
    child = cloud.call("POST", "/v3/auth/tokens", {"auth": auth})[1]["token"]
    assert child["expires_at"] == parent["expires_at"]
    assert child["audit_ids"][1] == parent["audit_ids"][0]


@pytest.mark.parametrize(
    ("name", "password"), [("admin", "wrong"), ("nobody", "secret"), ("admin", "x" * 5000)]
)
def test_wrong_credentials_look_alike(cloud, name, password):
    status, body, headers = cloud.try_login(name, password)
    assert status == 401
    assert body["error"]["message"] == "The request you have made requires authentication."
    assert "X-Subject-Token" not in headers


def test_locked_user_cannot_log_in_with_the_right_password(cloud):
    cloud.user("alice")
    for _ in range(3):
        cloud.try_login("alice", "no")
    assert cloud.try_login("alice", "pw")[0] == 401


@pytest.mark.parametrize(
    "end",
    [
        "revoke",
        "disable user",
        "delete user",
        "password",
        "role",
        "disable project",
        "delete project",
    ],
)
def test_token_ends_with(cloud, end):
    project = cloud.project("demo")
    user = cloud.user("alice", "member", project["id"])
    token = cloud.login("alice", "pw", _scope(project))
    assert _check(cloud, token) == 200
    assert _check(cloud, token) == 200  # from the cache
    path = f"/v3/users/{user['id']}"
    role = cloud.role("member")
    if end == "revoke":
        assert cloud.call("DELETE", "/v3/auth/tokens", None, token, x_subject_token=token)[0] == 204
    elif end == "disable user":
        cloud.ok("PATCH", path, {"user": {"enabled": False}})
    elif end == "delete user":
        cloud.ok("DELETE", path)
    elif end == "password":
        body = {"user": {"original_password": "pw", "password": "pw2"}}
        assert cloud.call("POST", f"{path}/password", body, token)[0] == 204
    elif end == "role":
        cloud.ok("DELETE", f"/v3/projects/{project['id']}/users/{user['id']}/roles/{role}")
    elif end == "disable project":
        cloud.ok("PATCH", f"/v3/projects/{project['id']}", {"project": {"enabled": False}})
    else:
        cloud.ok("DELETE", f"/v3/projects/{project['id']}")
    assert _check(cloud, token) == 404
    assert cloud.call("GET", "/v3/auth/projects", token=token)[0] == 401


def test_keys_rotate_and_old_tokens_stay_valid_until_the_key_is_dropped(cloud):
    token = cloud.admin
    cloud.keys.rotate()
    cloud.deps.cache._entries.clear()
    assert cloud.deps.provider.read(token) is not None
    for _ in range(3):
        cloud.keys.rotate()
    cloud.keys.fernet(fresh=True)
    assert cloud.deps.provider.read(token) is None
    assert cloud.deps.provider.read("gAAAA" + "x" * 100) is None


def test_application_credential_logs_in_with_its_roles_only(cloud):
    project = cloud.project("demo")
    user = cloud.user("alice", "member", project["id"])
    token = cloud.login("alice", "pw", _scope(project))
    body = {"application_credential": {"name": "ci", "roles": [{"name": "reader"}]}}
    path = f"/v3/users/{user['id']}/application_credentials"
    made = cloud.ok("POST", path, body, token)["application_credential"]
    auth = {
        "identity": {
            "methods": ["application_credential"],
            "application_credential": {"id": made["id"], "secret": made["secret"]},
        }
    }
    status, shown, headers = cloud.call("POST", "/v3/auth/tokens", {"auth": auth})
    assert status == 201
    assert [role["name"] for role in shown["token"]["roles"]] == ["reader"]
    own = headers["X-Subject-Token"]
    assert cloud.call("POST", path, {"application_credential": {"name": "more"}}, own)[0] == 403
    auth["identity"]["application_credential"]["secret"] = "no"
    assert cloud.call("POST", "/v3/auth/tokens", {"auth": auth})[0] == 401
    assert cloud.call("DELETE", f"{path}/{made['id']}", None, token)[0] == 204
    assert _check(cloud, own) == 404


def test_other_peoples_tokens_are_not_shown(cloud):
    cloud.user("alice")
    token = cloud.login("alice", "pw")
    answer = cloud.call("GET", "/v3/auth/tokens", None, token, x_subject_token=cloud.admin)
    assert answer[0] == 403


@pytest.mark.parametrize(
    ("auth", "status"),
    [
        ({}, 400),
        ({"identity": {"methods": []}}, 401),
        ({"identity": {"methods": ["magic"]}}, 401),
        ({"identity": {"methods": ["password"]}}, 400),
        ({"identity": {"methods": ["token"], "token": {"id": "nonsense"}}}, 404),
        ({"identity": {"methods": ["password"], "password": {"user": {"password": "x"}}}}, 400),
        ([], 400),
    ],
)
def test_malformed_login(cloud, auth, status):
    assert cloud.call("POST", "/v3/auth/tokens", {"auth": auth})[0] == status


@pytest.mark.parametrize("scope", ["project", "domain", "system"])
def test_scope_without_a_role_is_401(cloud, scope):
    cloud.user("alice")
    wanted = {
        "project": {"project": {"id": cloud.project("demo")["id"]}},
        "domain": {"domain": {"id": "default"}},
        "system": {"system": {"all": True}},
    }[scope]
    assert cloud.try_login("alice", "pw", wanted)[0] == 401

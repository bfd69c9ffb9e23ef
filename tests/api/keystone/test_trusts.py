"""Trusts: acting for another user, and only as far as was said."""

from typing import Any

import pytest


class People:
    """A trustor with two roles in a project, and a trustee with none."""

    def __init__(self, cloud: Any) -> None:
        self.cloud = cloud
        self.project = cloud.project("demo")
        self.alice = cloud.user("alice", "manager", self.project["id"])
        self.bob = cloud.user("bob")
        self.carol = cloud.user("carol")
        self.token = cloud.login("alice", "pw", {"project": {"id": self.project["id"]}})

    def trust(self, token: str = "", status: int = 201, **more: Any) -> Any:
        body = {
            "trustor_user_id": self.alice["id"],
            "trustee_user_id": self.bob["id"],
            "project_id": self.project["id"],
            "impersonation": False,
            "roles": [{"name": "member"}],
            **more,
        }
        got = self.cloud.call("POST", "/v3/OS-TRUST/trusts", {"trust": body}, token or self.token)
        assert got[0] == status, got
        return got[1].get("trust")

    def use(self, trust: Any, name: str = "bob") -> Any:
        scope = {"OS-TRUST:trust": {"id": trust["id"]}}
        return self.cloud.try_login(name, "pw", scope)


@pytest.fixture
def people(cloud: Any) -> People:
    return People(cloud)


@pytest.mark.parametrize("impersonation", [False, True])
def test_trustee_gets_the_roles_of_the_trust_only(people, impersonation):
    trust = people.trust(impersonation=impersonation)
    assert trust["roles"][0]["name"] == "member" and trust["expires_at"] is None
    status, body, headers = people.use(trust)
    assert status == 201
    token = body["token"]
    assert {role["name"] for role in token["roles"]} == {"member", "reader"}
    assert token["user"]["name"] == ("alice" if impersonation else "bob")
    assert token["OS-TRUST:trust"]["trustee_user"] == {"id": people.bob["id"]}
    assert token["project"]["id"] == people.project["id"]
    auth = {
        "identity": {"methods": ["token"], "token": {"id": headers["X-Subject-Token"]}},
        "scope": {"project": {"id": people.project["id"]}},
    }
    assert people.cloud.call("POST", "/v3/auth/tokens", {"auth": auth})[0] == 403


def test_nobody_else_can_use_or_see_a_trust(people):
    trust = people.trust()
    assert people.use(trust, "carol")[0] == 403
    project = people.cloud.project("other")
    role = people.cloud.role("member")
    path = f"/v3/projects/{project['id']}/users/{people.carol['id']}/roles/{role}"
    people.cloud.ok("PUT", path)
    carol = people.cloud.login("carol", "pw", {"project": {"id": project["id"]}})
    path = f"/v3/OS-TRUST/trusts/{trust['id']}"
    assert people.cloud.call("GET", path, token=carol)[0] == 403
    assert people.cloud.call("DELETE", path, token=carol)[0] == 403
    assert people.cloud.call("GET", path, token=people.token)[0] == 200


@pytest.mark.parametrize("end", ["delete", "role", "trustor", "password", "trustee"])
def test_token_of_a_trust_ends_with(people, end):
    cloud = people.cloud
    trust = people.trust(impersonation=True)
    token = people.use(trust)[2]["X-Subject-Token"]
    show = ("GET", "/v3/auth/tokens", None, cloud.admin)
    assert cloud.call(*show, x_subject_token=token)[0] == 200
    if end == "delete":
        cloud.ok("DELETE", f"/v3/OS-TRUST/trusts/{trust['id']}", token=people.token)
    elif end == "role":
        role = cloud.role("manager")
        cloud.ok(
            "DELETE",
            f"/v3/projects/{people.project['id']}/users/{people.alice['id']}/roles/{role}",
        )
    elif end == "password":
        cloud.ok("PATCH", f"/v3/users/{people.bob['id']}", {"user": {"password": "new"}})
    else:
        user = people.alice if end == "trustor" else people.bob
        cloud.ok("PATCH", f"/v3/users/{user['id']}", {"user": {"enabled": False}})
    assert cloud.call(*show, x_subject_token=token)[0] == 404


def test_uses_are_counted(people):
    trust = people.trust(remaining_uses=1)
    first = people.use(trust)
    assert first[0] == 201
    assert people.use(trust)[0] == 401
    show = ("GET", "/v3/auth/tokens", None, people.cloud.admin)
    token = first[2]["X-Subject-Token"]
    assert people.cloud.call(*show, x_subject_token=token)[0] == 200


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"roles": [{"name": "admin"}]}, 403),
        ({"roles": []}, 403),
        ({"roles": [{"id": "0" * 32}]}, 404),
        ({"expires_at": "2001-01-01T00:00:00Z"}, 400),
        ({"expires_at": "soon"}, 400),
        ({"remaining_uses": 0}, 400),
        ({"remaining_uses": 2, "allow_redelegation": True}, 400),
        ({"redelegation_count": 9, "allow_redelegation": True}, 403),
        ({"trustee_user_id": "0" * 32}, 404),
        ({"trustor_user_id": "0" * 32}, 403),
    ],
)
def test_trust_that_is_refused(people, more, status):
    people.trust(status=status, **more)


def test_a_trust_is_given_on_only_as_far_as_it_allows(people):
    plain = people.trust(impersonation=True)
    token = people.use(plain)[2]["X-Subject-Token"]
    onward = {"trustee_user_id": people.carol["id"], "impersonation": True}
    people.trust(token, status=403, **onward)
    parent = people.trust(impersonation=True, allow_redelegation=True, redelegation_count=1)
    token = people.use(parent)[2]["X-Subject-Token"]
    people.trust(token, status=403, roles=[{"name": "manager"}], **onward)
    child = people.trust(token, **onward)
    assert child["redelegated_trust_id"] == parent["id"] and child["redelegation_count"] == 0
    status, body, headers = people.use(child, "carol")
    assert status == 201 and body["token"]["user"]["name"] == "alice"
    people.cloud.ok("DELETE", f"/v3/OS-TRUST/trusts/{parent['id']}", token=people.token)
    show = ("GET", "/v3/auth/tokens", None, people.cloud.admin)
    assert people.cloud.call(*show, x_subject_token=headers["X-Subject-Token"])[0] == 404

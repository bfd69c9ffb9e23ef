"""Roles of domains, implied roles, relatives of projects, and what access rules let a token call."""

from typing import Any

import pytest

from gureum.core.context import Context


def _domain(cloud: Any, name: str) -> str:
    return cloud.ok("POST", "/v3/domains", {"domain": {"name": name}})["domain"]["id"]


def _role(cloud: Any, name: str, domain: str | None = None) -> str:
    return cloud.ok("POST", "/v3/roles", {"role": {"name": name, "domain_id": domain}})["role"][
        "id"
    ]


def test_role_of_a_domain_gives_what_it_implies_and_not_its_name(cloud):
    """Else whoever makes a role `admin` in a domain would be one everywhere."""
    project = cloud.project("demo")
    user = cloud.user("alice")
    role = _role(cloud, "admin", "default")
    path = f"/v3/projects/{project['id']}/users/{user['id']}/roles/{role}"
    cloud.ok("PUT", path)
    scope = {"project": {"id": project["id"]}}
    assert cloud.try_login("alice", "pw", scope)[0] == 401
    cloud.ok("PUT", f"/v3/roles/{role}/implies/{cloud.role('member')}")
    shown = cloud.try_login("alice", "pw", scope)[1]["token"]
    assert sorted(one["name"] for one in shown["roles"]) == ["member", "reader"]
    found = cloud.ok("GET", f"/v3/role_assignments?effective&user.id={user['id']}&include_names")
    names = {one["role"]["name"] for one in found["role_assignments"]}
    assert names == {"member", "reader"}


def test_role_of_a_domain_stays_in_it_and_is_implied_by_no_global_one(cloud):
    corp = _domain(cloud, "corp")
    role, user = _role(cloud, "boss", corp), cloud.user("alice")["id"]
    project = cloud.project("demo")["id"]
    base = f"users/{user}/roles/{role}"
    assert cloud.call("PUT", f"/v3/projects/{project}/{base}", token=cloud.admin)[0] == 403
    assert cloud.call("PUT", f"/v3/domains/default/{base}", token=cloud.admin)[0] == 403
    assert cloud.call("PUT", f"/v3/system/{base}", token=cloud.admin)[0] == 400
    assert cloud.call("PUT", f"/v3/domains/{corp}/{base}", token=cloud.admin)[0] == 204
    for prior, status in ((_role(cloud, "prior"), 403), (_role(cloud, "prior", corp), 201)):
        path = f"/v3/roles/{prior}/implies/{role}"
        assert cloud.call("PUT", path, token=cloud.admin)[0] == status


def test_relatives_in_a_list_are_those_one_has_a_role_in(cloud):
    top = cloud.project("top")["id"]
    ids = {}
    for name, parent in (("middle", top), ("left", None), ("right", None)):
        body = {"project": {"name": name, "parent_id": parent or ids["middle"]}}
        ids[name] = cloud.ok("POST", "/v3/projects", body)["project"]["id"]
    user = cloud.user("alice", "member", ids["middle"])["id"]
    role = cloud.role("member")
    cloud.ok("PUT", f"/v3/projects/{ids['left']}/users/{user}/roles/{role}")
    token = cloud.login("alice", "pw", {"project": {"id": ids["middle"]}})
    path = f"/v3/projects/{ids['middle']}"
    shown = cloud.ok("GET", f"{path}?parents_as_list&subtree_as_list", token=token)["project"]
    assert shown["parents"] == []
    assert [one["project"]["id"] for one in shown["subtree"]] == [ids["left"]]
    shown = cloud.ok("GET", f"{path}?parents_as_ids&subtree_as_ids", token=token)["project"]
    assert shown["parents"] == {top: {"default": None}}
    assert shown["subtree"] == {ids["left"]: None, ids["right"]: None}
    both = f"{path}?parents_as_list&parents_as_ids"
    assert cloud.call("GET", both, token=token)[0] == 400


def test_disabled_domain_ends_the_tokens_of_its_users_and_projects(cloud):
    corp = _domain(cloud, "corp")
    body = {"user": {"name": "ann", "password": "pw", "domain_id": corp}}
    ann = cloud.ok("POST", "/v3/users", body)["user"]["id"]
    body = {"project": {"name": "p", "domain_id": corp}}
    project = cloud.ok("POST", "/v3/projects", body)["project"]["id"]
    alice, role = cloud.user("alice")["id"], cloud.role("member")
    for user in (ann, alice):
        cloud.ok("PUT", f"/v3/projects/{project}/users/{user}/roles/{role}")
    scope = {"project": {"id": project}}
    tokens = [cloud.login("ann", "pw", None, corp), cloud.login("alice", "pw", scope)]
    cloud.ok("PATCH", f"/v3/domains/{corp}", {"domain": {"enabled": False}})
    for token in tokens:
        assert cloud.call("GET", "/v3/auth/projects", token=token)[0] == 401
    assert cloud.try_login("alice", "pw", scope)[0] == 401
    assert cloud.try_login("alice", "pw")[0] == 201


# -- access rules ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/v2.1/servers", "GET", True),
        ("/v2.1/servers", "POST", False),
        ("/v2.1/servers/x", "GET", False),
        ("/v2.1/servers/x/ips", "GET", True),
        ("/v2.1/servers/x/y/ips", "GET", False),
        ("/v2.1/images/a/b/c", "GET", True),
        ("/v2.1/flavors/f", "GET", True),
        ("/v2.1/flavors/f/g", "GET", False),
        ("/v2x1/servers", "GET", False),
    ],
)
def test_access_rule_covers_method_and_path(path, method, allowed):
    rules = (
        ("compute", "GET", "/v2.1/servers"),
        ("compute", "GET", "/v2.1/servers/*/ips"),
        ("compute", "GET", "/v2.1/images/**"),
        ("compute", "GET", "/v2.1/flavors/{flavor_id}"),
    )
    ctx = Context("r", access_rules=rules)
    assert ctx.may_call("compute", method, path) is allowed
    assert not ctx.may_call("network", method, path)
    assert Context("r").may_call("network", method, path)
    assert Context("r", access_rules=rules, service_roles=("service",)).may_call("x", "GET", "/y")


def test_token_of_a_limited_credential_calls_only_what_its_rules_name(cloud):
    project = cloud.project("demo")
    user = cloud.user("alice", "member", project["id"])
    token = cloud.login("alice", "pw", {"project": {"id": project["id"]}})
    rules = [{"service": "identity", "method": "GET", "path": "/v3/auth/projects"}]
    body = {"application_credential": {"name": "ci", "access_rules": rules}}
    path = f"/v3/users/{user['id']}/application_credentials"
    made = cloud.ok("POST", path, body, token)["application_credential"]
    secret = {"id": made["id"], "secret": made["secret"]}
    identity = {"methods": ["application_credential"], "application_credential": secret}
    answer = cloud.call("POST", "/v3/auth/tokens", {"auth": {"identity": identity}})
    own = answer[2]["X-Subject-Token"]
    assert cloud.call("GET", "/v3/auth/projects", token=own)[0] == 200
    assert cloud.call("GET", "/v3/auth/domains", token=own)[0] == 401
    assert cloud.call("GET", f"/v3/users/{user['id']}", token=own)[0] == 401
    assert cloud.call("GET", f"/v3/users/{user['id']}", token=token)[0] == 200

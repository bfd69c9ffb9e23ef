"""Who may do what, on every operation that needs a rule."""

from typing import Any

import pytest
from keystone_cloud import Cloud

from gureum.core.spec import PUBLIC, TOKEN
from gureum.keystone.service import SERVICE
from gureum.keystone.store import tables

GUARDED = [op for op in SERVICE.operations if op.policy not in (PUBLIC, TOKEN)]
OPEN_TO_ALL = {
    "identity:list_regions",
    "identity:get_region",
    "identity:get_limit_model",
    "identity:list_limits",
    "identity:list_registered_limits",
    "identity:get_registered_limit",
    "identity:list_credentials",
}


class World:
    """One of everything, none of it the member's, so that every refusal is about something real."""

    def __init__(self, cloud: Any) -> None:
        self.cloud = cloud
        project = cloud.project("demo")
        cloud.user("alice", "member", project["id"])
        self.member = cloud.login("alice", "pw", {"project": {"id": project["id"]}})
        bob, other = cloud.user("bob"), cloud.project("other")
        roles = {name: self._made("role", {"name": name}) for name in ("one", "two")}
        cloud.ok("PUT", f"/v3/roles/{roles['one']}/implies/{roles['two']}")
        role = cloud.role("member")
        cloud.ok("PUT", f"/v3/projects/{other['id']}/users/{bob['id']}/roles/{role}")
        token = cloud.login("bob", "pw", {"project": {"id": other["id"]}})
        service = self._made("service", {"name": "s", "type": "t"})
        endpoint = {"service_id": service, "interface": "public", "url": "http://x"}
        registered = {"service_id": service, "resource_name": "r", "default_limit": 1}
        limit = {
            "service_id": service,
            "resource_name": "r",
            "resource_limit": 1,
            "project_id": other["id"],
        }
        credential = {"type": "cert", "blob": "x", "user_id": bob["id"]}
        access = f"/v3/users/{bob['id']}/application_credentials"
        rules = [{"service": "s", "method": "GET", "path": "/x"}]
        body = {"application_credential": {"name": "a", "access_rules": rules}}
        app = cloud.ok("POST", access, body, token)["application_credential"]
        trust = {
            "trustor_user_id": bob["id"],
            "trustee_user_id": cloud.user("carol")["id"],
            "project_id": other["id"],
            "impersonation": False,
            "roles": [{"name": "member"}],
        }
        group_filters = {"name": "g", "filters": {"interface": "public"}}
        federation = "OS-FEDERATION"
        mapping = {"rules": [{"local": [], "remote": [{"type": "x"}]}]}
        provider = {"auth_url": "http://x", "sp_url": "http://x"}
        self.ids = {
            "project_id": other["id"],
            "user_id": bob["id"],
            "role_id": roles["one"],
            "prior_role_id": roles["one"],
            "implies_role_id": roles["two"],
            "implied_role_id": roles["two"],
            "service_id": service,
            "endpoint_id": self._made("endpoint", endpoint),
            "domain_id": self._made("domain", {"name": "d"}),
            "group_id": self._made("group", {"name": "g"}),
            "region_id": "RegionOne",
            "tag": "x",
            "policy_id": self._made("policy", {"blob": "x", "type": "x"}, "policies"),
            "registered_limit_id": self._several("registered_limits", registered),
            "limit_id": self._several("limits", limit),
            "consumer_id": self._made("consumer", {}, "OS-OAUTH1/consumers"),
            "endpoint_group_id": self._made(
                "endpoint_group", group_filters, "OS-EP-FILTER/endpoint_groups"
            ),
            "mapping_id": self._put("mapping", mapping, f"{federation}/mappings"),
            "sp_id": self._put("service_provider", provider, f"{federation}/service_providers"),
            "idp_id": self._put("identity_provider", {}, f"{federation}/identity_providers"),
            "protocol_id": "p",
            "trust_id": cloud.ok("POST", "/v3/OS-TRUST/trusts", {"trust": trust}, token)["trust"][
                "id"
            ],
            "application_credential_id": app["id"],
            "access_rule_id": app["access_rules"][0]["id"],
            "group": "ldap",
            "option": "url",
        }
        self.ids |= self._delegated(bob["id"], other["id"], role)
        idp = f"{federation}/identity_providers/{self.ids['idp_id']}"
        self._put("protocol", {"mapping_id": "x"}, f"{idp}/protocols", "p")
        self.credential_id = self._made("credential", credential)
        pair = f"/v3/users/{bob['id']}/credentials/OS-EC2"
        self.access = cloud.ok("POST", pair, {"tenant_id": other["id"]}, token)["credential"]

    def _delegated(self, user_id: str, project_id: str, role_id: str) -> dict[str, str]:
        common = {"consumer_id": self.ids["consumer_id"], "project_id": project_id}
        common |= {"encrypted_secret": self.cloud.deps.vault.lock("x"), "user_id": user_id}
        with self.cloud.db.write() as tx:
            tx.insert(tables.request_tokens, id="asked", **common)
            tx.insert(tables.access_tokens, id="given", role_ids=[role_id], **common)
        return {"request_token_id": "asked", "access_token_id": "given"}

    def _made(self, wrap: str, body: Any, path: str = "") -> str:
        path = path or f"{wrap}s"
        return str(self.cloud.ok("POST", f"/v3/{path}", {wrap: body})[wrap]["id"])

    def _several(self, wrap: str, body: Any) -> str:
        return str(self.cloud.ok("POST", f"/v3/{wrap}", {wrap: [body]})[wrap][0]["id"])

    def _put(self, wrap: str, body: Any, path: str, id: str = "x") -> str:
        return str(self.cloud.ok("PUT", f"/v3/{path}/{id}", {wrap: body})[wrap]["id"])

    def path(self, op: Any) -> str:
        path = "/v3" + op.path
        for name in op.params:
            value = self.ids.get(name)
            if name == "credential_id":
                value = self.access["access"] if "OS-EC2" in path else self.credential_id
            assert value is not None, f"the world has no {name}"
            path = path.replace(f"{{{name}}}", value)
        return path

    def body(self, op: Any) -> Any:
        if op.request is None:
            return None
        values = {f.key: self._value(f) for f in op.request.fields.values() if f.required}
        return {op.wrap: values} if op.wrap else values

    def _value(self, field: Any) -> Any:
        known = {
            "tags": ["a"],
            "roles": [{"id": self.ids["role_id"]}],
            "credentials": {"access": "x", "token": "x", "signature": "x"},
            "interface": "public",
            "url": "http://x",
            "auth_url": "http://x",
            "sp_url": "http://x",
            "impersonation": False,
            "rules": [{"local": [], "remote": [{"type": "x"}]}],
            "filters": {"interface": "public"},
            "config": {"ldap": {"url": "ldap://x"}},
            "trustor_user_id": self.ids["user_id"],
            "trustee_user_id": self.ids["user_id"],
            "tenant_id": self.ids["project_id"],
            "user_id": self.ids["user_id"],
            "default_limit": 1,
            "resource_limit": 1,
        }
        if field.key in ("limits", "registered_limits"):
            inner = field.item.struct.fields.values()
            return [{f.key: self._value(f) for f in inner if f.required}]
        return known.get(field.key, "x")


@pytest.fixture(scope="module")
def world(tmp_path_factory: Any) -> World:
    return World(Cloud(tmp_path_factory.mktemp("world")))


@pytest.mark.parametrize("op", GUARDED, ids=lambda op: f"{op.method} {op.path}")
def test_operation_needs_a_token_and_refuses_a_member(world, op):
    path, body = world.path(op), world.body(op)
    assert world.cloud.call(op.method, path, body)[0] == 401
    status = world.cloud.call(op.method, path, body, world.member)[0]
    if op.policy in OPEN_TO_ALL:
        assert status == 200
    else:
        assert status == 403, status


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

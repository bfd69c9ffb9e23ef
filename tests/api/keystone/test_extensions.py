"""Credentials, endpoint filters and policies, domain options, federation objects, limits."""

from typing import Any

import pytest
import sqlalchemy as sa

from gureum.keystone.store import tables


def test_credential_is_stored_encrypted_and_only_its_secret_changes(cloud):
    user = cloud.user("alice")
    body = {"type": "totp", "blob": "very secret", "user_id": user["id"]}
    made = cloud.ok("POST", "/v3/credentials", {"credential": body})["credential"]
    assert made["blob"] == "very secret"
    with cloud.db.read() as tx:
        stored = tx.one(sa.select(tables.credentials)).encrypted_blob
    assert "secret" not in stored
    path = f"/v3/credentials/{made['id']}"
    changed = cloud.ok("PATCH", path, {"credential": {"blob": "other"}})["credential"]
    assert changed["blob"] == "other" and changed["type"] == "totp"
    bad = {"credential": {"user_id": "0" * 32}}
    assert cloud.call("PATCH", path, bad, cloud.admin)[0] == 400
    cloud.ok("DELETE", f"/v3/users/{user['id']}")
    assert cloud.call("GET", path, token=cloud.admin)[0] == 404


def test_ec2_pair_is_a_credential_that_its_access_key_finds(cloud):
    project = cloud.project("demo")
    user = cloud.user("alice", "member", project["id"])
    token = cloud.login("alice", "pw", {"project": {"id": project["id"]}})
    path = f"/v3/users/{user['id']}/credentials/OS-EC2"
    pair = cloud.ok("POST", path, {"tenant_id": project["id"]}, token)["credential"]
    assert cloud.ok("GET", f"{path}/{pair['access']}", token=token)["credential"] == pair
    listed = cloud.ok("GET", "/v3/credentials?type=ec2", token=token)["credentials"]
    assert [item["user_id"] for item in listed] == [user["id"]]
    again = {
        "type": "ec2",
        "blob": f'{{"access": "{pair["access"]}", "secret": "x"}}',
        "user_id": user["id"],
        "project_id": project["id"],
    }
    assert cloud.call("POST", "/v3/credentials", {"credential": again}, token)[0] == 409
    cloud.ok("DELETE", f"{path}/{pair['access']}", token=token)
    assert cloud.call("GET", f"{path}/{pair['access']}", token=token)[0] == 404


def test_catalogue_shows_only_what_a_project_is_tied_to(cloud):
    project = cloud.project("demo")
    cloud.user("alice", "member", project["id"])
    scope = {"project": {"id": project["id"]}}

    def shown() -> list[str]:
        token = cloud.login("alice", "pw", scope)
        catalog = cloud.ok("GET", "/v3/auth/catalog", token=token)["catalog"]
        return sorted(one["interface"] for service in catalog for one in service["endpoints"])

    assert shown() == ["admin", "internal", "public"]
    endpoint = cloud.ok("GET", "/v3/endpoints?interface=admin")["endpoints"][0]
    tie = f"/v3/OS-EP-FILTER/projects/{project['id']}/endpoints/{endpoint['id']}"
    cloud.ok("PUT", tie)
    assert shown() == ["admin"]
    body = {"endpoint_group": {"name": "g", "filters": {"interface": "internal"}}}
    group = cloud.ok("POST", "/v3/OS-EP-FILTER/endpoint_groups", body)["endpoint_group"]
    cloud.ok("PUT", f"/v3/OS-EP-FILTER/endpoint_groups/{group['id']}/projects/{project['id']}")
    assert shown() == ["admin", "internal"]
    cloud.ok("DELETE", tie)
    assert cloud.call("DELETE", tie, token=cloud.admin)[0] == 404
    cloud.ok("DELETE", f"/v3/OS-EP-FILTER/endpoint_groups/{group['id']}")
    assert shown() == ["admin", "internal", "public"]


def test_nearest_policy_counts_for_an_endpoint(cloud):
    endpoint = cloud.ok("GET", "/v3/endpoints")["endpoints"][0]
    service, region = endpoint["service_id"], endpoint["region_id"]
    paths = [f"services/{service}", f"services/{service}/regions/{region}"]
    paths.append(f"endpoints/{endpoint['id']}")
    policy_of = f"/v3/endpoints/{endpoint['id']}/OS-ENDPOINT-POLICY/policy"
    assert cloud.call("GET", policy_of, token=cloud.admin)[0] == 404
    made = []
    for path in paths:
        body = {"policy": {"type": "application/json", "blob": "{}"}}
        policy = cloud.ok("POST", "/v3/policies", body)["policy"]
        made.append((policy["id"], path))
        cloud.ok("PUT", f"/v3/policies/{policy['id']}/OS-ENDPOINT-POLICY/{path}")
        assert cloud.ok("GET", policy_of)["policy"]["id"] == policy["id"]
    id, path = made.pop()
    cloud.ok("DELETE", f"/v3/policies/{id}/OS-ENDPOINT-POLICY/{path}")
    assert cloud.ok("GET", policy_of)["policy"]["id"] == made[-1][0]
    cloud.ok("DELETE", f"/v3/policies/{made[-1][0]}")
    assert cloud.ok("GET", policy_of)["policy"]["id"] == made[0][0]


def test_domain_options_never_show_a_password(cloud):
    domain = cloud.ok("POST", "/v3/domains", {"domain": {"name": "d"}})["domain"]
    path = f"/v3/domains/{domain['id']}/config"
    config = {"ldap": {"url": "ldaps://x", "password": "hidden"}, "identity": {"driver": "ldap"}}
    status, body, _ = cloud.call("PUT", path, {"config": config}, cloud.admin)
    assert status == 201 and body["config"]["ldap"] == {"url": "ldaps://x"}
    assert cloud.call("PUT", path, {"config": config}, cloud.admin)[0] == 200
    changed = {"config": {"url": "ldaps://y"}}
    assert cloud.ok("PATCH", f"{path}/ldap/url", changed)["config"]["ldap"]["url"] == "ldaps://y"
    for bad, expected in (({"nova": {"x": 1}}, 403), ({"ldap": {"x": 1}}, 403), ({}, 400)):
        assert cloud.call("PATCH", path, {"config": bad}, cloud.admin)[0] == expected
    cloud.ok("DELETE", f"{path}/identity")
    assert cloud.call("GET", f"{path}/identity", token=cloud.admin)[0] == 404
    assert cloud.ok("GET", "/v3/domains/config/ldap/url/default")["config"]["url"]


def test_mapping_in_use_stays_and_bad_rules_are_400(cloud):
    mappings, idps = "/v3/OS-FEDERATION/mappings", "/v3/OS-FEDERATION/identity_providers"
    rules = [{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "REMOTE_USER"}]}]
    cloud.ok("PUT", f"{mappings}/m", {"mapping": {"rules": rules}})
    for bad in (
        [],
        [{"local": []}],
        [{"local": [], "remote": [{}]}],
        [{"local": [{"x": 1}], "remote": [{"type": "x"}]}],
        [{"local": [], "remote": [{"type": "x", "any_one_of": ["a"], "whitelist": ["b"]}]}],
    ):
        assert (
            cloud.call("PATCH", f"{mappings}/m", {"mapping": {"rules": bad}}, cloud.admin)[0] == 400
        )
    body = {"identity_provider": {"remote_ids": ["https://idp"], "enabled": True}}
    idp = cloud.ok("PUT", f"{idps}/corp", body)["identity_provider"]
    assert cloud.ok("GET", f"/v3/domains/{idp['domain_id']}")["domain"]["enabled"]
    assert cloud.call("PUT", f"{idps}/twin", body, cloud.admin)[0] == 409
    cloud.ok("PUT", f"{idps}/corp/protocols/openid", {"protocol": {"mapping_id": "m"}})
    assert cloud.call("DELETE", f"{mappings}/m", token=cloud.admin)[0] == 409
    cloud.ok("DELETE", f"{idps}/corp")
    cloud.ok("DELETE", f"{mappings}/m")


def test_limit_needs_a_registered_one_and_is_seen_by_its_project(cloud):
    project = cloud.project("demo")
    cloud.user("alice", "reader", project["id"])
    token = cloud.login("alice", "pw", {"project": {"id": project["id"]}})
    service = cloud.ok("GET", "/v3/services")["services"][0]["id"]
    limit: dict[str, Any] = {
        "project_id": project["id"],
        "service_id": service,
        "resource_name": "servers",
        "resource_limit": 5,
    }
    assert cloud.call("POST", "/v3/limits", {"limits": [limit]}, cloud.admin)[0] == 400
    registered = {"service_id": service, "resource_name": "servers", "default_limit": 10}
    body = {"registered_limits": [registered]}
    made = cloud.ok("POST", "/v3/registered_limits", body)["registered_limits"][0]
    assert cloud.call("POST", "/v3/registered_limits", body, cloud.admin)[0] == 409
    other = {**limit, "project_id": cloud.project("other")["id"]}
    limits = cloud.ok("POST", "/v3/limits", {"limits": [limit, other]})["limits"]
    seen = cloud.ok("GET", "/v3/limits", token=token)["limits"]
    assert [one["project_id"] for one in seen] == [project["id"]]
    for one in limits:
        expected = 200 if one["project_id"] == project["id"] else 403
        assert cloud.call("GET", f"/v3/limits/{one['id']}", token=token)[0] == expected
    path = f"/v3/registered_limits/{made['id']}"
    assert cloud.call("DELETE", path, token=cloud.admin)[0] == 403
    for one in limits:
        cloud.ok("DELETE", f"/v3/limits/{one['id']}")
    cloud.ok("DELETE", path)


@pytest.mark.parametrize("count", [0, 3])
def test_last_passwords_may_not_come_back(cloud, count):
    from dataclasses import replace

    cloud.deps.compliance = replace(cloud.deps.compliance, unique_last_password_count=count)
    user = cloud.user("alice")
    path = f"/v3/users/{user['id']}/password"

    def change(old: str, new: str) -> int:
        return cloud.call("POST", path, {"user": {"original_password": old, "password": new}})[0]

    assert [change("pw", "two"), change("two", "three")] == [204, 204]
    assert change("three", "pw") == (400 if count else 204)
    assert change("wrong", "four") == 401


def test_project_that_is_a_domain(cloud):
    body = {"project": {"name": "d", "is_domain": True}}
    project = cloud.ok("POST", "/v3/projects", body)["project"]
    assert project["is_domain"] and project["domain_id"] is None
    assert cloud.ok("GET", f"/v3/domains/{project['id']}")["domain"]["name"] == "d"
    listed = cloud.ok("GET", "/v3/projects?is_domain=true")["projects"]
    assert project["id"] in {item["id"] for item in listed}
    path = f"/v3/projects/{project['id']}"
    assert cloud.call("DELETE", path, token=cloud.admin)[0] == 403
    cloud.ok("PATCH", path, {"project": {"enabled": False}})
    cloud.ok("DELETE", path)


def test_revocation_is_an_event(cloud):
    user = cloud.user("alice")
    cloud.ok("PATCH", f"/v3/users/{user['id']}", {"user": {"enabled": False}})
    events = cloud.ok("GET", "/v3/OS-REVOKE/events?since=2001-01-01T00:00:00Z")["events"]
    assert events[-1]["user_id"] == user["id"] and "project_id" not in events[-1]
    assert cloud.ok("GET", "/v3/OS-REVOKE/events?since=2100-01-01T00:00:00Z")["events"] == []
    assert cloud.call("GET", "/v3/OS-REVOKE/events?since=never", token=cloud.admin)[0] == 400


def test_federated_paths_list_what_a_token_reaches(cloud):
    found = cloud.ok("GET", "/v3/OS-FEDERATION/projects")["projects"]
    assert "admin" in {item["name"] for item in found}
    assert [item["id"] for item in cloud.ok("GET", "/v3/OS-FEDERATION/domains")["domains"]]

"""Logins through a provider: whom to believe, what a mapping makes of it, browsers, assertions."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from lxml import etree

from gureum.keystone.logic.mapping_engine import GroupName, ProjectRoles, apply, normal

PROXY = "192.0.2.7"
LOGIN = "/v3/OS-FEDERATION/identity_providers/corp/protocols/openid/auth"


# -- the mapping engine ----------------------------------------------------------------------------


def _attributes(**values: str) -> dict[str, list[str]]:
    return {normal(name): text.split(";") for name, text in values.items()}


def _rule(local: list[Any], *remote: Any) -> list[Any]:
    return [{"local": local, "remote": list(remote)}]


USER = [{"user": {"name": "{0}"}}]


@pytest.mark.parametrize(
    ("condition", "value", "fits"),
    [
        ({"any_one_of": ["staff", "boss"]}, "boss;x", True),
        ({"any_one_of": ["staff"]}, "staffer", False),
        ({"any_one_of": ["^staff"], "regex": True}, "staffer", True),
        ({"not_any_of": ["guest"]}, "staff", True),
        ({"not_any_of": ["guest"]}, "staff;guest", False),
        ({"not_any_of": ["gue.*"], "regex": True}, "guest", False),
    ],
)
def test_condition(condition, value, fits):
    rules = _rule(USER, {"type": "NAME"}, {"type": "KIND", **condition})
    found = apply(rules, _attributes(NAME="alice", KIND=value))
    assert (found is not None) == fits
    if found is not None:
        assert found.user == {"name": "alice"}


def test_missing_attribute_fits_no_rule():
    assert apply(_rule(USER, {"type": "NAME"}, {"type": "X"}), _attributes(NAME="alice")) is None


def test_conditions_have_no_place_and_lists_do():
    local = [{"user": {"name": "{0}", "email": "{1}"}}, {"groups": "{2}", "domain": {"id": "d"}}]
    rules = _rule(
        local,
        {"type": "NAME"},
        {"type": "KIND", "any_one_of": ["staff"]},
        {"type": "MAIL"},
        {"type": "GROUPS", "whitelist": ["a", "b"]},
    )
    found = apply(rules, _attributes(NAME="al", KIND="staff", MAIL="al@x", GROUPS="a;b;c"))
    assert found is not None and found.user == {"name": "al", "email": "al@x"}
    assert found.groups == [GroupName("a", {"id": "d"}), GroupName("b", {"id": "d"})]


def test_blacklist_and_group_ids_and_projects():
    local = [
        {"user": {"name": "{0}", "type": "ephemeral"}},
        {"group_ids": "{1}"},
        {"group": {"id": "fixed"}},
        {"projects": [{"name": "of {0}", "roles": [{"name": "member"}]}]},
    ]
    rules = _rule(local, {"type": "NAME"}, {"type": "G", "blacklist": ["^x"], "regex": True})
    found = apply(rules, _attributes(NAME="al", G="one;xtwo"))
    assert found is not None and found.group_ids == ["one", "fixed"]
    assert found.projects == [ProjectRoles("of al", ("member",), None)]


def test_first_user_counts_and_groups_add_up():
    rules = [
        *_rule([{"user": {"name": "{0}"}}, {"group": {"id": "g1"}}], {"type": "NAME"}),
        *_rule([{"user": {"name": "other"}}, {"group": {"id": "g2"}}], {"type": "HTTP_NAME"}),
    ]
    found = apply(rules, _attributes(NAME="alice"))
    assert found is not None and found.user["name"] == "alice" and found.group_ids == ["g1", "g2"]


# -- logins ----------------------------------------------------------------------------------------

RULES = [
    {
        "local": [
            {"user": {"name": "{0}", "email": "{1}"}},
            {"groups": "{2}", "domain": {"name": "Default"}},
        ],
        "remote": [
            {"type": "HTTP_OIDC_SUB"},
            {"type": "HTTP_OIDC_EMAIL"},
            {"type": "HTTP_OIDC_GROUPS"},
        ],
    }
]


def _set_up(cloud: Any, rules: Any = None, **idp: Any) -> dict[str, Any]:
    f = "/v3/OS-FEDERATION"
    cloud.ok("PUT", f"{f}/mappings/m", {"mapping": {"rules": rules or RULES}})
    body = {"remote_ids": ["https://idp.example"], "enabled": True, **idp}
    made = cloud.ok("PUT", f"{f}/identity_providers/corp", {"identity_provider": body})
    protocol = {"mapping_id": "m", "remote_id_attribute": "HTTP_OIDC_ISS"}
    path = f"{f}/identity_providers/corp/protocols/openid"
    cloud.ok("PUT", path, {"protocol": protocol})
    group = cloud.ok("POST", "/v3/groups", {"group": {"name": "devs"}})["group"]
    project = cloud.project("demo")
    role = cloud.role("member")
    cloud.ok("PUT", f"/v3/projects/{project['id']}/groups/{group['id']}/roles/{role}")
    return {"idp": made["identity_provider"], "group": group, "project": project}


HEADERS = {
    "oidc-sub": "alice",
    "oidc-email": "alice@corp.example",
    "oidc-groups": "devs;unknown",
    "oidc-iss": "https://idp.example",
}


def _login(
    cloud: Any, path: str = LOGIN, peer: str = PROXY, method: str = "GET", **headers: str
) -> Any:
    import msgspec

    sent = {**HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    sent = {name: value for name, value in sent.items() if value}
    answer = cloud.send(method, path, headers=sent, peer=peer)
    body = answer.body
    if body.startswith(b"{"):
        body = msgspec.json.decode(body)
    return answer.status, body, dict(answer.headers)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_login_through_a_provider_then_a_scope(cloud, method):
    made = _set_up(cloud)
    status, body, headers = _login(cloud, method=method)
    assert status == 201
    user = body["token"]["user"]
    assert user["name"] == "alice" and user["domain"]["id"] == made["idp"]["domain_id"]
    assert user["OS-FEDERATION"]["identity_provider"] == {"id": "corp"}
    assert user["OS-FEDERATION"]["groups"] == [{"id": made["group"]["id"]}]
    assert body["token"]["methods"] == ["mapped"] and "project" not in body["token"]
    unscoped = headers["X-Subject-Token"]
    reach = cloud.ok("GET", "/v3/OS-FEDERATION/projects", token=unscoped)["projects"]
    assert [one["id"] for one in reach] == [made["project"]["id"]]
    for name in ("mapped", "saml2", "token"):
        auth = {
            "identity": {"methods": [name], name: {"id": unscoped}},
            "scope": {"project": {"id": made["project"]["id"]}},
        }
        status, body, _ = cloud.call("POST", "/v3/auth/tokens", {"auth": auth})
        assert status == 201
        assert sorted(role["name"] for role in body["token"]["roles"]) == ["member", "reader"]
    again = _login(cloud)[1]["token"]["user"]
    assert again["id"] == user["id"]
    assert cloud.ok("GET", f"/v3/users/{user['id']}")["user"]["email"] == "alice@corp.example"


@pytest.mark.parametrize("peer", ["198.51.100.1", "", "local"])
def test_attributes_of_others_than_trusted_proxies_are_not_read(cloud, peer):
    _set_up(cloud)
    assert _login(cloud, peer=peer)[0] == 401


def test_without_trusted_proxies_nobody_logs_in(cloud):
    _set_up(cloud)
    cloud.deps.federation = replace(cloud.deps.federation, trusted_proxies=())
    assert _login(cloud)[0] == 401


def test_headers_without_a_known_beginning_are_no_attributes(cloud):
    rules = _rule([{"user": {"name": "{0}"}}], {"type": "USER_AGENT"})
    _set_up(cloud, rules)
    assert _login(cloud, user_agent="admin")[0] == 401


def test_another_provider_than_that_of_the_path_is_403(cloud):
    _set_up(cloud)
    assert _login(cloud, oidc_iss="https://evil.example")[0] == 403
    assert _login(cloud, oidc_iss="")[0] == 403


def test_disabled_provider_ends_logins_and_their_tokens(cloud):
    _set_up(cloud)
    token = _login(cloud)[2]["X-Subject-Token"]
    path = "/v3/OS-FEDERATION/identity_providers/corp"
    cloud.ok("PATCH", path, {"identity_provider": {"enabled": False}})
    assert _login(cloud)[0] == 403
    assert cloud.call("GET", "/v3/auth/projects", token=token)[0] == 401


def test_disabled_user_cannot_come_through_a_provider(cloud):
    _set_up(cloud)
    user = _login(cloud)[1]["token"]["user"]
    cloud.ok("PATCH", f"/v3/users/{user['id']}", {"user": {"enabled": False}})
    assert _login(cloud)[0] == 401


def test_local_type_is_a_user_that_is_here_already(cloud):
    user = {"name": "{0}", "domain": {"id": "default"}, "type": "local"}
    _set_up(cloud, _rule([{"user": user}], {"type": "OIDC_SUB"}))
    assert _login(cloud)[0] == 401
    alice = cloud.user("alice")
    status, body, _ = _login(cloud)
    assert status == 201 and body["token"]["user"]["id"] == alice["id"]


def test_name_that_is_taken_in_the_domain_does_not_become_that_user(cloud):
    _set_up(cloud, domain_id="default")
    alice = cloud.user("alice")
    user = _login(cloud)[1]["token"]["user"]
    assert user["id"] != alice["id"] and user["name"] != "alice"


def test_projects_of_a_mapping_are_made_with_their_roles(cloud):
    local = [
        {"user": {"name": "{0}"}},
        {"projects": [{"name": "home of {0}", "roles": [{"name": "member"}]}]},
    ]
    made = _set_up(cloud, _rule(local, {"type": "OIDC_SUB"}))
    token = _login(cloud)[2]["X-Subject-Token"]
    found = cloud.ok("GET", "/v3/auth/projects", token=token)["projects"]
    assert [(one["name"], one["domain_id"]) for one in found] == [
        ("home of alice", made["idp"]["domain_id"])
    ]
    assert _login(cloud)[0] == 201


def test_groups_count_beyond_the_token_for_as_long_as_the_provider_says(cloud):
    made = _set_up(cloud, authorization_ttl=30)
    user = _login(cloud)[1]["token"]["user"]
    role = {"project": {"id": made["project"]["id"]}}
    from gureum.keystone.logic import effective

    with cloud.db.read() as tx:
        held = effective.roles_in(tx, user["id"], "p", role["project"]["id"])
    assert [one.name for one in held] == ["member", "reader"]
    _login(cloud, oidc_groups="unknown")
    with cloud.db.read() as tx:
        assert effective.roles_in(tx, user["id"], "p", role["project"]["id"]) == []


def test_clients_name_the_id_again_and_send_null_for_the_default(cloud):
    body = {"id": "m", "rules": RULES, "schema_version": None}
    path = "/v3/OS-FEDERATION/mappings/m"
    assert cloud.ok("PUT", path, {"mapping": body})["mapping"]["schema_version"] == "1.0"
    assert cloud.ok("PATCH", path, {"mapping": body})["mapping"]["schema_version"] == "1.0"


# -- browsers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/v3/auth/OS-FEDERATION/websso/openid",
        "/v3/auth/OS-FEDERATION/identity_providers/corp/protocols/openid/websso",
        "/v3/auth/OS-FEDERATION/identity_providers/corp/protocol/openid/websso",
    ],
)
def test_browser_goes_back_with_a_token_to_trusted_places_only(cloud, path):
    _set_up(cloud)
    status, page, headers = _login(cloud, f"{path}?origin=https://horizon.example/x")
    assert status == 200 and headers["Content-Type"].startswith("text/html")
    form = etree.HTML(page).find(".//form")
    assert form.get("action") == "https://horizon.example/x"
    token = form.find("input").get("value")
    assert cloud.call("GET", "/v3/auth/projects", token=token)[0] == 200
    for origin in ("https://evil.example/x", "https://horizon.example/x/../y", ""):
        assert _login(cloud, f"{path}?origin={origin}")[0] == 401
    assert _login(cloud, path)[0] == 401


def test_browser_of_an_unknown_provider_is_401(cloud):
    _set_up(cloud)
    path = "/v3/auth/OS-FEDERATION/websso/openid?origin=https://horizon.example/x"
    assert _login(cloud, path, oidc_iss="https://evil.example")[0] == 401


# -- this cloud as a provider ----------------------------------------------------------------------

A = "{urn:oasis:names:tc:SAML:2.0:assertion}"
D = "{http://www.w3.org/2000/09/xmldsig#}"


def _assert(cloud: Any, token: str, kind: str = "", sp: str = "other") -> Any:
    import msgspec

    auth = {
        "identity": {"methods": ["token"], "token": {"id": token}},
        "scope": {"service_provider": {"id": sp}},
    }
    body = msgspec.json.encode({"auth": auth})
    path = f"/v3/auth/OS-FEDERATION/saml2{kind}"
    return cloud.send("POST", path, headers={"x-auth-token": token}, body=body)


def _partner(cloud: Any, enabled: bool = True) -> None:
    body = {
        "auth_url": "https://other.example/v3",
        "sp_url": "https://other.example/ecp",
        "enabled": enabled,
    }
    path = "/v3/OS-FEDERATION/service_providers/other"
    cloud.ok("PUT", path, {"service_provider": body})


def _verify(cloud: Any, assertion: Any) -> None:
    """Check an enveloped signature with the certificate of the metadata, by the book."""
    import base64
    import hashlib

    metadata = etree.fromstring(cloud.send("GET", "/v3/OS-FEDERATION/saml2/metadata").body)
    text = metadata.find(f".//{D}X509Certificate").text
    certificate = x509.load_der_x509_certificate(base64.b64decode(text))
    signature = assertion.find(f"{D}Signature")
    info = etree.tostring(signature.find(f"{D}SignedInfo"), method="c14n", exclusive=True)
    value = base64.b64decode(signature.find(f"{D}SignatureValue").text)
    certificate.public_key().verify(value, info, padding.PKCS1v15(), hashes.SHA256())
    wanted = signature.find(f".//{D}DigestValue").text
    assert signature.find(f".//{D}Reference").get("URI") == "#" + assertion.get("ID")
    assertion.remove(signature)
    found = hashlib.sha256(etree.tostring(assertion, method="c14n", exclusive=True)).digest()
    assert base64.b64encode(found).decode() == wanted


def test_assertion_is_signed_and_says_who_in_which_project(cloud):
    _partner(cloud)
    answer = _assert(cloud, cloud.admin)
    assert answer.status == 200
    assert dict(answer.headers)["X-sp-url"] == "https://other.example/ecp"
    root = etree.fromstring(answer.body)
    assertion = root.find(f"{A}Assertion")
    found = {
        attribute.get("Name"): [value.text for value in attribute]
        for attribute in assertion.iter(f"{A}Attribute")
    }
    assert found["openstack_user"] == ["admin"] and found["openstack_project"] == ["admin"]
    assert "member" in found["openstack_roles"]
    _verify(cloud, assertion)


def test_changed_assertion_does_not_verify(cloud):
    _partner(cloud)
    assertion = etree.fromstring(_assert(cloud, cloud.admin).body).find(f"{A}Assertion")
    assertion.find(f".//{A}NameID").text = "root"
    with pytest.raises(AssertionError):
        _verify(cloud, assertion)


def test_assertion_for_enhanced_clients_is_wrapped(cloud):
    _partner(cloud)
    answer = _assert(cloud, cloud.admin, "/ecp")
    root = etree.fromstring(answer.body)
    assert root.tag == "{http://schemas.xmlsoap.org/soap/envelope/}Envelope"
    assert root.find(".//{urn:oasis:names:tc:SAML:2.0:profiles:SSO:ecp}RelayState").text[:7] == (
        "ss:mem:"
    )
    _verify(cloud, root.find(f".//{A}Assertion"))


def test_assertion_needs_a_project_an_enabled_partner_and_a_provider(cloud):
    assert _assert(cloud, cloud.admin).status == 404
    _partner(cloud, enabled=False)
    assert _assert(cloud, cloud.admin).status == 403
    assert _assert(cloud, cloud.login("admin", "secret")).status == 403
    cloud.deps.saml.options = replace(cloud.deps.saml.options, idp_entity_id="")
    assert _assert(cloud, cloud.admin).status == 404
    assert cloud.send("GET", "/v3/OS-FEDERATION/saml2/metadata").status == 404


def test_token_shows_enabled_service_providers(cloud):
    _partner(cloud)
    token = cloud.login("admin", "secret", {"system": {"all": True}})
    shown = cloud.call("GET", "/v3/auth/tokens", token=token, x_subject_token=token)[1]["token"]
    assert [one["id"] for one in shown["service_providers"]] == ["other"]


def test_policy_that_counts_somewhere_is_shown(cloud):
    body = {"policy": {"type": "application/json", "blob": "{}"}}
    policy = cloud.ok("POST", "/v3/policies", body)["policy"]["id"]
    path = f"/v3/policies/{policy}/OS-ENDPOINT-POLICY"
    assert cloud.call("GET", f"{path}/policy", token=cloud.admin)[0] == 404
    assert cloud.call("HEAD", f"{path}/policy", token=cloud.admin)[0] == 404
    service = cloud.ok("GET", "/v3/services")["services"][0]["id"]
    cloud.ok("PUT", f"{path}/services/{service}")
    assert cloud.ok("GET", f"{path}/policy")["policy"]["id"] == policy
    assert cloud.call("HEAD", f"{path}/policy", token=cloud.admin)[0] == 200

"""Abuse of tokens and identity, over HTTP: each test is named after the number of its case.

The cases stand in the list of weaknesses that services of this kind have had.
"""

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from listening_cloud import (
    BOUND_S,
    Listening,
    by_credential,
    by_token,
    in_project,
    password,
)
from oauthlib import oauth1

from gureum.core.http.edge import App, Pools
from gureum.core.http.messages import Response
from gureum.keystone.logic import ec2


@pytest.fixture(scope="module")
def live(tmp_path_factory: Any) -> Iterator[Listening]:
    cloud = Listening(tmp_path_factory.mktemp("cloud"))
    yield cloud
    cloud.close()


@pytest.fixture
def member(live: Listening) -> dict[str, Any]:
    """A user with the role member in a project, and a token there."""
    project = live.project()
    user = live.user(project, "member")
    return {**user, "project": project, "token": live.token(password(user), in_project(project))}


def _app_credential(live: Listening, user: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = {"application_credential": {"name": live.name("app"), **more}}
    path = f"/users/{user['id']}/application_credentials"
    made: dict[str, Any] = live.ok("POST", path, body, user["token"])["application_credential"]
    return made


def _until(true: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


# -- 15: headers that only a service's own check may set --------------------------------------------

FORGED = {
    "x-roles": "admin",
    "x-user-roles": "admin",
    "x-role": "admin",
    "x-user-id": "0" * 32,
    "x-project-id": "0" * 32,
    "x-tenant-id": "0" * 32,
    "x-identity-status": "Confirmed",
    "x-service-roles": "service",
    "x-is-admin-project": "True",
    "openstack-system-scope": "all",
}


def test_abuse_15_forged_roles_give_nobody_a_role(live: Listening, member: Any) -> None:
    for url in (
        "/users",
        "/credentials?type=ec2&user_id=x",
        f"{live.placement}/resource_providers",
    ):
        assert live.http.get(_whole(live, url), headers=FORGED).status_code == 401
    for url in ("/users", f"{live.placement}/resource_providers"):
        sent = {**FORGED, "x-auth-token": member["token"]}
        assert live.http.get(_whole(live, url), headers=sent).status_code == 403


def _whole(live: Listening, url: str) -> str:
    return url if url.startswith("http") else live.cloud.auth_url + url


def test_abuse_15_forged_headers_end_at_the_edge() -> None:
    """No handler of any service sees them, whatever it would do with them."""
    seen: list[dict[str, str]] = []

    class Dispatcher:
        def needs(self, request: Any) -> Any:
            return type("Needs", (), {"at_once": True, "upload": False, "slow": False})()

        def handle(self, request: Any) -> Response:
            seen.append(dict(request.headers))
            return Response(200, [], b"{}")

    async def ask() -> None:
        pools = Pools(1, 1)
        transport = httpx.ASGITransport(App(Dispatcher(), pools))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport) as client:
            sent = {**FORGED, "X-ROLES": "admin", "x-auth-token": "t"}
            assert (await client.get("http://x/", headers=sent)).status_code == 200
        pools.close()

    asyncio.run(ask())
    names = ("x-roles", "x-user-roles", "x-user-id", "x-project-id", "x-identity-status")
    assert seen[0]["x-auth-token"] == "t"
    assert [name for name in names if name in seen[0]] == []


def test_abuse_15_attributes_of_a_provider_are_taken_from_its_web_server_only(
    live: Listening,
) -> None:
    """Who asks Keystone past the web server in front cannot say who it is."""
    rules = [{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "HTTP_OIDC_SUB"}]}]
    f = "/OS-FEDERATION"
    live.ok("PUT", f"{f}/mappings/m", {"mapping": {"rules": rules}})
    live.ok("PUT", f"{f}/identity_providers/corp", {"identity_provider": {"enabled": True}})
    way = f"{f}/identity_providers/corp/protocols/openid"
    live.ok("PUT", way, {"protocol": {"mapping_id": "m"}})
    forged = {"oidc_sub": "admin", "oidc-sub": "admin", "remote_user": "admin"}
    answer = live.http.post(f"{live.cloud.auth_url}{way}/auth", headers=forged)
    assert answer.status_code == 401 and "x-subject-token" not in answer.headers
    forged["x-forwarded-for"] = "192.0.2.7"
    answer = live.http.post(f"{live.cloud.auth_url}{way}/auth", headers=forged)
    assert answer.status_code == 401


# -- 16: revocation ---------------------------------------------------------------------------------


def test_abuse_16_revoking_a_token_ends_those_that_were_made_of_it(
    live: Listening, member: Any
) -> None:
    first = member["token"]
    second = live.token(by_token(first), in_project(member["project"]))
    third = live.token(by_token(second), "unscoped")
    assert [live.check(token) for token in (first, second, third)] == [200] * 3
    assert live.ask("DELETE", "/auth/tokens", None, first, x_subject_token=first).is_success
    assert [live.check(token) for token in (first, second, third)] == [404] * 3
    for token in (first, second, third):
        assert live.ask("GET", "/auth/projects", None, token).status_code == 401
        assert live.login(by_token(token)).status_code in (401, 404)


def test_abuse_16_other_services_forget_a_revoked_token_within_the_stated_time(
    live: Listening, member: Any
) -> None:
    token, url = member["token"], f"{live.placement}/usages?project_id={member['project']}"

    def asked() -> int:
        return live.ask("GET", url, None, token, openstack_api_version="placement 1.9").status_code

    assert asked() == asked() == 200  # the second is answered from memory
    live.ok(
        "DELETE", f"/projects/{member['project']}/users/{member['id']}/roles/{live.role('member')}"
    )
    assert live.check(token) == 404
    _until(lambda: asked() == 401, BOUND_S + 5)
    assert asked() == 401


def test_abuse_16_a_revoked_token_has_no_other_spelling(live: Listening, member: Any) -> None:
    token = member["token"]
    live.ask("DELETE", "/auth/tokens", None, token, x_subject_token=token)
    for other in (token + "=", token + "==", token + "=" * (-len(token) % 4), token.rstrip("=")):
        assert live.check(other) == 404
        answer = live.ask("GET", f"{live.placement}/resource_providers", None, other)
        assert answer.status_code == 401


# -- 17: life ---------------------------------------------------------------------------------------


def test_abuse_17_no_chain_of_tokens_outlives_its_first(live: Listening, member: Any) -> None:
    until = (datetime.now(UTC) + timedelta(minutes=10)).replace(microsecond=0)
    made = _app_credential(live, member, expires_at=until.strftime("%Y-%m-%dT%H:%M:%S.000000"))
    token = live.token(by_credential(made))
    for _ in range(3):
        answer = live.login(by_token(token), in_project(member["project"]))
        token = answer.headers["x-subject-token"]
        ends = datetime.fromisoformat(answer.json()["token"]["expires_at"])
        assert ends <= until
    assert live.check(token) == 200


# -- 18: disabled and deleted -----------------------------------------------------------------------


@pytest.mark.parametrize("what", ["disable user", "delete user", "disable project", "new password"])
def test_abuse_18_tokens_end_with_their_user_or_project(
    live: Listening, member: Any, what: str
) -> None:
    user, project, token = member["id"], member["project"], member["token"]
    assert live.check(token) == 200
    off = {"enabled": False}
    if what == "disable user":
        live.ok("PATCH", f"/users/{user}", {"user": off})
    elif what == "delete user":
        live.ok("DELETE", f"/users/{user}")
    elif what == "disable project":
        live.ok("PATCH", f"/projects/{project}", {"project": off})
    else:
        live.ok("PATCH", f"/users/{user}", {"user": {"password": "another"}})
    assert live.check(token) == 404
    assert live.ask("GET", "/auth/projects", None, token).status_code == 401
    assert live.login(by_token(token)).status_code in (401, 404)
    assert live.login(password(member), in_project(project)).status_code == 401


def test_abuse_18_tokens_end_with_their_domain(live: Listening) -> None:
    domain = live.ok("POST", "/domains", {"domain": {"name": live.name("domain")}})["domain"]["id"]
    project = live.project()
    user = live.user(project, "member", domain_id=domain)
    token = live.token(password(user), in_project(project))
    live.ok("PATCH", f"/domains/{domain}", {"domain": {"enabled": False}})
    assert live.check(token) == 404
    assert live.login(password(user), in_project(project)).status_code == 401


@pytest.mark.parametrize("word", ["False", "false", "FALSE", "no", "0", 0, ""])
def test_abuse_18_a_word_for_false_does_not_enable(live: Listening, word: Any) -> None:
    user = live.user()
    answer = live.ask("PATCH", f"/users/{user['id']}", {"user": {"enabled": word}}, live.admin)
    enabled = live.ok("GET", f"/users/{user['id']}")["user"]["enabled"]
    assert answer.status_code == 400 or enabled is False
    body = {"user": {"name": live.name("user"), "password": "pw", "enabled": word}}
    answer = live.ask("POST", "/users", body, live.admin)
    if answer.is_success:
        assert answer.json()["user"]["enabled"] is False
        assert live.login(password(answer.json()["user"])).status_code == 401


# -- 19: EC2 key pairs ------------------------------------------------------------------------------


def _pair(live: Listening, user: dict[str, Any]) -> dict[str, Any]:
    path = f"/users/{user['id']}/credentials/OS-EC2"
    body = {"tenant_id": user["project"]}
    made: dict[str, Any] = live.ok("POST", path, body, user["token"])["credential"]
    return made


def _signed(pair: dict[str, Any], age_s: float = 0.0) -> dict[str, Any]:
    """Return a request that was signed with a pair, as services hand it to Keystone."""
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - age_s))
    scope = f"{date[:8]}/RegionOne/ec2/aws4_request"
    parts = {"Credential": f"{pair['access']}/{scope}", "SignedHeaders": "host;x-amz-date"}
    text = ", ".join(f"{name}={value}" for name, value in parts.items())
    host = "cloud.example:8788"
    signed: dict[str, Any] = {
        "access": pair["access"],
        "verb": "POST",
        "host": host,
        "path": "/",
        "params": {},
        "headers": {"Host": host, "X-Amz-Date": date, "Authorization": f"AWS4-HMAC-SHA256 {text}"},
        "body_hash": hashlib.sha256(b"").hexdigest(),
    }
    return {**signed, "signature": ec2.v4(pair["secret"], signed, parts)}


def _ec2_token(live: Listening, pair: dict[str, Any], age_s: float = 0.0) -> httpx.Response:
    return live.ask("POST", "/ec2tokens", {"credentials": _signed(pair, age_s)}, live.admin)


def test_abuse_19_signed_request_counts_for_minutes_only(live: Listening, member: Any) -> None:
    pair = _pair(live, member)
    assert _ec2_token(live, pair).status_code == 200
    assert _ec2_token(live, pair, 1200).status_code == 401
    assert _ec2_token(live, pair, -1200).status_code == 401


def test_abuse_19_only_services_have_signatures_checked(live: Listening, member: Any) -> None:
    pair = _pair(live, member)
    for path in ("/ec2tokens", "/s3tokens"):
        body = {"credentials": {**_signed(pair), "token": "eA=="}}
        assert live.ask("POST", path, body).status_code == 401
        assert live.ask("POST", path, body, "nonsense").status_code == 401
        assert live.ask("POST", path, body, member["token"]).status_code == 403


def test_abuse_19_a_key_pair_does_not_change_hands(live: Listening, member: Any) -> None:
    other, project = live.user(), live.project()
    pair = _pair(live, member)
    path = f"/credentials/{hashlib.sha256(pair['access'].encode()).hexdigest()}"
    for change in ({"user_id": other["id"]}, {"project_id": project}, {"type": "totp"}):
        for token in (member["token"], live.admin):
            answer = live.ask("PATCH", path, {"credential": change}, token)
            assert answer.status_code in (400, 403)
    body = {"type": "ec2", "blob": '{"access": "a", "secret": "s"}', "project_id": project}
    body["user_id"] = other["id"]
    answer = live.ask("POST", "/credentials", {"credential": body}, member["token"])
    assert answer.status_code == 403


def test_abuse_19_a_key_pair_reaches_no_project_that_its_user_does_not(
    live: Listening, member: Any
) -> None:
    blob = {"access": live.name("access"), "secret": "s"}
    body = {"type": "ec2", "blob": json.dumps(blob), "project_id": live.project()}
    body["user_id"] = member["id"]
    live.ok("POST", "/credentials", {"credential": body}, member["token"])
    assert _ec2_token(live, blob).status_code == 401


@pytest.mark.parametrize("key", ["app_cred_id", "trust_id", "access_token_id"])
def test_abuse_19_a_key_pair_cannot_name_what_it_stands_for(
    live: Listening, member: Any, key: str
) -> None:
    """Else its owner would become whoever the named credential or trust belongs to."""
    victim = live.user(member["project"], "manager")
    victim["token"] = live.token(password(victim), in_project(member["project"]))
    if key == "app_cred_id":
        named = _app_credential(live, victim)["id"]
    else:
        named = _trust(live, {**victim, "project": member["project"]}, member, "manager")["id"]
    blob = {"access": live.name("access"), "secret": "s"}
    body = {"type": "ec2", "project_id": member["project"], "user_id": member["id"]}
    forged = {**body, "blob": json.dumps({**blob, key: named})}
    answer = live.ask("POST", "/credentials", {"credential": forged}, member["token"])
    assert answer.status_code == 400
    made = live.ok(
        "POST", "/credentials", {"credential": {**body, "blob": json.dumps(blob)}}, member["token"]
    )["credential"]
    change = {"credential": {"blob": forged["blob"]}}
    assert (
        live.ask("PATCH", f"/credentials/{made['id']}", change, member["token"]).status_code == 400
    )
    assert _ec2_token(live, blob).json()["token"]["user"]["id"] == member["id"]


def test_abuse_19_restricted_application_credential_makes_and_reads_no_secret(
    live: Listening, member: Any
) -> None:
    live.ok(
        "PUT", f"/projects/{member['project']}/users/{member['id']}/roles/{live.role('manager')}"
    )
    member["token"] = live.token(password(member), in_project(member["project"]))
    pair = _pair(live, member)
    made = _app_credential(live, member, roles=[{"name": "reader"}])
    token = live.token(by_credential(made))
    ours = f"/users/{member['id']}"
    blob = '{"access": "chosen", "secret": "s"}'
    totp = {"type": "totp", "blob": "GEZDGNBVGY3TQOJQ", "user_id": member["id"]}
    key = {"type": "ec2", "blob": blob, "user_id": member["id"], "project_id": member["project"]}
    id = hashlib.sha256(pair["access"].encode()).hexdigest()
    for method, path, body in (
        ("POST", f"{ours}/credentials/OS-EC2", {"tenant_id": member["project"]}),
        ("POST", "/credentials", {"credential": key}),
        ("POST", "/credentials", {"credential": totp}),
        ("POST", f"{ours}/application_credentials", {"application_credential": {"name": "x"}}),
        ("GET", f"{ours}/credentials/OS-EC2/{pair['access']}", None),
        ("GET", f"/credentials/{id}", None),
        ("PATCH", f"/credentials/{id}", {"credential": {"blob": blob}}),
        ("DELETE", f"{ours}/credentials/OS-EC2/{pair['access']}", None),
        ("DELETE", f"/credentials/{id}", None),
    ):
        assert live.ask(method, path, body, token).status_code == 403, (method, path)
    for path in ("/credentials", f"{ours}/credentials/OS-EC2"):
        assert live.ok("GET", path, token=token)["credentials"] == []
    assert _ec2_token(live, pair).status_code == 200


# -- 20: trusts -------------------------------------------------------------------------------------


def _trust(
    live: Listening, trustor: dict[str, Any], trustee: dict[str, Any], role: str, **more: Any
) -> dict[str, Any]:
    body = {
        "trustor_user_id": trustor["id"],
        "trustee_user_id": trustee["id"],
        "project_id": trustor["project"],
        "impersonation": True,
        "roles": [{"name": role}],
        **more,
    }
    made: dict[str, Any] = live.ok("POST", "/OS-TRUST/trusts", {"trust": body}, trustor["token"])
    return dict(made["trust"])


@pytest.fixture
def trusted(live: Listening, member: Any) -> dict[str, Any]:
    """A token by which the trustee acts as a manager who trusted him as reader in one of two projects."""
    project, second = live.project(), live.project()
    trustor = live.user(project, "manager")
    live.ok("PUT", f"/projects/{second}/users/{trustor['id']}/roles/{live.role('manager')}")
    trustor |= {"project": project, "token": live.token(password(trustor), in_project(project))}
    trust = _trust(live, trustor, member, "reader")
    scope = {"OS-TRUST:trust": {"id": trust["id"]}}
    token = live.token(password(member), scope)
    return {"token": token, "trustor": trustor, "trust": trust, "project": project, "other": second}


def test_abuse_20_token_of_a_trust_becomes_no_other_token(live: Listening, trusted: Any) -> None:
    token = trusted["token"]
    for scope in (None, "unscoped", in_project(trusted["project"]), in_project(trusted["other"])):
        assert live.login(by_token(token), scope).status_code == 403
    both = {**in_project(trusted["other"]), "OS-TRUST:trust": {"id": trusted["trust"]["id"]}}
    assert live.login(password(trusted["trustor"]), both).status_code == 400


def test_abuse_20_token_of_a_trust_gives_no_more_than_it_has(live: Listening, trusted: Any) -> None:
    token, trustor = trusted["token"], trusted["trustor"]
    ours = f"/users/{trustor['id']}"
    wider = {
        "trustor_user_id": trustor["id"],
        "trustee_user_id": trusted["trust"]["trustee_user_id"],
        "project_id": trusted["project"],
        "impersonation": True,
        "roles": [{"name": "manager"}],
    }
    totp = {"type": "totp", "blob": "GEZDGNBVGY3TQOJQ", "user_id": trustor["id"]}
    for method, path, body in (
        ("POST", "/OS-TRUST/trusts", {"trust": {**wider, "roles": [{"name": "reader"}]}}),
        ("POST", "/OS-TRUST/trusts", {"trust": wider}),
        ("POST", "/OS-TRUST/trusts", {"trust": {**wider, "project_id": trusted["other"]}}),
        ("POST", f"{ours}/application_credentials", {"application_credential": {"name": "x"}}),
        ("POST", "/credentials", {"credential": totp}),
    ):
        assert live.ask(method, path, body, token).status_code == 403, (path, body)


def test_abuse_20_key_pair_of_a_trust_is_no_wider_than_the_trust(
    live: Listening, trusted: Any
) -> None:
    trustor, trustee = trusted["trustor"], {"id": trusted["trust"]["trustee_user_id"]}
    trust = _trust(live, trustor, trustee, "member")
    token = live.token(password(trustee), {"OS-TRUST:trust": {"id": trust["id"]}})
    wide = _pair(live, trustor)
    pair = _pair(live, {**trustor, "token": token})
    shown = _ec2_token(live, pair).json()["token"]
    assert [role["name"] for role in shown["roles"]] == ["member", "reader"]
    assert shown["OS-TRUST:trust"]["id"] == trust["id"]
    path = f"/users/{trustor['id']}/credentials/OS-EC2"
    listed = live.ok("GET", path, token=token)["credentials"]
    assert [one["access"] for one in listed] == [pair["access"]]
    answer = live.ask("GET", f"{path}/{wide['access']}", None, token)
    assert answer.status_code == 403


# -- 21: lists of credentials -----------------------------------------------------------------------


def test_abuse_21_nobody_sees_the_credentials_of_others(live: Listening, member: Any) -> None:
    project = live.project()
    other = live.user(project, "manager")
    other |= {"project": project, "token": live.token(password(other), in_project(project))}
    theirs, mine = _pair(live, other), _pair(live, member)
    id = hashlib.sha256(theirs["access"].encode()).hexdigest()
    tokens = [member["token"], live.token(password(member), "unscoped")]
    for token in tokens:
        for query in ("", f"?user_id={other['id']}", "?type=ec2"):
            answer = live.ask("GET", f"/credentials{query}", None, token)
            assert theirs["secret"] not in answer.text
            if answer.is_success:
                owners = {one["user_id"] for one in answer.json()["credentials"]}
                assert owners <= {member["id"]}
        assert live.ask("GET", f"/credentials/{id}", None, token).status_code in (403, 404)
        path = f"/users/{other['id']}/credentials/OS-EC2"
        assert live.ask("GET", path, None, token).status_code == 403
    assert mine["secret"] in live.ask("GET", "/credentials", None, member["token"]).text
    assert theirs["secret"] in live.ask("GET", "/credentials", None, live.admin).text


# -- 22: lockout ------------------------------------------------------------------------------------


def test_abuse_22_lockout_does_not_tell_names(live: Listening) -> None:
    there = live.user()["name"]
    answers: dict[str, list[Any]] = {there: [], "nobody-has-this-name": []}
    for name, seen in answers.items():
        user = {"name": name, "domain": {"id": "default"}, "password": "wrong"}
        for _ in range(6):
            answer = live.login({"methods": ["password"], "password": {"user": user}})
            kept = {
                k: v for k, v in answer.headers.items() if "request-id" not in k and k != "date"
            }
            seen.append((answer.status_code, answer.text.replace(name, ""), kept))
    first, second = answers.values()
    assert first == second and first[0][0] == 401 and len({str(one) for one in first}) == 1
    user = {"name": there, "domain": {"id": "default"}, "password": "pw"}
    answer = live.login({"methods": ["password"], "password": {"user": user}})
    assert answer.status_code == 401 and answer.text == first[0][1], "locked, and says so to nobody"


# -- 23: OAuth1 -------------------------------------------------------------------------------------


def _oauth1(live: Listening, made: dict[str, Any], path: str, **more: Any) -> dict[str, str]:
    client = oauth1.Client(made["id"], client_secret=made["secret"], **more)
    _, headers, _ = client.sign(live.cloud.auth_url + path, http_method="POST")
    return {"authorization": headers["Authorization"]}


def _form(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 201, answer.text
    return dict(part.split("=") for part in answer.text.split("&"))


def test_abuse_23_access_token_has_the_authorized_roles_and_makes_nothing_wider(
    live: Listening,
) -> None:
    project = live.project()
    owner = live.user(project, "manager")
    token = live.token(password(owner), in_project(project))
    made = live.ok("POST", "/OS-OAUTH1/consumers", {"consumer": {}})["consumer"]
    path = "/OS-OAUTH1/request_token"
    url = live.cloud.auth_url
    sent = {**_oauth1(live, made, path), "requested-project-id": project}
    asked = _form(live.http.post(url + path, headers=sent))
    roles = {"roles": [{"id": live.role("reader")}]}
    way = f"/OS-OAUTH1/authorize/{asked['oauth_token']}"
    verifier = live.ok("PUT", way, roles, token)["token"]["oauth_verifier"]
    path = "/OS-OAUTH1/access_token"
    own = {
        "resource_owner_key": asked["oauth_token"],
        "resource_owner_secret": asked["oauth_token_secret"],
    }
    sent = _oauth1(live, made, path, verifier=verifier, **own)
    access = _form(live.http.post(url + path, headers=sent))
    path = "/auth/tokens"
    own = {
        "resource_owner_key": access["oauth_token"],
        "resource_owner_secret": access["oauth_token_secret"],
    }
    body = {"auth": {"identity": {"methods": ["oauth1"], "oauth1": {}}}}
    answer = live.http.post(url + path, json=body, headers=_oauth1(live, made, path, **own))
    assert [role["name"] for role in answer.json()["token"]["roles"]] == ["reader"]
    limited = answer.headers["x-subject-token"]
    shown = live.ask("GET", "/auth/tokens", None, live.admin, x_subject_token=limited).json()
    assert [role["name"] for role in shown["token"]["roles"]] == ["reader"]
    pair = {"tenant_id": project}
    for method, way, wanted in (
        ("POST", f"/users/{owner['id']}/credentials/OS-EC2", pair),
        ("POST", f"/users/{owner['id']}/application_credentials", _named("x")),
    ):
        assert live.ask(method, way, wanted, limited).status_code == 403
    assert live.login(by_token(limited), in_project(project)).status_code == 403


def _named(name: str) -> dict[str, Any]:
    return {"application_credential": {"name": name}}


# -- 24: requests that cost much --------------------------------------------------------------------


@pytest.fixture
def hashes(live: Listening, monkeypatch: Any) -> list[str]:
    """What was hashed, by the length of the password."""
    hasher = live.keystone.dispatcher.deps.hasher
    done: list[str] = []
    real = hasher._matches
    monkeypatch.setattr(hasher, "_matches", lambda h, p: (done.append(p), real(h, p))[1])
    return done


def test_abuse_24_huge_password_is_not_hashed(
    live: Listening, member: Any, hashes: list[str]
) -> None:
    assert live.login(password(member, "x" * 900_000)).status_code == 401
    assert hashes == []
    body = {"user": {"name": live.name("user"), "password": "x" * 900_000}}
    assert live.ask("POST", "/users", body, live.admin).status_code == 400
    path = f"/users/{member['id']}/password"
    body = {"user": {"password": "x" * 900_000, "original_password": "pw"}}
    assert live.ask("POST", path, body, member["token"]).status_code == 400
    assert live.login(password(member, "x" * 2_000_000)).status_code == 413
    assert live.login(password(member)).status_code == 201


def test_abuse_24_a_method_named_ten_thousand_times_is_proven_once(
    live: Listening, member: Any, hashes: list[str]
) -> None:
    identity = {**password(member), "methods": ["password"] * 10_000}
    assert live.login(identity).status_code == 201
    assert len(hashes) == 1
    identity = {**by_token(member["token"]), "methods": ["token"] * 10_000}
    answer = live.login(identity)
    assert answer.status_code == 201 and answer.json()["token"]["methods"] == ["password", "token"]

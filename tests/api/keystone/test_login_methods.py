"""Passcodes, rules about several methods, OAuth1, OAuth2, signed requests."""

import base64
import hashlib
import json
import time
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from oauthlib import oauth1

from gureum.core.http.messages import BodyStream
from gureum.keystone.logic import ec2, totp

SECRET = b"12345678901234567890"


def test_passcodes_are_those_of_rfc_6238():
    """The reference's table has eight digits; the last six are the same."""
    for seconds, wanted in ((59, "287082"), (1111111109, "081804"), (20000000000, "353130")):
        assert totp.passcode(SECRET, seconds // 30) == wanted


def _with_totp(cloud: Any, options: dict[str, Any] | None = None) -> dict[str, Any]:
    user = cloud.user("alice")
    blob = base64.b32encode(SECRET).decode()
    body = {"type": "totp", "blob": blob, "user_id": user["id"]}
    cloud.ok("POST", "/v3/credentials", {"credential": body})
    if options:
        cloud.ok("PATCH", f"/v3/users/{user['id']}", {"user": {"options": options}})
    return user


def _code(windows_ago: int = 0) -> str:
    return totp.passcode(SECRET, int(time.time()) // 30 - windows_ago)


def _login(cloud: Any, *methods: str, code: str = "", password: str = "pw", **headers: str) -> Any:
    who = {"name": "alice", "domain": {"id": "default"}}
    identity: dict[str, Any] = {"methods": list(methods)}
    if "password" in methods:
        identity["password"] = {"user": {**who, "password": password}}
    if "totp" in methods:
        identity["totp"] = {"user": {**who, "passcode": code}}
    return cloud.call("POST", "/v3/auth/tokens", {"auth": {"identity": identity}}, **headers)


def test_passcode_logs_in_once(cloud):
    _with_totp(cloud)
    code = _code()
    status, body, _ = _login(cloud, "totp", code=code)
    assert status == 201 and body["token"]["methods"] == ["totp"]
    assert _login(cloud, "totp", code=code)[0] == 401
    assert _login(cloud, "totp", code="000000" if code != "000000" else "1")[0] == 401


def test_passcode_of_the_window_before_counts_and_older_ones_do_not(cloud):
    _with_totp(cloud)
    assert _login(cloud, "totp", code=_code(3))[0] == 401
    assert _login(cloud, "totp", code=_code(1))[0] == 201


RULES = {
    "multi_factor_auth_enabled": True,
    "multi_factor_auth_rules": [["password", "totp"], ["magic"]],
}


def test_two_methods_at_once_satisfy_the_rule(cloud):
    _with_totp(cloud, RULES)
    status, body, _ = _login(cloud, "password", "totp", code=_code())
    assert status == 201 and sorted(body["token"]["methods"]) == ["password", "totp"]


def test_receipt_carries_the_first_method_to_the_second(cloud):
    user = _with_totp(cloud, RULES)
    status, body, headers = _login(cloud, "password")
    assert status == 401
    assert body["required_auth_methods"] == [["password", "totp"]]
    assert body["receipt"]["methods"] == ["password"]
    assert body["receipt"]["user"]["id"] == user["id"]
    receipt = headers["Openstack-Auth-Receipt"]
    assert "X-Subject-Token" not in headers
    status, body, _ = _login(cloud, "totp", code=_code(), openstack_auth_receipt=receipt)
    assert status == 201 and sorted(body["token"]["methods"]) == ["password", "totp"]


def test_receipt_of_another_user_or_a_forged_one_is_401(cloud):
    _with_totp(cloud, RULES)
    receipt = _login(cloud, "password")[2]["Openstack-Auth-Receipt"]
    auth = {"name": "admin", "domain": {"id": "default"}, "password": "secret"}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": auth}}}}
    for text in (receipt, "nonsense", cloud.admin):
        answer = cloud.call("POST", "/v3/auth/tokens", body, openstack_auth_receipt=text)
        assert answer[0] == 401


def test_receipt_is_no_token_and_a_token_no_receipt(cloud):
    _with_totp(cloud, RULES)
    receipt = _login(cloud, "password")[2]["Openstack-Auth-Receipt"]
    assert cloud.call("GET", "/v3/auth/projects", token=receipt)[0] == 401
    assert cloud.deps.receipts.read(cloud.admin) is None


@pytest.mark.parametrize(
    "options",
    [
        {"multi_factor_auth_enabled": "yes"},
        {"multi_factor_auth_rules": "password"},
        {"multi_factor_auth_rules": [[]]},
        {"multi_factor_auth_rules": [["password", "password"]]},
        {"multi_factor_auth_rules": [["password", "totp"], ["totp", "password"]]},
        {"multi_factor_auth_rules": [[1]]},
    ],
)
def test_bad_rules_are_400(cloud, options):
    user = cloud.user("alice")
    path = f"/v3/users/{user['id']}"
    assert cloud.call("PATCH", path, {"user": {"options": options}}, cloud.admin)[0] == 400


def test_rules_without_an_offered_method_or_switched_off_ask_for_nothing(cloud):
    user = _with_totp(cloud, {**RULES, "multi_factor_auth_rules": [["magic"]]})
    assert _login(cloud, "password")[0] == 201
    off = {"multi_factor_auth_enabled": False, "multi_factor_auth_rules": [["totp"]]}
    cloud.ok("PATCH", f"/v3/users/{user['id']}", {"user": {"options": off}})
    assert _login(cloud, "password")[0] == 201


# -- OAuth1 ----------------------------------------------------------------------------------------

BASE = "http://127.0.0.1:5000"


class Consumer:
    """A program that speaks OAuth1."""

    def __init__(self, cloud: Any) -> None:
        self.cloud = cloud
        made = cloud.ok("POST", "/v3/OS-OAUTH1/consumers", {"consumer": {}})["consumer"]
        self.key, self.secret = made["id"], made["secret"]

    def sign(self, path: str, **more: Any) -> dict[str, str]:
        client = oauth1.Client(self.key, client_secret=self.secret, **more)
        _, headers, _ = client.sign(BASE + path, http_method="POST")
        return {"authorization": headers["Authorization"]}

    def ask(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
        answer = self.cloud.send("POST", path, headers=headers)
        form = parse_qs(answer.body.decode()) if answer.status == 201 else {}
        return answer.status, {name: values[0] for name, values in form.items()}


@pytest.fixture
def delegated(cloud: Any) -> Any:
    """Alice has given a consumer her role `member` in a project, where she is a manager."""
    project = cloud.project("demo")
    user = cloud.user("alice", "manager", project["id"])
    token = cloud.login("alice", "pw", {"project": {"id": project["id"]}})
    consumer = Consumer(cloud)
    path = "/v3/OS-OAUTH1/request_token"
    headers = {**consumer.sign(path), "requested-project-id": project["id"]}
    status, asked = consumer.ask(path, headers)
    assert status == 201 and asked["oauth_expires_at"]
    roles = {"roles": [{"id": cloud.role("member")}]}
    way = f"/v3/OS-OAUTH1/authorize/{asked['oauth_token']}"
    verifier = cloud.ok("PUT", way, roles, token)["token"]["oauth_verifier"]
    path = "/v3/OS-OAUTH1/access_token"
    given = {
        "resource_owner_key": asked["oauth_token"],
        "resource_owner_secret": asked["oauth_token_secret"],
    }
    assert consumer.ask(path, consumer.sign(path, **given, verifier="wrong"))[0] == 401
    status, access = consumer.ask(path, consumer.sign(path, **given, verifier=verifier))
    assert status == 201
    assert consumer.ask(path, consumer.sign(path, **given, verifier=verifier))[0] == 401
    return cloud, consumer, access, user, project, token


def _oauth_login(consumer: Consumer, access: dict[str, str], secret: str = "") -> Any:
    headers = consumer.sign(
        "/v3/auth/tokens",
        resource_owner_key=access["oauth_token"],
        resource_owner_secret=secret or access["oauth_token_secret"],
    )
    body = {"auth": {"identity": {"methods": ["oauth1"], "oauth1": {}}}}
    return consumer.cloud.call("POST", "/v3/auth/tokens", body, **headers), headers


def test_access_token_logs_in_with_the_authorized_roles_only(delegated):
    cloud, consumer, access, user, project, token = delegated
    (status, body, headers), _ = _oauth_login(consumer, access)
    assert status == 201
    shown = body["token"]
    assert sorted(role["name"] for role in shown["roles"]) == ["member", "reader"]
    assert shown["project"]["id"] == project["id"] and shown["user"]["id"] == user["id"]
    assert shown["OS-OAUTH1"]["access_token_id"] == access["oauth_token"]
    own = headers["X-Subject-Token"]
    path = f"/v3/users/{user['id']}/OS-OAUTH1/access_tokens"
    listed = cloud.ok("GET", path, token=token)["access_tokens"]
    assert [one["id"] for one in listed] == [access["oauth_token"]]
    path = f"{path}/{access['oauth_token']}"
    assert cloud.ok("GET", path, token=token)["access_token"]["consumer_id"] == consumer.key
    roles = cloud.ok("GET", f"{path}/roles", token=token)["roles"]
    assert [role["name"] for role in roles] == ["member"]
    assert cloud.ok("GET", f"{path}/roles/{roles[0]['id']}", token=token)["role"]["name"]
    assert cloud.call("GET", f"{path}/roles/{'0' * 32}", token=token)[0] == 404
    cloud.ok("DELETE", path, token=token)
    assert cloud.call("GET", "/v3/auth/projects", token=own)[0] == 401
    assert _oauth_login(consumer, access)[0][0] == 401


def test_signed_login_counts_once_and_a_wrong_secret_is_401(delegated):
    cloud, consumer, access, *_ = delegated
    assert _oauth_login(consumer, access, "wrong")[0][0] == 401
    (status, _, _), headers = _oauth_login(consumer, access)
    assert status == 201
    body = {"auth": {"identity": {"methods": ["oauth1"], "oauth1": {}}}}
    assert cloud.call("POST", "/v3/auth/tokens", body, **headers)[0] == 401
    assert cloud.call("POST", "/v3/auth/tokens", body)[0] == 401


def test_delegated_token_makes_no_other_token_and_authorizes_nothing(delegated):
    cloud, consumer, access, _, project, _ = delegated
    own = _oauth_login(consumer, access)[0][2]["X-Subject-Token"]
    auth = {"identity": {"methods": ["token"], "token": {"id": own}}}
    assert cloud.call("POST", "/v3/auth/tokens", {"auth": auth})[0] == 403
    path = "/v3/OS-OAUTH1/request_token"
    headers = {**consumer.sign(path), "requested-project-id": project["id"]}
    asked = consumer.ask(path, headers)[1]["oauth_token"]
    roles = {"roles": [{"id": cloud.role("member")}]}
    assert cloud.call("PUT", f"/v3/OS-OAUTH1/authorize/{asked}", roles, own)[0] == 403


def test_roles_that_one_has_not_cannot_be_given(delegated):
    cloud, consumer, _, _, project, token = delegated
    path = "/v3/OS-OAUTH1/request_token"
    headers = {**consumer.sign(path), "requested-project-id": project["id"]}
    asked = consumer.ask(path, headers)[1]["oauth_token"]
    roles = {"roles": [{"id": cloud.role("admin")}]}
    assert cloud.call("PUT", f"/v3/OS-OAUTH1/authorize/{asked}", roles, token)[0] == 403
    assert consumer.ask(path, consumer.sign(path))[0] == 400  # no project


# -- OAuth2 ----------------------------------------------------------------------------------------


def _oauth2(cloud: Any, client: str | None, form: dict[str, str]) -> tuple[int, Any, Any]:
    chunks = iter([urlencode(form).encode()])
    headers = {"content-type": "application/x-www-form-urlencoded"}
    if client is not None:
        headers["authorization"] = "Basic " + base64.b64encode(client.encode()).decode()
    stream = BodyStream(lambda: next(chunks, b""), None)
    answer = cloud.send("POST", "/v3/OS-OAUTH2/token", headers=headers, stream=stream)
    return answer.status, json.loads(answer.body), dict(answer.headers)


def test_client_credentials_give_a_token(cloud):
    project = cloud.project("demo")
    user = cloud.user("alice", "member", project["id"])
    token = cloud.login("alice", "pw", {"project": {"id": project["id"]}})
    path = f"/v3/users/{user['id']}/application_credentials"
    body = {"application_credential": {"name": "ci"}}
    made = cloud.ok("POST", path, body, token)["application_credential"]
    client, grant = f"{made['id']}:{made['secret']}", {"grant_type": "client_credentials"}
    status, answer, headers = _oauth2(cloud, client, grant)
    assert status == 200 and answer["token_type"] == "Bearer" and answer["expires_in"] > 0
    assert headers["Cache-Control"] == "no-store"
    shown = cloud.call(
        "GET", "/v3/auth/tokens", token=cloud.admin, x_subject_token=answer["access_token"]
    )
    assert shown[1]["token"]["project"]["id"] == project["id"]
    for bad, form, wanted, error in (
        (client, {}, 400, "invalid_request"),
        (client, {"grant_type": "password"}, 400, "unsupported_grant_type"),
        (None, grant, 401, "invalid_client"),
        (f"{made['id']}:wrong", grant, 401, "invalid_client"),
    ):
        status, answer, _ = _oauth2(cloud, bad, form)
        assert (status, answer["error"]) == (wanted, error)


# -- signed requests -------------------------------------------------------------------------------


@pytest.fixture
def pair(cloud: Any) -> Any:
    project = cloud.project("demo")
    user = cloud.user("alice", "member", project["id"])
    token = cloud.login("alice", "pw", {"project": {"id": project["id"]}})
    path = f"/v3/users/{user['id']}/credentials/OS-EC2"
    made = cloud.ok("POST", path, {"tenant_id": project["id"]}, token)["credential"]
    return cloud, made, project, token


def _v4(pair: Any, moment: float) -> dict[str, Any]:
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment))
    scope = f"{date[:8]}/RegionOne/ec2/aws4_request"
    header = f"AWS4-HMAC-SHA256 Credential={pair['access']}/{scope}, SignedHeaders=host;x-amz-date"
    signed: dict[str, Any] = {
        "access": pair["access"],
        "verb": "POST",
        "host": "cloud.example:8788",
        "path": "/",
        "params": {},
        "headers": {"Host": "cloud.example:8788", "X-Amz-Date": date, "Authorization": header},
        "body_hash": hashlib.sha256(b"Action=DescribeInstances").hexdigest(),
    }
    parts = {"Credential": f"{pair['access']}/{scope}", "SignedHeaders": "host;x-amz-date"}
    return {**signed, "signature": ec2.v4(pair["secret"], signed, parts)}


def test_version_4_signature_is_that_of_the_public_example():
    """The example of the public description of Signature Version 4: ListUsers of IAM, 2015."""
    scope = "20150830/us-east-1/iam/aws4_request"
    kind = "application/x-www-form-urlencoded; charset=utf-8"
    signed = {
        "verb": "GET",
        "path": "/",
        "params": {"Action": "ListUsers", "Version": "2010-05-08"},
        "headers": {
            "Content-Type": kind,
            "Host": "iam.amazonaws.com",
            "X-Amz-Date": "20150830T123600Z",
        },
        "body_hash": hashlib.sha256(b"").hexdigest(),
    }
    parts = {"Credential": f"A/{scope}", "SignedHeaders": "content-type;host;x-amz-date"}
    found = ec2.v4("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", signed, parts)
    assert found == "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"


def test_signed_ec2_request_gives_its_owners_token_to_services(pair):
    cloud, made, project, token = pair
    body = {"credentials": _v4(made, time.time())}
    status, shown, headers = cloud.call("POST", "/v3/ec2tokens", body, cloud.admin)
    assert status == 200 and shown["token"]["project"]["id"] == project["id"]
    assert shown["token"]["methods"] == ["ec2credential"]
    assert cloud.call("GET", "/v3/auth/projects", token=headers["X-Subject-Token"])[0] == 200
    assert cloud.call("POST", "/v3/ec2tokens", body, token)[0] == 403
    assert cloud.call("POST", "/v3/ec2tokens", body)[0] == 401


def test_changed_old_or_unknown_signatures_are_401(pair):
    cloud, made, *_ = pair
    good = _v4(made, time.time())
    for bad in (
        {**good, "path": "/other"},
        {**good, "signature": "0" * 64},
        {**good, "access": "0" * 32},
        {**good, "headers": {}},
        _v4(made, time.time() - 3600),
    ):
        assert cloud.call("POST", "/v3/ec2tokens", {"credentials": bad}, cloud.admin)[0] == 401


def test_version_2_signature(pair):
    cloud, made, *_ = pair
    params = {
        "SignatureVersion": "2",
        "SignatureMethod": "HmacSHA256",
        "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "Action": "DescribeInstances",
    }
    signature = ec2.v2(made["secret"], "GET", "cloud.example", "/services", params)
    body = {
        "access": made["access"],
        "signature": signature,
        "verb": "GET",
        "host": "cloud.example:8788",  # clients leave the port out of what they sign
        "path": "/services",
        "params": params,
    }
    assert cloud.call("POST", "/v3/ec2tokens", {"ec2Credentials": body}, cloud.admin)[0] == 200


def test_signed_s3_request(pair):
    cloud, made, project, _ = pair
    text = "GET\n\n\nMon, 23 Nov 2026 02:00:00 GMT\n/bucket/key"
    digest = hashlib.sha1
    import hmac

    sign = base64.b64encode(hmac.new(made["secret"].encode(), text.encode(), digest).digest())
    body = {
        "access": made["access"],
        "token": base64.urlsafe_b64encode(text.encode()).decode(),
        "signature": sign.decode(),
    }
    status, shown, _ = cloud.call("POST", "/v3/s3tokens", {"credentials": body}, cloud.admin)
    assert status == 200 and shown["token"]["project"]["id"] == project["id"]
    body["signature"] = "x"
    assert cloud.call("POST", "/v3/s3tokens", {"credentials": body}, cloud.admin)[0] == 401

"""One conformance suite for every form of token, and what is special about each."""

import base64
import json
import shutil
import subprocess
import time
import zlib
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from keystone_cloud import Cloud

from gureum.keystone.logic import certificates, providers
from gureum.keystone.logic.claims import TokenClaims
from gureum.keystone.store import tables

PROVIDERS = ("fernet", "jws", "uuid", "pki", "pkiz")


@pytest.fixture(params=PROVIDERS)
def any_cloud(request: Any, tmp_path: Any) -> Cloud:
    return Cloud(tmp_path, request.param)


@pytest.fixture(params=PROVIDERS, scope="module")
def one_cloud(request: Any, tmp_path_factory: Any) -> Cloud:
    """For tests that change nothing."""
    return Cloud(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def strange_tokens(tmp_path_factory: Any) -> list[str]:
    """Tokens of every form, made with the keys of other clouds."""
    return [Cloud(tmp_path_factory.mktemp(name), name).admin for name in PROVIDERS]


def _check(cloud: Cloud, token: str) -> int:
    cloud.deps.cache._entries.clear()  # so that the token itself is read
    return cloud.call("GET", "/v3/auth/tokens", None, cloud.admin, x_subject_token=token)[0]


def _made(claims: dict[str, Any]) -> TokenClaims:
    now = time.time()
    common: dict[str, Any] = {
        "user_id": "u" * 32,
        "methods": ("password", "totp"),
        "scope": "",
        "scope_id": "",
        "issued_at": round(now, 6),
        "expires_at": float(int(now) + 60),
        "audit_ids": ("one", "two"),
    }
    return TokenClaims(**{**common, **claims})


def _body(claims: TokenClaims) -> dict[str, Any]:
    """What a check shows of claims, as far as a signed document needs it."""
    from gureum.core.spec import show_time

    body: dict[str, Any] = {
        "methods": list(claims.methods),
        "user": {"id": claims.user_id},
        "audit_ids": list(claims.audit_ids),
        "issued_at": show_time(claims.moment("issued_at"), "usz"),
        "expires_at": show_time(claims.moment("expires_at"), "usz"),
    }
    scopes = {"p": "project", "d": "domain", "s": "system"}
    if claims.scope:
        body[scopes[claims.scope]] = {"id": claims.scope_id}
    if claims.idp_id:
        body["user"]["OS-FEDERATION"] = {
            "groups": [{"id": id} for id in claims.group_ids],
            "identity_provider": {"id": claims.idp_id},
            "protocol": {"id": claims.protocol_id},
        }
    if claims.trust_id:
        body["OS-TRUST:trust"] = {"id": claims.trust_id}
    if claims.access_token_id:
        body["OS-OAUTH1"] = {"access_token_id": claims.access_token_id}
    if claims.application_credential_id:
        body["application_credential"] = {"id": claims.application_credential_id}
    return body


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"scope": "p", "scope_id": "ab" * 16},
        {"scope": "d", "scope_id": "default"},
        {"scope": "s"},
        {"scope": "p", "scope_id": "p", "trust_id": "t"},
        {"scope": "p", "scope_id": "p", "application_credential_id": "a"},
        {"scope": "p", "scope_id": "p", "access_token_id": "x"},
        {"idp_id": "corp", "protocol_id": "openid", "group_ids": ("ab" * 16, "g2")},
    ],
    ids=lambda claims: "+".join(claims) or "unscoped",
)
def test_what_goes_in_comes_out(one_cloud, claims):
    wanted = _made(claims)
    token = one_cloud.deps.provider.issue(wanted, _body(wanted))
    assert one_cloud.deps.provider.read(token) == wanted
    assert "\n" not in token and token.isascii()


def test_token_works_in_every_scope(any_cloud):
    cloud = any_cloud
    project = cloud.project("demo")
    cloud.user("alice", "member", project["id"])
    for scope in (None, {"project": {"id": project["id"]}}):
        token = cloud.login("alice", "pw", scope)
        assert _check(cloud, token) == 200
    for scope in ({"domain": {"id": "default"}}, {"system": {"all": True}}):
        assert _check(cloud, cloud.login("admin", "secret", scope)) == 200


@pytest.mark.parametrize("end", ["revoke", "disable user", "password", "role", "expiry"])
def test_token_ends(any_cloud, end, monkeypatch):
    cloud = any_cloud
    project = cloud.project("demo")
    user = cloud.user("alice", "member", project["id"])
    token = cloud.login("alice", "pw", {"project": {"id": project["id"]}})
    assert _check(cloud, token) == 200
    path = f"/v3/users/{user['id']}"
    if end == "revoke":
        assert cloud.call("DELETE", "/v3/auth/tokens", None, token, x_subject_token=token)[0] == 204
    elif end == "disable user":
        cloud.ok("PATCH", path, {"user": {"enabled": False}})
    elif end == "password":
        cloud.ok("PATCH", path, {"user": {"password": "other"}})
    elif end == "role":
        role = cloud.role("member")
        cloud.ok("DELETE", f"/v3/projects/{project['id']}/users/{user['id']}/roles/{role}")
    else:
        claims = _made({"user_id": user["id"], "expires_at": time.time() - 1})
        token = cloud.deps.provider.issue(claims, _body(claims))
    assert _check(cloud, token) == 404


@pytest.mark.parametrize("place", [5, 60, -60, -3])
def test_changed_token_is_refused(one_cloud, place):
    token = one_cloud.admin
    at = place % len(token)
    other = "A" if token[at] != "A" else "B"
    assert one_cloud.deps.provider.read(token[:at] + other + token[at + 1 :]) is None


def test_nonsense_and_tokens_of_other_clouds_are_refused(one_cloud, strange_tokens):
    nonsense = ["", "x", "." * 50, "a.b.c", "PKIZ_" + "A" * 60, "é" * 50, "0" * 32, "A" * 300_000]
    for token in [*nonsense, *strange_tokens]:
        assert one_cloud.deps.provider.read(token) is None, token[:20]


# -- jws -------------------------------------------------------------------------------------------


def test_jws_is_checked_offline_with_the_public_key(tmp_path):
    cloud = Cloud(tmp_path, "jws")
    keys = cloud.deps.provider._keys
    public = [serialization.load_pem_public_key(pem) for pem in keys.public_pem()]
    payload = providers.verify_jws(cloud.admin, public)
    assert payload and payload["openstack_methods"] == ["password"] and payload["exp"] > time.time()
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert providers.verify_jws(cloud.admin, [other]) is None


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_jws_of_another_algorithm_is_refused(tmp_path, algorithm):
    cloud = Cloud(tmp_path, "jws")
    _, payload, signature = cloud.admin.split(".")
    head = base64.urlsafe_b64encode(json.dumps({"alg": algorithm}).encode()).rstrip(b"=").decode()
    for end in (signature, ""):
        assert cloud.deps.provider.read(f"{head}.{payload}.{end}") is None


def test_signing_keys_rotate_and_old_tokens_stay_valid_until_the_key_is_dropped(tmp_path):
    cloud = Cloud(tmp_path, "jws")
    provider, token = cloud.deps.provider, cloud.admin
    provider._keys.rotate()
    assert provider.read(token) is not None
    for _ in range(3):
        provider._keys.rotate()
    assert provider.read(token) is None


def test_another_spelling_of_the_same_bytes_is_refused(tmp_path):
    """The last letter of a signature has four bits that mean nothing."""
    cloud = Cloud(tmp_path, "jws")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = cloud.admin
    other = letters[letters.index(token[-1]) ^ 1]
    assert cloud.deps.provider.read(token) is not None
    assert cloud.deps.provider.read(token[:-1] + other) is None


# -- uuid ------------------------------------------------------------------------------------------


def test_stored_row_does_not_give_the_token_away(tmp_path):
    cloud = Cloud(tmp_path, "uuid")
    token = cloud.admin
    assert len(token) == 32
    with cloud.db.read() as tx:
        rows = tx.all(sa.select(tables.stored_tokens))
    assert rows and all(token not in json.dumps([row.token_hash, row.claims]) for row in rows)


def test_rows_of_tokens_that_are_over_go(tmp_path):
    cloud = Cloud(tmp_path, "uuid")
    old = _made({"expires_at": time.time() - 10})
    cloud.deps.provider.issue(old, {})
    fresh = _made({})
    cloud.deps.provider.issue(fresh, {})
    with cloud.db.read() as tx:
        found = [row.claims[5] for row in tx.all(sa.select(tables.stored_tokens))]
    assert found == [fresh.expires_at]


# -- pki -------------------------------------------------------------------------------------------


@pytest.fixture(params=["pki", "pkiz"])
def signed_cloud(request: Any, tmp_path: Any) -> Cloud:
    return Cloud(tmp_path, request.param)


def _certificate(cloud: Cloud, what: str) -> bytes:
    answer = cloud.send("GET", f"/v3/OS-SIMPLE-CERT/{what}")
    assert answer.status == 200 and ("Content-Type", "application/x-pem-file") in answer.headers
    return bytes(answer.body)


def test_document_is_checked_offline_with_the_certificates(signed_cloud):
    cloud = signed_cloud
    der = providers.document_of(cloud.admin)
    known = x509.load_pem_x509_certificates(_certificate(cloud, "certificates"))
    authority = x509.load_pem_x509_certificate(_certificate(cloud, "ca"))
    for certificate in known:
        certificate.verify_directly_issued_by(authority)
    content = json.loads(certificates.opened(der, known))
    assert content["token"]["catalog"] and content["token"]["project"]["name"] == "admin"
    stranger = certificates.make_pair("x", None).certificate
    assert certificates.opened(der, [stranger]) is None


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_document_is_checked_by_openssl_too(signed_cloud, tmp_path):
    cloud = signed_cloud
    (tmp_path / "token.der").write_bytes(providers.document_of(cloud.admin))
    for what in ("ca", "certificates"):
        (tmp_path / f"{what}.pem").write_bytes(_certificate(cloud, what))
    command = ["openssl", "cms", "-verify", "-inform", "DER", "-in", "token.der", "-nointern"]
    command += ["-certfile", "certificates.pem", "-CAfile", "ca.pem", "-purpose", "any"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["token"]["user"]["name"] == "admin"


def test_compressed_document_cannot_blow_up(tmp_path):
    cloud = Cloud(tmp_path, "pkiz")
    bomb = zlib.compress(b"\0" * (64 << 20), 9)
    token = "PKIZ_" + base64.urlsafe_b64encode(bomb).decode()
    assert cloud.deps.provider.read(token) is None


def test_revoked_tokens_are_listed_signed(signed_cloud):
    cloud = signed_cloud
    cloud.user("alice")
    token = cloud.login("alice", "pw")
    cloud.call("DELETE", "/v3/auth/tokens", None, token, x_subject_token=token)
    text = cloud.ok("GET", "/v3/auth/tokens/OS-PKI/revoked")["signed"]
    der = base64.b64decode("".join(text.strip().splitlines()[1:-1]))
    revoked = json.loads(cloud.certificates.open(der))["revoked"]
    assert [one["id"] for one in revoked] == [providers.token_hash(token)]
    plain = cloud.ok("GET", "/v3/auth/tokens/OS-PKI/revoked?audit_id_only")["revoked"]
    assert plain[0]["audit_id"] == revoked[0]["audit_id"]


def test_without_certificates_there_are_none_to_show(cloud):
    for path in ("OS-SIMPLE-CERT/ca", "OS-SIMPLE-CERT/certificates", "auth/tokens/OS-PKI/revoked"):
        assert cloud.call("GET", f"/v3/{path}", token=cloud.admin)[0] == 410


def test_certificates_rotate(tmp_path):
    cloud = Cloud(tmp_path, "pki")
    token = cloud.admin
    before = _certificate(cloud, "certificates")
    cloud.certificates.signing.rotate()
    assert _certificate(cloud, "certificates") != before
    assert cloud.deps.provider.read(token) is not None
    assert cloud.deps.provider.read(cloud.login("admin", "secret")) is not None

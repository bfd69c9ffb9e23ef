"""OpenID Connect for real: Apache with mod_auth_openidc in front of Keystone, and a provider beside.

Owns: a private Apache and a private provider on loopback, ended by their process ids. A browser's login, and
the `openstack` client with an access token and with an authorization code.
"""

import contextlib
import importlib.util
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from federationlab import APACHE, apache, apache_missing, certificate, program
from incloud import PASSWORD, InCloud
from loopback import free_port

from gureum.testing.ports import free_offset

CLIENT = Path(sys.executable).parent / "openstack"


def _missing() -> str:
    if lacking := apache_missing("auth_openidc", "libapache2-mod-auth-openidc"):
        return lacking
    if importlib.util.find_spec("oidc_provider_mock") is None:
        return "oidc-provider-mock is missing"
    return "" if CLIENT.exists() else "python-openstackclient is missing"


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the provider's libraries
    pytest.mark.skipif(bool(_missing()), reason=_missing()),
]
DASHBOARD = "http://dashboard.example/auth/websso/"
PEOPLE = (
    {"sub": "alice", "email": "alice@corp.example", "groups": ["devs"]},
    {"sub": "bob", "email": "bob@corp.example", "groups": ["guests"]},
)
WAY = "/v3/OS-FEDERATION/identity_providers/corp/protocols/openid"
RULES = [
    {
        "local": [
            {"user": {"name": "{0}", "email": "{1}"}},
            {"groups": "{2}", "domain": {"name": "Default"}},
        ],
        "remote": [
            {"type": "OIDC_CLAIM_sub"},
            {"type": "OIDC_CLAIM_email"},
            {"type": "OIDC_CLAIM_groups", "whitelist": ["devs"]},
        ],
    }
]


def _told(folder: Path, port: int, provider: str) -> str:
    """Return what docs/identity-federation.md tells the module."""
    return f"""
OIDCProviderMetadataURL {provider}/.well-known/openid-configuration
OIDCClientID keystone
OIDCClientSecret shared-with-the-provider
OIDCCABundlePath {folder}/provider.pem
OIDCCryptoPassphrase nobody-guesses-this
OIDCRedirectURI http://127.0.0.1:{port}/v3/auth/OS-FEDERATION/openid/redirect
OIDCScope "openid email profile groups"
OIDCClaimDelimiter ;
OIDCPassUserInfoAs claims
OIDCOAuthIntrospectionEndpoint {provider}/introspect
OIDCOAuthRemoteUserClaim sub
RequestHeader unset OIDC_CLAIM_sub early
RequestHeader unset OIDC_CLAIM_groups early
<Location /v3/auth/OS-FEDERATION/>
  AuthType openid-connect
  Require valid-user
</Location>
<Location {WAY}/auth>
  AuthType oauth20
  Require valid-user
</Location>
"""


@contextlib.contextmanager
def _provider(folder: Path) -> Iterator[str]:
    """Run a provider of this test's people in a thread; yields its address."""
    import flask
    from oidc_provider_mock import User, app
    from werkzeug.serving import make_server

    people = [User(sub=str(one["sub"]), claims=one) for one in PEOPLE]
    application = app(user_claims=people)

    def introspect() -> Any:
        """Say what a token means (RFC 7662): the provider itself only has `userinfo`."""
        headers = {"authorization": f"Bearer {flask.request.form['token']}"}
        answer = application.test_client().get("/userinfo", headers=headers)
        found = answer.get_json() if answer.status_code == 200 else None
        issuer = flask.request.host_url.rstrip("/")
        return {"active": True, "iss": issuer, **found} if found else {"active": False}

    application.add_url_rule("/introspect", view_func=introspect, methods=["POST"])
    files = tuple(map(str, certificate(folder, "provider")))
    server = make_server("127.0.0.1", 0, application, threaded=True, ssl_context=files)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


class World:
    """The provider, the web server and Keystone."""

    def __init__(
        self, cloud: InCloud, front: str, provider: str, project: str, trust: ssl.SSLContext
    ) -> None:
        self.cloud, self.front, self.provider, self.project = cloud, front, provider, project
        self.trust = trust

    def browser(self) -> httpx.Client:
        """Return a client that believes the provider's certificate."""
        return httpx.Client(trust_env=False, verify=self.trust)

    def consent(self, browser: httpx.Client, page: httpx.Response, who: str) -> httpx.Response:
        """Say at the provider's page who one is."""
        assert str(page.url).startswith(self.provider), page.text
        return browser.post(page.url, data={"sub": who})

    def code(self, who: str) -> str:
        """Return an authorization code, as a browser brings it to a program."""
        ask = {
            "response_type": "code",
            "client_id": "program",
            "redirect_uri": "http://127.0.0.1:1/",
            "scope": "openid email profile groups",
        }
        with self.browser() as browser:
            back = browser.post(f"{self.provider}/oauth2/authorize", params=ask, data={"sub": who})
        return parse_qs(urlsplit(back.headers["location"]).query)["code"][0]

    def access_token(self, who: str) -> str:
        """Return an access token of the provider."""
        form = {
            "grant_type": "authorization_code",
            "code": self.code(who),
            "redirect_uri": "http://127.0.0.1:1/",
        }
        url = f"{self.provider}/oauth2/token"
        with self.browser() as program:
            answer = program.post(url, data=form, auth=("program", "secret"))
        return str(answer.json()["access_token"])

    def openstack(self, *words: str, scope: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the client in the name of the provider's user."""
        told = {
            "OS_AUTH_URL": f"{self.front}/v3",
            "OS_IDENTITY_API_VERSION": "3",
            "OS_IDENTITY_PROVIDER": "corp",
            "OS_PROTOCOL": "openid",
            "PATH": os.environ.get("PATH", ""),
            "OS_CACERT": str(self.cloud.runtime.cloud.state_dir).removesuffix("/cloud")
            + "/provider.pem",
            "HOME": str(self.cloud.runtime.cloud.state_dir),
        }
        if scope:
            told |= {"OS_PROJECT_NAME": "shared", "OS_PROJECT_DOMAIN_NAME": "Default"}
        return subprocess.run(
            [str(CLIENT), *words], env=told, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    # not in pytest's own folder: Apache's children, another user, must reach it
    with tempfile.TemporaryDirectory(prefix="gureum-federation-") as name:
        Path(name).chmod(0o755)
        with _world(Path(name)) as made:
            yield made


@contextlib.contextmanager
def _world(folder: Path) -> Iterator[World]:
    front_port = free_port()
    front = f"http://127.0.0.1:{front_port}"
    extra = f"""
[keystone]
hash_time_cost = 1
hash_memory_kib = 8192
[keystone.federation]
trusted_proxies = ["127.0.0.1"]
trusted_dashboard = ["{DASHBOARD}"]
remote_id_attribute = "OIDC_CLAIM_iss"
"""
    (folder / "cloud").mkdir()
    offset = free_offset()
    with contextlib.ExitStack() as stack:
        cloud = InCloud(
            folder / "cloud", names=("keystone",), offset=offset, extra=extra, listen=True
        )
        stack.callback(cloud.close)
        provider = stack.enter_context(_provider(folder))
        project = _set_up(cloud, provider)
        told = _told(folder, front_port, provider)
        keystone = cloud.auth_url.removesuffix("/v3")
        config = apache(folder, front_port, "auth_openidc", keystone, told)
        words = [APACHE, "-f", str(config), "-D", "FOREGROUND"]
        stack.enter_context(program(words, f"{front}/v3", folder))
        trust = ssl.create_default_context(cafile=str(folder / "provider.pem"))
        yield World(cloud, front, provider, project, trust)


def _set_up(cloud: InCloud, issuer: str) -> str:
    """Trust the provider; its `devs` are members of a project."""

    def make(path: str, body: Any, method: str = "PUT") -> Any:
        return cloud.call(method, "identity", path, body)

    f = "/OS-FEDERATION"
    make(f"{f}/mappings/m", {"mapping": {"rules": RULES}})
    body = {"identity_provider": {"enabled": True, "remote_ids": [issuer]}}
    make(f"{f}/identity_providers/corp", body)
    make(WAY.removeprefix("/v3"), {"protocol": {"mapping_id": "m"}})
    project = make("/projects", {"project": {"name": "shared"}}, "POST")["project"]["id"]
    group = make("/groups", {"group": {"name": "devs"}}, "POST")["group"]["id"]
    role = cloud.call("GET", "identity", "/roles?name=member")["roles"][0]["id"]
    make(f"/projects/{project}/groups/{group}/roles/{role}", None)
    return str(project)


def test_browser_comes_back_to_the_dashboard_with_a_token(world: World) -> None:
    way = f"{world.front}/v3/auth/OS-FEDERATION/websso/openid?origin={DASHBOARD}"
    with world.browser() as browser:
        browser.follow_redirects = True
        page = world.consent(browser, browser.get(way), "alice")
    assert page.status_code == 200 and f'action="{DASHBOARD}"' in page.text, page.text
    found = re.search(r'name="token"[^>]*value="([^"]+)"', page.text)
    assert found is not None, page.text
    url = f"{world.front}/v3/auth/tokens"
    auth = {
        "identity": {"methods": ["token"], "token": {"id": found.group(1)}},
        "scope": {"project": {"id": world.project}},
    }
    answer = httpx.post(url, json={"auth": auth}, trust_env=False)
    assert answer.status_code == 201, answer.text
    token = answer.json()["token"]
    assert token["user"]["name"] == "alice"
    assert token["user"]["OS-FEDERATION"]["identity_provider"] == {"id": "corp"}
    assert {role["name"] for role in token["roles"]} == {"member", "reader"}


def test_client_logs_in_with_an_access_token(world: World) -> None:
    words = ["--os-auth-type", "v3oidcaccesstoken", "--os-access-token"]
    mine = [*words, world.access_token("alice")]
    done = world.openstack(*mine, "token", "issue", "-f", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["project_id"] == world.project
    done = world.openstack(*mine, "federation", "project", "list", "-f", "json", scope=False)
    assert done.returncode == 0, done.stderr
    assert [one["Name"] for one in json.loads(done.stdout)] == ["shared"]
    done = world.openstack(*words, world.access_token("bob"), "token", "issue")
    assert done.returncode != 0, "bob is in no group that has a role"


def test_client_logs_in_with_an_authorization_code(world: World) -> None:
    done = world.openstack(
        *("--os-auth-type", "v3oidcauthcode", "--os-client-id", "program"),
        *("--os-client-secret", "secret", "--os-redirect-uri", "http://127.0.0.1:1/"),
        *("--os-access-token-endpoint", f"{world.provider}/oauth2/token"),
        *("--os-code", world.code("alice")),
        *("token", "issue", "-f", "json"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["project_id"] == world.project


def test_abuse_15_client_cannot_say_who_it_is(world: World) -> None:
    """Neither without the provider, nor beside what the provider says."""
    forged = {"OIDC_CLAIM_sub": "admin", "OIDC-CLAIM-sub": "admin", "OIDC_CLAIM_groups": "devs"}
    with httpx.Client(trust_env=False) as program:
        for headers in (forged, {**forged, "authorization": "Bearer nonsense"}):
            answer = program.post(f"{world.front}{WAY}/auth", headers=headers)
            assert answer.status_code == 401 and "x-subject-token" not in answer.headers
        headers = {**forged, "authorization": f"Bearer {world.access_token('bob')}"}
        answer = program.post(f"{world.front}{WAY}/auth", headers=headers)
        assert answer.status_code == 201, answer.text
    assert answer.json()["token"]["user"]["name"] == "bob"
    assert answer.json()["token"]["user"]["OS-FEDERATION"]["groups"] == []


def test_the_administrator_still_logs_in_with_a_password_through_the_web_server(
    world: World,
) -> None:
    user = {"name": "admin", "domain": {"id": "default"}, "password": PASSWORD}
    auth = {"identity": {"methods": ["password"], "password": {"user": user}}}
    answer = httpx.post(f"{world.front}/v3/auth/tokens", json={"auth": auth}, trust_env=False)
    assert answer.status_code == 201

"""SAML for real: Apache with mod_auth_mellon in front of Keystone, and a provider on pysaml2 beside.

Owns: a private Apache and a private provider on loopback, ended by their process ids.
"""

import base64
import contextlib
import html
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from federationlab import APACHE, apache, apache_missing, certificate, program
from incloud import InCloud
from loopback import free_port

from gureum.testing.ports import free_offset

PYTHON = "/usr/bin/python3"


def _missing() -> str:
    if lacking := apache_missing("auth_mellon", "libapache2-mod-auth-mellon"):
        return lacking
    if shutil.which("xmlsec1") is None:
        return "Debian's xmlsec1 is missing"
    found = subprocess.run([PYTHON, "-c", "import saml2"], capture_output=True, check=False)
    return "" if found.returncode == 0 else "Debian's python3-pysaml2 is missing"


pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
DASHBOARD = "http://dashboard.example/auth/websso/"
MELLON = "/v3/auth/OS-FEDERATION/mellon"
RULES = [
    {
        "local": [
            {"user": {"name": "{0}", "email": "{1}"}},
            {"groups": "{2}", "domain": {"name": "Default"}},
        ],
        "remote": [
            {"type": "MELLON_NAME_ID"},
            {"type": "MELLON_MAIL"},
            {"type": "MELLON_GROUPS", "whitelist": ["devs"]},
        ],
    }
]


def _told(folder: Path, front: str) -> str:
    """Return what docs/identity-federation.md tells the module."""
    headers = "\n".join(
        f"  RequestHeader set {name} %{{{name}}}e env={name}"
        for name in ("MELLON_NAME_ID", "MELLON_IDP", "MELLON_MAIL", "MELLON_GROUPS")
    )
    return f"""
<Location /v3/auth/OS-FEDERATION/>
  MellonEndpointPath {MELLON}/
  MellonSPEntityId {front}/sp
  MellonSPPrivateKeyFile {folder}/sp.key
  MellonSPCertFile {folder}/sp.pem
  MellonIdPMetadataFile {folder}/idp.xml
  MellonIdP IDP
  MellonMergeEnvVars On ";"
  MellonSetEnv MAIL urn:oid:0.9.2342.19200300.100.1.3
  MellonSetEnv GROUPS urn:oid:1.3.6.1.4.1.5923.1.1.1.7
</Location>
<Location /v3/auth/OS-FEDERATION/websso/>
  AuthType Mellon
  MellonEnable auth
  Require valid-user
  RequestHeader unset MELLON_NAME_ID
  RequestHeader unset MELLON_IDP
  RequestHeader unset MELLON_MAIL
  RequestHeader unset MELLON_GROUPS
{headers}
</Location>
ProxyPass {MELLON}/ !
"""


def _sp_metadata(folder: Path, front: str) -> Path:
    body = "".join((folder / "sp.pem").read_text().splitlines()[1:-1])
    file = folder / "sp.xml"
    file.write_text(
        '<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata"'
        f' entityID="{front}/sp"><SPSSODescriptor'
        ' protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">'
        '<KeyDescriptor use="signing"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#">'
        f"<X509Data><X509Certificate>{body}</X509Certificate></X509Data></KeyInfo>"
        '</KeyDescriptor><AssertionConsumerService index="0" isDefault="true"'
        ' Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"'
        f' Location="{front}{MELLON}/postResponse"/></SPSSODescriptor></EntityDescriptor>'
    )
    return file


class World:
    """The provider, the web server and Keystone."""

    def __init__(self, front: str, provider: str, project: str) -> None:
        self.front, self.provider, self.project = front, provider, project

    def ask(self, browser: httpx.Client, who: str, password: str) -> httpx.Response:
        """Come to Keystone, be sent to the provider, say there who one is; returns its answer."""
        way = f"{self.front}/v3/auth/OS-FEDERATION/websso/saml2?origin={DASHBOARD}"
        page = browser.get(way)
        while page.is_redirect and not page.headers["location"].startswith(self.provider):
            page = browser.get(page.next_request.url if page.next_request else way)
        return browser.get(page.headers["location"], auth=(who, password))

    @staticmethod
    def fields(page: httpx.Response) -> dict[str, str]:
        """Return the form by which the provider sends the browser back."""
        found = re.findall(r'name="(SAMLResponse|RelayState)"\s+value="([^"]*)"', page.text)
        return {name: html.unescape(value) for name, value in found}

    def bring(self, browser: httpx.Client, form: dict[str, str]) -> httpx.Response:
        """Bring an answer of the provider to the web server, and go where that sends one."""
        browser.follow_redirects = True
        return browser.post(f"{self.front}{MELLON}/postResponse", data=form)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    if reason := _missing():
        pytest.skip(reason)
    # not in pytest's own folder: Apache's children, another user, must reach it
    with tempfile.TemporaryDirectory(prefix="gureum-federation-") as name:
        Path(name).chmod(0o755)
        with _world(Path(name)) as made:
            yield made


@contextlib.contextmanager
def _world(folder: Path) -> Iterator[World]:
    provider_port, front_port = free_port(), free_port()
    provider, front = f"http://127.0.0.1:{provider_port}", f"http://127.0.0.1:{front_port}"
    extra = f"""
[keystone]
hash_time_cost = 1
hash_memory_kib = 8192
[keystone.federation]
trusted_proxies = ["127.0.0.1"]
trusted_dashboard = ["{DASHBOARD}"]
remote_id_attribute = "MELLON_IDP"
"""
    for name in ("provider", "sp"):
        _, key = certificate(folder, name)
        key.chmod(0o644)
    (folder / "cloud").mkdir()
    cloud_names = ("keystone",)
    with contextlib.ExitStack() as stack:
        cloud = InCloud(
            folder / "cloud", names=cloud_names, offset=free_offset(), extra=extra, listen=True
        )
        stack.callback(cloud.close)
        script = Path(__file__).with_name("saml_provider.py")
        metadata = _sp_metadata(folder, front)
        words = [PYTHON, str(script), str(folder), str(provider_port), str(metadata)]
        stack.enter_context(program(words, provider, folder))
        project = _set_up(cloud, f"{provider}/idp")
        keystone = cloud.auth_url.removesuffix("/v3")
        config = apache(folder, front_port, "auth_mellon", keystone, _told(folder, front))
        stack.enter_context(
            program([APACHE, "-f", str(config), "-D", "FOREGROUND"], f"{front}/v3", folder)
        )
        yield World(front, provider, project)


def _set_up(cloud: Any, entity: str) -> str:
    """Trust the provider; its `devs` are members of a project."""

    def make(path: str, body: Any, method: str = "PUT") -> Any:
        return cloud.call(method, "identity", path, body)

    f = "/OS-FEDERATION"
    make(f"{f}/mappings/m", {"mapping": {"rules": RULES}})
    body = {"identity_provider": {"enabled": True, "remote_ids": [entity]}}
    make(f"{f}/identity_providers/corp", body)
    make(f"{f}/identity_providers/corp/protocols/saml2", {"protocol": {"mapping_id": "m"}})
    project = make("/projects", {"project": {"name": "shared"}}, "POST")["project"]["id"]
    group = make("/groups", {"group": {"name": "devs"}}, "POST")["group"]["id"]
    role = cloud.call("GET", "identity", "/roles?name=member")["roles"][0]["id"]
    make(f"/projects/{project}/groups/{group}/roles/{role}", None)
    return str(project)


def _scoped(world: World, page: httpx.Response) -> httpx.Response:
    found = re.search(r'name="token"[^>]*value="([^"]+)"', page.text)
    assert page.status_code == 200 and found is not None, page.text
    auth = {
        "identity": {"methods": ["token"], "token": {"id": found.group(1)}},
        "scope": {"project": {"id": world.project}},
    }
    return httpx.post(f"{world.front}/v3/auth/tokens", json={"auth": auth}, trust_env=False)


def test_browser_comes_back_with_a_token_of_what_the_provider_signed(world: World) -> None:
    with httpx.Client(trust_env=False) as browser:
        form = world.fields(world.ask(browser, "alice", "pw-alice"))
        answer = _scoped(world, world.bring(browser, form))
    assert answer.status_code == 201, answer.text
    token = answer.json()["token"]
    assert token["user"]["name"] == "alice"
    assert token["user"]["OS-FEDERATION"]["identity_provider"] == {"id": "corp"}
    assert {role["name"] for role in token["roles"]} == {"member", "reader"}


def test_group_decides_what_a_user_reaches(world: World) -> None:
    with httpx.Client(trust_env=False) as browser:
        form = world.fields(world.ask(browser, "bob", "pw-bob"))
        assert _scoped(world, world.bring(browser, form)).status_code == 401


def test_wrong_password_is_the_providers_to_refuse(world: World) -> None:
    with httpx.Client(trust_env=False) as browser:
        assert world.ask(browser, "alice", "wrong").status_code == 401


def test_abuse_15_changed_answer_or_forged_headers_log_nobody_in(world: World) -> None:
    with httpx.Client(trust_env=False) as browser:
        form = world.fields(world.ask(browser, "bob", "pw-bob"))
        xml = base64.b64decode(form["SAMLResponse"])
        changed = xml.replace(b">bob<", b">alice<").replace(b">guests<", b">devs<")
        assert changed != xml
        forged = {**form, "SAMLResponse": base64.b64encode(changed).decode()}
        page = world.bring(browser, forged)
        assert page.status_code >= 400 and 'name="token"' not in page.text
    headers = {"MELLON_NAME_ID": "alice", "MELLON_GROUPS": "devs", "MELLON-NAME-ID": "alice"}
    way = f"{world.front}/v3/auth/OS-FEDERATION/websso/saml2?origin={DASHBOARD}"
    page = httpx.get(way, headers=headers, trust_env=False)
    assert page.is_redirect and urlsplit(page.headers["location"]).path != "/"
    with httpx.Client(trust_env=False, headers=headers) as browser:
        form = world.fields(world.ask(browser, "bob", "pw-bob"))
        assert _scoped(world, world.bring(browser, form)).status_code == 401

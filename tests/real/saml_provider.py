"""A SAML identity provider for a test, on pysaml2: who is asked by password, answers are signed.

Runs under the Python whose Debian packages hold saml2. usage: saml_provider.py FOLDER PORT SP_METADATA
FOLDER holds provider.pem and provider.key; the provider's own metadata is written there.
"""

import base64
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT, saml
from saml2.config import IdPConfig
from saml2.metadata import entity_descriptor
from saml2.server import Server

PEOPLE = {"alice": ("pw-alice", "devs"), "bob": ("pw-bob", "guests")}


def settings(folder, port, sp_metadata):
    """Return what pysaml2 is told."""
    here = f"http://127.0.0.1:{port}"
    service = {
        "name": "corp",
        "endpoints": {"single_sign_on_service": [(f"{here}/sso", BINDING_HTTP_REDIRECT)]},
        "sign_assertion": True,
        "sign_response": True,
        "policy": {"default": {"lifetime": {"minutes": 5}}},
    }
    return IdPConfig().load(
        {
            "entityid": f"{here}/idp",
            "service": {"idp": service},
            "key_file": f"{folder}/provider.key",
            "cert_file": f"{folder}/provider.pem",
            "xmlsec_binary": "/usr/bin/xmlsec1",
            "metadata": {"local": [sp_metadata]},
        }
    )


class Handler(BaseHTTPRequestHandler):
    """The page to which browsers are sent."""

    idp = None

    def do_GET(self):
        """Ask for a password, then send the browser back with a signed answer."""
        who = self._who()
        if who is None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="corp"')
            self.end_headers()
            return
        query = parse_qs(urlsplit(self.path).query)
        asked = self.idp.parse_authn_request(query["SAMLRequest"][0], BINDING_HTTP_REDIRECT)
        where = self.idp.response_args(asked.message)
        answer = self.idp.create_authn_response(
            {"mail": [f"{who}@corp.example"], "eduPersonEntitlement": [PEOPLE[who][1]]},
            userid=who,
            name_id=saml.NameID(format=saml.NAMEID_FORMAT_UNSPECIFIED, text=who),
            authn={"class_ref": saml.AUTHN_PASSWORD_PROTECTED, "authn_auth": "corp"},
            sign_assertion=True,
            sign_response=True,
            **where,
        )
        page = self.idp.apply_binding(
            BINDING_HTTP_POST,
            str(answer),
            where["destination"],
            query.get("RelayState", [""])[0],
            response=True,
        )
        text = page["data"]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(("".join(text) if isinstance(text, list) else text).encode())

    def _who(self):
        kind, _, given = self.headers.get("authorization", "").partition(" ")
        if kind != "Basic":
            return None
        name, _, password = base64.b64decode(given).decode().partition(":")
        return name if PEOPLE.get(name, ("",))[0] == password and password else None

    def log_message(self, form, *values):
        """Say nothing."""


def main():
    """Write the metadata and serve."""
    folder, port, sp_metadata = sys.argv[1:]
    config = settings(folder, port, sp_metadata)
    with open(f"{folder}/idp.xml", "w") as file:
        file.write(str(entity_descriptor(config)))
    Handler.idp = Server(config=config)
    ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()

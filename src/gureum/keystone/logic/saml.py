"""This cloud as a SAML provider: metadata, signed assertions about a token, and their wrapping for ECP.

Follows: SAML 2.0 core, bindings, metadata and profiles; XML Signature 1.1 (enveloped, exclusive C14N,
RSA with SHA-256); Identity API v3, "OS-FEDERATION", "Generate a SAML assertion".
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from lxml import etree  # type: ignore[import-untyped]

from gureum.core.spec import show_time
from gureum.keystone.config import SamlOptions

_A = "urn:oasis:names:tc:SAML:2.0:assertion"
_P = "urn:oasis:names:tc:SAML:2.0:protocol"
_M = "urn:oasis:names:tc:SAML:2.0:metadata"
_D = "http://www.w3.org/2000/09/xmldsig#"
_S = "http://schemas.xmlsoap.org/soap/envelope/"
_E = "urn:oasis:names:tc:SAML:2.0:profiles:SSO:ecp"
_XS = "http://www.w3.org/2001/XMLSchema"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
_VALID = timedelta(days=3650)
Element = Any  # lxml ships no types


class Saml:
    """Signs assertions with the key of the options, which is made when it is missing."""

    def __init__(self, options: SamlOptions) -> None:
        self.options = options

    @property
    def on(self) -> bool:
        """Whether this cloud is a provider."""
        return bool(self.options.idp_entity_id)

    def setup(self) -> None:
        """Make a key and a certificate if there are none."""
        keyfile, certfile = Path(self.options.keyfile), Path(self.options.certfile)
        if keyfile.exists():
            return
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Gureum SAML signing")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + _VALID)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        secret = key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        keyfile.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        certfile.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        certfile.write_bytes(certificate.public_bytes(pem))
        handle = os.open(keyfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secret)

    def _certificate(self) -> str:
        """Return the certificate as base64 without its frame."""
        self.setup()
        certificate = x509.load_pem_x509_certificate(Path(self.options.certfile).read_bytes())
        return base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()

    def _key(self) -> rsa.RSAPrivateKey:
        self.setup()
        key = serialization.load_pem_private_key(Path(self.options.keyfile).read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key

    # -- documents -----------------------------------------------------------------------------

    def metadata(self) -> bytes:
        """Return what a service provider needs to know of this cloud."""
        o = self.options
        root = etree.Element(
            _q(_M, "EntityDescriptor"), nsmap={"md": _M, "ds": _D}, entityID=o.idp_entity_id
        )
        idp = _add(root, _M, "IDPSSODescriptor", protocolSupportEnumeration=_P)
        key = _add(idp, _M, "KeyDescriptor", use="signing")
        data = _add(_add(key, _D, "KeyInfo"), _D, "X509Data")
        _add(data, _D, "X509Certificate").text = self._certificate()
        _add(
            idp,
            _M,
            "SingleSignOnService",
            Binding="urn:oasis:names:tc:SAML:2.0:bindings:URI",
            Location=o.idp_sso_endpoint,
        )
        if o.idp_organization_name:
            organization = _add(root, _M, "Organization")
            lang = {"{http://www.w3.org/XML/1998/namespace}lang": o.idp_lang}
            for name, value in (
                ("OrganizationName", o.idp_organization_name),
                ("OrganizationDisplayName", o.idp_organization_display_name),
                ("OrganizationURL", o.idp_organization_url),
            ):
                _add(organization, _M, name, **lang).text = value or o.idp_organization_name
        if o.idp_contact_company or o.idp_contact_email:
            contact = _add(root, _M, "ContactPerson", contactType="technical")
            for name, value in (
                ("Company", o.idp_contact_company),
                ("GivenName", o.idp_contact_name),
                ("SurName", o.idp_contact_surname),
                ("EmailAddress", o.idp_contact_email),
                ("TelephoneNumber", o.idp_contact_telephone),
            ):
                if value:
                    _add(contact, _M, name).text = value
        return etree.tostring(root, xml_declaration=True, encoding="UTF-8")

    def response(self, token: Mapping[str, Any], groups: Sequence[Any], recipient: str) -> Element:
        """Return a response with a signed assertion. token: the body of a token of a project.

        groups: mappings with `name` and `domain` (its name). recipient: the provider's `sp_url`.
        """
        now = datetime.now(UTC).replace(microsecond=0)
        issued = show_time(now, "z")
        until = show_time(now + timedelta(seconds=self.options.assertion_expiration_s), "z")
        root = etree.Element(
            _q(_P, "Response"),
            nsmap={"samlp": _P, "saml": _A, "xs": _XS, "xsi": _XSI},
            ID="_" + uuid.uuid4().hex,
            Version="2.0",
            IssueInstant=issued,
            Destination=recipient,
        )
        self._issuer(root)
        _add(_add(root, _P, "Status"), _P, "StatusCode", Value=f"{_STATUS}Success")
        assertion = _add(root, _A, "Assertion", ID="_" + uuid.uuid4().hex, Version="2.0")
        assertion.set("IssueInstant", issued)
        self._issuer(assertion)
        subject = _add(assertion, _A, "Subject")
        _add(subject, _A, "NameID").text = token["user"]["name"]
        confirmation = _add(subject, _A, "SubjectConfirmation", Method=f"{_CONFIRMATION}bearer")
        _add(confirmation, _A, "SubjectConfirmationData", NotOnOrAfter=until, Recipient=recipient)
        statement = _add(assertion, _A, "AuthnStatement", AuthnInstant=issued)
        statement.set("SessionIndex", uuid.uuid4().hex)
        statement.set("SessionNotOnOrAfter", until)
        context = _add(statement, _A, "AuthnContext")
        _add(context, _A, "AuthnContextClassRef").text = f"{_CLASSES}Password"
        _add(context, _A, "AuthenticatingAuthority").text = self.options.idp_entity_id
        attributes = _add(assertion, _A, "AttributeStatement")
        for name, values in _attributes(token, groups).items():
            attribute = _add(attributes, _A, "Attribute", Name=name)
            attribute.set("NameFormat", f"{_FORMAT}uri")
            for text in values:
                value = _add(attribute, _A, "AttributeValue")
                value.set(_q(_XSI, "type"), "xs:string")
                value.text = text
        self._sign(assertion)
        return root

    def _issuer(self, parent: Element) -> None:
        issuer = _add(
            parent, _A, "Issuer", Format="urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
        )
        issuer.text = self.options.idp_entity_id

    def _sign(self, assertion: Element) -> None:
        """Put a signature behind the issuer of an assertion."""
        digest = hashlib.sha256(_canonical(assertion)).digest()
        signature = etree.Element(_q(_D, "Signature"), nsmap={"ds": _D})
        info = _add(signature, _D, "SignedInfo")
        _add(info, _D, "CanonicalizationMethod", Algorithm=_C14N)
        _add(
            info,
            _D,
            "SignatureMethod",
            Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
        )
        reference = _add(info, _D, "Reference", URI="#" + assertion.get("ID"))
        transforms = _add(reference, _D, "Transforms")
        _add(transforms, _D, "Transform", Algorithm=_D + "enveloped-signature")
        _add(transforms, _D, "Transform", Algorithm=_C14N)
        _add(reference, _D, "DigestMethod", Algorithm="http://www.w3.org/2001/04/xmlenc#sha256")
        _add(reference, _D, "DigestValue").text = base64.b64encode(digest).decode()
        assertion.insert(1, signature)
        signed = self._key().sign(_canonical(info), padding.PKCS1v15(), hashes.SHA256())
        _add(signature, _D, "SignatureValue").text = base64.b64encode(signed).decode()
        data = _add(_add(signature, _D, "KeyInfo"), _D, "X509Data")
        _add(data, _D, "X509Certificate").text = self._certificate()

    def enveloped(self, response: Element, relay_state_prefix: str) -> Element:
        """Return a response as an enhanced client hands it to a service provider."""
        root = etree.Element(_q(_S, "Envelope"), nsmap={"soap11": _S, "ecp": _E})
        header = _add(root, _S, "Header")
        relay = _add(header, _E, "RelayState")
        relay.set(_q(_S, "actor"), "http://schemas.xmlsoap.org/soap/actor/next")
        relay.set(_q(_S, "mustUnderstand"), "1")
        relay.text = relay_state_prefix + uuid.uuid4().hex
        _add(root, _S, "Body").append(response)
        return root


_STATUS = "urn:oasis:names:tc:SAML:2.0:status:"
_CONFIRMATION = "urn:oasis:names:tc:SAML:2.0:cm:"
_CLASSES = "urn:oasis:names:tc:SAML:2.0:ac:classes:"
_FORMAT = "urn:oasis:names:tc:SAML:2.0:attrname-format:"


def text_of(element: Element) -> bytes:
    """Return an element as a document."""
    return etree.tostring(element, xml_declaration=True, encoding="UTF-8")


def _attributes(token: Mapping[str, Any], groups: Sequence[Any]) -> dict[str, list[str]]:
    user, project = token["user"], token["project"]
    found = {
        "openstack_user": [user["name"]],
        "openstack_user_domain": [user["domain"]["name"]],
        "openstack_roles": [role["name"] for role in token["roles"]],
        "openstack_project": [project["name"]],
        "openstack_project_domain": [project["domain"]["name"]],
    }
    if groups:
        found["openstack_groups"] = [
            "JSON:" + json.dumps({"name": group["name"], "domain": {"name": group["domain"]}})
            for group in groups
        ]
    return found


def _q(namespace: str, name: str) -> str:
    return f"{{{namespace}}}{name}"


def _add(parent: Element, namespace: str, name: str, **attributes: str) -> Element:
    return etree.SubElement(parent, _q(namespace, name), **attributes)


def _canonical(element: Element) -> bytes:
    return etree.tostring(element, method="c14n", exclusive=True, with_comments=False)

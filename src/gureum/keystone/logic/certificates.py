"""Certificates for signing: an authority of this cloud's own, and signatures in the form of CMS.

The signer's certificate and signed attributes are left out of a signature, as in the classic form of
signed tokens: who checks has the certificates already (OS-SIMPLE-CERT). ECDSA on P-256 with SHA-256.
Follows: RFC 5652 (CMS), X.690 (DER).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from gureum.keystone.logic.keyring import KeyRing, KeySource

_VALID = timedelta(days=3650)
_PEM = serialization.Encoding.PEM


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@dataclass(frozen=True, slots=True)
class Pair:
    """A key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def pem(self) -> bytes:
        """Return both as text."""
        key = self.key.private_bytes(
            _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key + self.certificate.public_bytes(_PEM)


def read_pair(pem: bytes) -> Pair:
    """Return the key and certificate of a text."""
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return Pair(key, x509.load_pem_x509_certificate(pem))


def make_pair(common_name: str, issuer: Pair | None, now: datetime | None = None) -> Pair:
    """Return a new key with a certificate; without an issuer it is an authority of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = now or datetime.now(UTC)
    made_by = issuer.certificate.subject if issuer is not None else _name(common_name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(made_by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    signer = issuer.key if issuer is not None else key
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.add_extension(authority, critical=False)
    return Pair(key, builder.sign(signer, hashes.SHA256()))


class Certificates:
    """The authority of a cloud and its signing certificates, which rotate."""

    def __init__(self, authority: KeySource, signing: KeySource, max_active_keys: int = 3) -> None:
        self._authority = KeyRing(
            authority, lambda: make_pair("Gureum token authority", None).pem(), 2
        )
        self.signing = KeyRing(signing, self._make_signing, max_active_keys)
        self._read: tuple[int, list[Pair]] | None = None

    def _make_signing(self) -> bytes:
        self._authority.look()
        issuer = read_pair(self._authority.ordered()[0])
        return make_pair("Gureum token signing", issuer).pem()

    def setup(self) -> None:
        """Make the authority and the first signing certificates if there are none."""
        self._authority.setup()
        self.signing.setup()

    def _pairs(self, *, fresh: bool = False) -> list[Pair]:
        version = self.signing.look(fresh=fresh)
        if self._read is None or self._read[0] != version:
            self._read = (version, [read_pair(pem) for pem in self.signing.ordered()])
        return self._read[1]

    def authority_pem(self) -> bytes:
        """Return the authority's certificate."""
        self._authority.look()
        return read_pair(self._authority.ordered()[0]).certificate.public_bytes(_PEM)

    def signing_pem(self) -> bytes:
        """Return the certificates that signatures may be made with, the present one first."""
        return b"".join(pair.certificate.public_bytes(_PEM) for pair in self._pairs(fresh=True))

    def sign(self, content: bytes, encoding: serialization.Encoding) -> bytes:
        """Return content with its signature, as CMS."""
        pair = self._pairs()[0]
        options = [
            pkcs7.PKCS7Options.Binary,
            pkcs7.PKCS7Options.NoAttributes,
            pkcs7.PKCS7Options.NoCerts,
        ]
        builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
        builder = builder.add_signer(pair.certificate, pair.key, hashes.SHA256())
        return builder.sign(encoding, options)

    def open(self, der: bytes) -> bytes | None:
        """Return the content of a signature that one of the certificates made, else None."""
        for fresh in (False, True):  # another node may have rotated a moment ago
            content = opened(der, [pair.certificate for pair in self._pairs(fresh=fresh)])
            if content is not None:
                return content
        return None


# -- reading CMS -----------------------------------------------------------------------------------

_SEQUENCE, _SET, _OCTETS, _INTEGER, _OID, _TAGGED_0 = 0x30, 0x31, 0x04, 0x02, 0x06, 0xA0
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_DATA = bytes.fromhex("2a864886f70d010701")


class _Reader:
    """Walks through DER."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, tag: int) -> bytes:
        """Return the content of the next element. Raises: ValueError when it is another one."""
        data, at = self._data, self._at
        if at + 2 > len(data) or data[at] != tag:
            raise ValueError("another element was expected")
        length, start = data[at + 1], at + 2
        if length >= 0x80:
            count = length & 0x7F
            if not 1 <= count <= 4:
                raise ValueError("a length that DER does not have")
            length = int.from_bytes(data[start : start + count], "big")
            start += count
        if start + length > len(data):
            raise ValueError("the element is cut off")
        self._at = start + length
        return data[start : start + length]

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self._at == len(self._data)


def opened(der: bytes, certificates: list[x509.Certificate]) -> bytes | None:
    """Return the content of a CMS signature of one of the certificates, else None."""
    try:
        content, serial, signature = _parts(der)
    except ValueError:
        return None
    now = datetime.now(UTC)
    for certificate in certificates:
        key = certificate.public_key()
        if certificate.serial_number != serial or not isinstance(key, ec.EllipticCurvePublicKey):
            continue
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            return None
        try:
            key.verify(signature, content, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return None
        return content
    return None


def _parts(der: bytes) -> tuple[bytes, int, bytes]:
    """Return content, serial number of the signer's certificate, signature. Raises: ValueError."""
    outer = _Reader(der)
    info = _Reader(outer.take(_SEQUENCE))
    if not outer.ended or info.take(_OID) != _SIGNED_DATA:
        raise ValueError("not a signature")
    signed = _Reader(_Reader(info.take(_TAGGED_0)).take(_SEQUENCE))
    signed.take(_INTEGER)
    signed.take(_SET)
    encapsulated = _Reader(signed.take(_SEQUENCE))
    if encapsulated.take(_OID) != _DATA:
        raise ValueError("another kind of content")
    content = _Reader(encapsulated.take(_TAGGED_0)).take(_OCTETS)
    signers = _Reader(signed.take(_SET))
    signer = _Reader(signers.take(_SEQUENCE))
    if not signers.ended or not signed.ended:
        raise ValueError("exactly one signer and no certificates were expected")
    signer.take(_INTEGER)
    issuer = _Reader(signer.take(_SEQUENCE))
    issuer.take(_SEQUENCE)
    serial = int.from_bytes(issuer.take(_INTEGER), "big")
    signer.take(_SEQUENCE)  # digest; it is the certificate's key that decides the algorithm
    signer.take(_SEQUENCE)  # raises when there are signed attributes in between
    return content, serial, signer.take(_OCTETS)

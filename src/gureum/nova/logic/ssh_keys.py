"""Public keys: checking, fingerprints, and making pairs for the old microversions that ask for it.

ssh: fingerprint MD5 of the key's blob (RFC 4716); x509: SHA-1 of the certificate.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gureum.core.db.types import utc_now
from gureum.nova.errors import Bad

RSA_BITS = 3072
_UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
_KINDS = (b"ssh-", b"ecdsa-", b"sk-ssh-", b"sk-ecdsa-")


def _colons(digest: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in digest)


def ssh_fingerprint(public_key: str) -> str:
    """Return the fingerprint of an OpenSSH public key line. Raises: Bad."""
    parts = public_key.split(None, 2)
    try:
        if len(parts) < 2 or "\n" in public_key.strip():
            raise ValueError
        blob = base64.b64decode(parts[1], validate=True)
        size = int.from_bytes(blob[:4], "big")
        kind = blob[4 : 4 + size]
        if kind.decode() != parts[0] or not kind.startswith(_KINDS) or len(blob) <= 4 + size:
            raise ValueError
        if not parts[0].startswith("sk-"):
            serialization.load_ssh_public_key(f"{parts[0]} {parts[1]}".encode())
    except (ValueError, binascii.Error, UnicodeDecodeError, TypeError) as error:
        raise Bad("Keypair data is invalid: failed to generate fingerprint") from error
    return _colons(hashlib.md5(blob, usedforsecurity=False).digest())


def x509_fingerprint(certificate: str) -> str:
    """Return the fingerprint of a PEM certificate. Raises: Bad."""
    try:
        known = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError as error:
        raise Bad("Keypair data is invalid: failed to generate X509 fingerprint") from error
    return _colons(known.fingerprint(hashes.SHA1()))


def _private() -> tuple[rsa.RSAPrivateKey, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()
    return key, text


def make_ssh() -> tuple[str, str]:
    """Return a new (private key, public key line)."""
    key, text = _private()
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return text, f"{public.decode()} Generated-by-Gureum\n"


def make_x509(user_id: str) -> tuple[str, str]:
    """Return a new (private key, certificate that lets a user in by WinRM)."""
    key, text = _private()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user_id[:64])])
    now = utc_now()
    upn = f"{user_id}@localhost".encode()
    der = b"\x0c" + bytes([len(upn)]) + upn if len(upn) < 128 else b"\x0c\x00"
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.OtherName(_UPN, der)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return text, certificate.public_bytes(serialization.Encoding.PEM).decode()

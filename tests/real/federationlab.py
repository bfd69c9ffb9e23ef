"""A web server in front of Keystone, and whom it asks: what the tests of federation share.

Owns: starting programs on loopback and ending them by their process ids, certificates. Must not: touch a
server of this machine.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

APACHE = shutil.which("apache2", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or ""
MODULES = Path("/usr/lib/apache2/modules")
_MODULES = (
    "mpm_event",
    "authn_core",
    "authz_core",
    "authz_user",
    "headers",
    "proxy",
    "proxy_http",
)


def apache_missing(module: str, package: str) -> str:
    """Say why Apache with a module cannot run here; empty when it can."""
    there = APACHE and (MODULES / f"mod_{module}.so").exists()
    return "" if there else f"Debian's apache2-bin or {package} is missing"


def apache(folder: Path, port: int, module: str, keystone: str, text: str) -> Path:
    """Write a configuration: a module and what it is told, in front of Keystone."""
    names = (*_MODULES, module)
    lines = [f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in names]
    if os.geteuid() == 0:
        lines += ["User www-data", "Group www-data"]
        os.chown(folder, pwd.getpwnam("www-data").pw_uid, -1)
    lines += [
        f"ServerRoot {folder}",
        "ServerName 127.0.0.1",
        f"PidFile {folder}/apache.pid",
        f"DefaultRuntimeDir {folder}",
        f"ErrorLog {folder}/error.log",
        f"Listen 127.0.0.1:{port}",
        text,
        f"ProxyPass / {keystone}/",
    ]
    file = folder / "apache.conf"
    file.write_text("\n".join(lines) + "\n")
    return file


@contextlib.contextmanager
def program(words: Sequence[str], url: str, folder: Path) -> Iterator[None]:
    """Run a program until the end of the block; it answers at the URL when the block begins."""
    log = folder / f"{Path(words[0]).name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output, cwd=folder)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(url, trust_env=False)
                break
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make NAME.pem, a certificate of 127.0.0.1 that signs itself, and NAME.key."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    cert_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    cert_file.write_bytes(made.public_bytes(pem))
    key_file.write_bytes(key.private_bytes(pem, form, plain))
    return cert_file, key_file

"""Keystone's one component."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from gureum.core.api import ApiComponent
from gureum.core.cache import CacheOptions
from gureum.core.db import Database
from gureum.core.http.dispatch import Authenticator
from gureum.core.run import Runtime
from gureum.keystone.client import Credentials, Session, TokenChecker
from gureum.keystone.config import (
    AuthOptions,
    ComplianceOptions,
    CredentialOptions,
    FederationOptions,
    FernetOptions,
    IdentityOptions,
    KeystoneOptions,
    LimitOptions,
    SamlOptions,
    ServicePasswordOptions,
    ServiceUserOptions,
    TokenOptions,
)
from gureum.keystone.logic.certificates import Certificates
from gureum.keystone.logic.claims import TokenProvider
from gureum.keystone.logic.deps import Deps
from gureum.keystone.logic.directories import Directories
from gureum.keystone.logic.fernet import FernetProvider, KeyRepository
from gureum.keystone.logic.keyring import DatabaseKeys, FolderKeys, KeyRing, KeySource
from gureum.keystone.logic.passwords import Hasher
from gureum.keystone.logic.providers import JwsProvider, PkiProvider, SigningKeys, UuidProvider
from gureum.keystone.logic.receipts import Receipts
from gureum.keystone.logic.saml import Saml
from gureum.keystone.logic.tokens import OwnTokens
from gureum.keystone.logic.vault import Vault
from gureum.keystone.service import SERVICE

PORT = 5000


class KeystoneApi(ApiComponent):
    """The Identity API."""

    name = "keystone"
    service = SERVICE
    port = PORT

    def make_deps(self, runtime: Runtime, databases: dict[str, Database]) -> Deps:
        """Open the key repository and the hasher."""
        return make_deps(runtime, databases[""])

    def authenticator(self, runtime: Runtime, deps: Deps) -> Authenticator:
        """Keystone checks tokens with its own database."""
        return OwnTokens(deps)


def make_deps(runtime: Runtime, database: Database) -> Deps:
    """Build Keystone's deps; keys are made when they are missing."""
    get = runtime.config.get
    options, auth = get(KeystoneOptions), get(AuthOptions)
    keys = Keys.of(runtime, database)
    certificates = keys.certificates()
    return Deps(
        db=database,
        options=options,
        compliance=get(ComplianceOptions),
        provider=keys.provider(certificates),
        hasher=Hasher(options),
        vault=Vault(keys.ring("credential")),
        credential_options=get(CredentialOptions),
        auth=auth,
        federation=get(FederationOptions),
        limits=get(LimitOptions),
        receipts=Receipts(keys.ring("receipt"), auth.receipt_expiration_s),
        saml=Saml(get(SamlOptions)),
        certificates=certificates,
        directories=Directories(
            database,
            config_dir=get(IdentityOptions).domain_config_dir,
            cache_s=get(IdentityOptions).directory_cache_s,
        ),
    )


@dataclass(frozen=True, slots=True)
class Keys:
    """The rings of keys of one cloud, from files or shared in the database; made when missing."""

    database: Database
    options: TokenOptions
    folders: Mapping[str, str]
    max_active_keys: int
    cluster_key: bytes | None

    PURPOSES: ClassVar = ("fernet", "receipt", "credential", "jws", "pki")

    @classmethod
    def of(cls, runtime: Runtime, database: Database) -> Keys:
        """Read the options."""
        fernet, options = runtime.config.get(FernetOptions), runtime.config.get(TokenOptions)
        shared = options.key_source == "database"
        return cls(
            database,
            options,
            {
                "fernet": fernet.key_repository,
                "credential": runtime.config.get(CredentialOptions).key_repository,
                "receipt": runtime.config.get(AuthOptions).receipt_key_repository,
                "jws": options.jws_key_repository,
                "pki": f"{options.pki_repository}/signing",
                "pki-authority": f"{options.pki_repository}/authority",
            },
            fernet.max_active_keys,
            _read_cluster_key(options.cluster_key) if shared else None,
        )

    def source(self, purpose: str) -> KeySource:
        """Return where the keys of a purpose lie."""
        if self.cluster_key is not None:
            return DatabaseKeys(self.database, purpose, self.cluster_key)
        return FolderKeys(self.folders[purpose])

    def ring(self, purpose: str) -> KeyRepository:
        """Return a ring of fernet keys: `fernet`, `credential` or `receipt`."""
        keys = KeyRepository(self.source(purpose), self.max_active_keys)
        keys.setup()
        return keys

    def of_purpose(self, purpose: str) -> KeyRing:
        """Return the ring of a purpose, made when it is missing."""
        if purpose == "jws":
            return self.signing()
        if purpose == "pki":
            return self._certificates().signing
        return self.ring(purpose)

    def numbers(self, purpose: str) -> list[int]:
        """Return the numbers of the keys that there are; makes none."""
        if self.cluster_key is None and not Path(self.folders[purpose]).is_dir():
            return []
        return list(self.source(purpose).read())

    def public_files(self) -> dict[str, bytes]:
        """Return what others need to check tokens themselves, by the names of files."""
        if self.options.provider == "jws":
            keys = self.signing().public_pem()
            return {f"jws-public-{number}.pem": pem for number, pem in enumerate(keys)}
        certificates = self.certificates()
        if certificates is None:
            return {}
        return {"ca.pem": certificates.authority_pem(), "signing.pem": certificates.signing_pem()}

    def signing(self) -> SigningKeys:
        """Return the keys of jws tokens."""
        keys = SigningKeys(self.source("jws"), self.max_active_keys)
        keys.setup()
        return keys

    def certificates(self) -> Certificates | None:
        """Return the certificates, where tokens are signed with them."""
        return self._certificates() if self.options.provider in ("pki", "pkiz") else None

    def _certificates(self) -> Certificates:
        authority, signing = self.source("pki-authority"), self.source("pki")
        found = Certificates(authority, signing, self.max_active_keys)
        found.setup()
        return found

    def provider(self, certificates: Certificates | None) -> TokenProvider:
        """Return what makes tokens of the chosen form."""
        if certificates is not None:
            return PkiProvider(certificates, compressed=self.options.provider == "pkiz")
        if self.options.provider == "jws":
            return JwsProvider(self.signing())
        if self.options.provider == "uuid":
            return UuidProvider(self.database)
        return FernetProvider(self.ring("fernet"))


def _read_cluster_key(path: str) -> bytes:
    try:
        return Path(path).read_bytes().strip()
    except FileNotFoundError:
        raise RuntimeError(
            f"[keystone.token] key_source is database, and {path} is missing: copy it from another"
            " node, or make it with `gureum keystone keys cluster-key`"
        ) from None


def session_for(runtime: Runtime, user: str) -> Session:
    """Return a session of a service user, such as `nova`, with the password of its section."""
    common = runtime.config.get(ServiceUserOptions)
    own = runtime.config.named(ServicePasswordOptions).get(user, ServicePasswordOptions())
    url = common.auth_url or f"http://{runtime.cloud.address}:{runtime.port(PORT)}/v3"
    credentials = Credentials(
        auth_url=url,
        username=common.name_prefix + user,
        password=own.password,
        project_name=common.project_name,
        region=runtime.cloud.region,
    )
    return Session(runtime.client, credentials)


def token_checker(runtime: Runtime, user: str) -> TokenChecker:
    """Return the authenticator of another service's API."""
    cache_s = runtime.config.get(CacheOptions).token_cache_time
    return TokenChecker(session_for(runtime, user), cache_s=cache_s, shared=runtime.cache)

"""Keystone's one component."""

from __future__ import annotations

from gureum.core.api import ApiComponent
from gureum.core.db import Database
from gureum.core.http.dispatch import Authenticator
from gureum.core.run import Runtime
from gureum.keystone.client import Credentials, Session, TokenChecker
from gureum.keystone.config import (
    ComplianceOptions,
    CredentialOptions,
    FernetOptions,
    KeystoneOptions,
    ServicePasswordOptions,
    ServiceUserOptions,
)
from gureum.keystone.logic.deps import Deps
from gureum.keystone.logic.fernet import FernetProvider, KeyRepository
from gureum.keystone.logic.passwords import Hasher
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
    """Build Keystone's deps; the key repository is made when it is missing."""
    fernet = runtime.config.get(FernetOptions)
    keys = KeyRepository(fernet.key_repository, fernet.max_active_keys)
    keys.setup()
    credential = runtime.config.get(CredentialOptions)
    vault_keys = KeyRepository(credential.key_repository)
    vault_keys.setup()
    options = runtime.config.get(KeystoneOptions)
    return Deps(
        db=database,
        options=options,
        compliance=runtime.config.get(ComplianceOptions),
        provider=FernetProvider(keys),
        hasher=Hasher(options),
        vault=Vault(vault_keys),
        credential_options=credential,
    )


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
    return TokenChecker(session_for(runtime, user))

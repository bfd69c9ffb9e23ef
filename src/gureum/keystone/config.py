"""Keystone's options."""

from dataclasses import dataclass

from gureum.core.config import option, section


@section("keystone", "The identity service.")
@dataclass(frozen=True, slots=True)
class KeystoneOptions:
    """General settings."""

    token_expiration_s: int = option("Life of a token.", default=14400, unit="s", min=60)
    max_password_length: int = option("Longest password.", default=1024, min=72, max=4096)
    hash_time_cost: int = option("argon2id passes over memory.", default=2, min=1, max=16)
    hash_memory_kib: int = option(
        "argon2id memory.", default=19456, unit="KiB", min=8192, max=1048576
    )
    hash_workers: int = option(
        "Passwords hashed at the same time; more wait, so that logins cannot starve other work.",
        default=2,
        min=1,
        max=64,
    )
    max_project_tree_depth: int = option("Deepest tree of projects.", default=5, min=1, max=64)
    list_limit: int = option("Most entities a list shows; 0 means all.", default=0, min=0)


@section("keystone.fernet_tokens", "Keys of fernet tokens.")
@dataclass(frozen=True, slots=True)
class FernetOptions:
    """Where keys lie and how many stay valid."""

    key_repository: str = option(
        "Folder of the keys: 0 is staged, the highest number is primary.",
        default="{state_dir}/fernet-keys",
    )
    max_active_keys: int = option("Keys kept after a rotation.", default=3, min=2, max=100)


@section("keystone.credential", "Keys that encrypt stored credentials.")
@dataclass(frozen=True, slots=True)
class CredentialOptions:
    """Where keys lie."""

    key_repository: str = option(
        "Folder of the keys: 0 is staged, the highest number is primary.",
        default="{state_dir}/credential-keys",
    )
    user_limit: int = option("Most credentials of one user; -1 means no limit.", default=-1, min=-1)


@section("keystone.security_compliance", "Rules about users and passwords.")
@dataclass(frozen=True, slots=True)
class ComplianceOptions:
    """Lockout, history, strength."""

    lockout_failure_attempts: int = option(
        "Failed logins until a user is locked; 0 means never.", default=0, min=0
    )
    lockout_duration_s: int = option("How long a lock holds.", default=1800, unit="s", min=1)
    unique_last_password_count: int = option(
        "How many last passwords, the present one among them, may not be chosen again; 0 means any"
        " may.",
        default=0,
        min=0,
        max=24,
    )
    password_regex: str = option(
        "What a new password must match; empty means anything.", default=""
    )
    password_regex_description: str = option("The same in words, for people.", default="")


@section("service_user", "How this process's services authenticate with Keystone.")
@dataclass(frozen=True, slots=True)
class ServiceUserOptions:
    """The account of a service. A section [service_user.NAME] overrides it for one service."""

    auth_url: str = option("Keystone's URL; empty means this cloud's.", default="")
    project_name: str = option("Project of the service users.", default="gureum-services")
    name_prefix: str = option(
        "Stands before the names of the service users, so that `nova` and the others stay free for"
        " the operator; empty beside an upstream Keystone.",
        default="gureum-",
    )


@section("service_user.*", "The password of one service's user, such as [service_user.nova].")
@dataclass(frozen=True, slots=True)
class ServicePasswordOptions:
    """Secret of one service user."""

    password: str = option("Password.", default="", secret=True)


OPTIONS = (
    KeystoneOptions,
    FernetOptions,
    CredentialOptions,
    ComplianceOptions,
    ServiceUserOptions,
    ServicePasswordOptions,
)

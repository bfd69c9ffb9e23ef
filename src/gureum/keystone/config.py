"""Keystone's options."""

from dataclasses import dataclass

from gureum.core.config import option, section


@section("keystone", "The identity service.")
@dataclass(frozen=True, slots=True)
class KeystoneOptions:
    """General settings."""

    token_expiration_s: int = option("Life of a token.", default=14400, unit="s", min=60)
    max_password_length: int = option("Longest password.", default=1024, min=72, max=4096)
    hash_time_cost: int = option("argon2id passes over memory.", default=5, min=1, max=16)
    hash_memory_kib: int = option(
        "argon2id memory.", default=7168, unit="KiB", min=7168, max=1048576
    )
    hash_workers: int = option("Passwords hashed at the same time.", default=2, min=1, max=64)
    hash_queue: int = option(
        "Logins that wait for their turn; more are told to come again (503).",
        default=16,
        min=0,
        max=10000,
    )
    hash_nice: int = option(
        "Niceness of the threads that hash, so that logins cannot starve other work.",
        default=5,
        min=0,
        max=19,
    )
    max_project_tree_depth: int = option("Deepest tree of projects.", default=5, min=1, max=64)
    list_limit: int = option("Most entities a list shows; 0 means all.", default=0, min=0)


@section("keystone.auth", "How users may prove who they are.")
@dataclass(frozen=True, slots=True)
class AuthOptions:
    """Methods of a login."""

    methods: tuple[str, ...] = option(
        "Methods that are offered.",
        default=(
            "password",
            "token",
            "application_credential",
            "totp",
            "mapped",
            "saml2",
            "openid",
            "oauth1",
        ),
    )
    totp_previous_windows: int = option(
        "Passcodes of how many earlier 30 second windows count too.", default=1, min=0, max=10
    )
    receipt_expiration_s: int = option(
        "Life of a receipt, which keeps what one step of a login has proven.",
        default=300,
        unit="s",
        min=30,
    )
    receipt_key_repository: str = option(
        "Folder of the keys of receipts.", default="{state_dir}/receipt-keys"
    )
    oauth1_request_token_s: int = option(
        "Life of an OAuth1 request token; 0 means for ever.", default=28800, unit="s", min=0
    )
    oauth1_access_token_s: int = option(
        "Life of an OAuth1 access token; 0 means for ever.", default=86400, unit="s", min=0
    )
    signature_age_s: int = option(
        "Oldest signed EC2 or OAuth1 request that is accepted.", default=900, unit="s", min=1
    )


@section("keystone.federation", "Users that another party has authenticated.")
@dataclass(frozen=True, slots=True)
class FederationOptions:
    """Whom to believe."""

    trusted_proxies: tuple[str, ...] = option(
        "Addresses or networks of the web servers in front that hand over attributes as headers;"
        " from others such headers are not read. Empty: no login through a provider.",
        default=(),
    )
    attribute_prefixes: tuple[str, ...] = option(
        "Beginnings of the names of headers that are attributes; the web server in front must"
        " remove what clients send under these names.",
        default=("OIDC", "MELLON", "SHIB", "REMOTE_USER", "REMOTE_", "OPENSTACK_"),
    )
    attribute_separator: str = option("Stands between the values of an attribute.", default=";")
    remote_id_attribute: str = option(
        "Attribute that names the provider, where a protocol does not say another.", default=""
    )
    trusted_dashboard: tuple[str, ...] = option(
        "Addresses that a browser's login may return to with a token.", default=()
    )
    default_authorization_ttl_s: int = option(
        "How long groups of a login through a provider count beyond its token, where the provider"
        " does not say; 0 means not at all.",
        default=0,
        unit="s",
        min=0,
    )


@section("keystone.saml", "This cloud as a provider for others (Keystone to Keystone).")
@dataclass(frozen=True, slots=True)
class SamlOptions:
    """What assertions say and how they are signed."""

    idp_entity_id: str = option("Name of this cloud as a provider; empty: off.", default="")
    idp_sso_endpoint: str = option("Where service providers send browsers.", default="")
    certfile: str = option(
        "Certificate of the signing key; made when it is missing.",
        default="{state_dir}/saml/signing_cert.pem",
    )
    keyfile: str = option(
        "Signing key; made when it is missing.", default="{state_dir}/saml/signing_key.pem"
    )
    assertion_expiration_s: int = option("Life of an assertion.", default=3600, unit="s", min=60)
    idp_lang: str = option("Language of the organisation's names.", default="en")
    idp_organization_name: str = option("Name of the organisation.", default="")
    idp_organization_display_name: str = option("Its name for people.", default="")
    idp_organization_url: str = option("Its page.", default="")
    idp_contact_company: str = option("Company of the contact.", default="")
    idp_contact_name: str = option("Given name of the contact.", default="")
    idp_contact_surname: str = option("Surname of the contact.", default="")
    idp_contact_email: str = option("Mail address of the contact.", default="")
    idp_contact_telephone: str = option("Telephone number of the contact.", default="")
    relay_state_prefix: str = option("Prefix of the relay state of ECP.", default="ss:mem:")


@section("keystone.identity", "Where users come from.")
@dataclass(frozen=True, slots=True)
class IdentityOptions:
    """Domains with a directory of their own."""

    domain_config_dir: str = option(
        "Folder of files keystone.DOMAIN.conf with the options of a domain; what the API has set for"
        " a domain wins.",
        default="{config_dir}/keystone/domains",
    )
    directory_cache_s: int = option(
        "How long what a directory said about a user counts before it is asked again.",
        default=60,
        unit="s",
        min=0,
    )


@section("keystone.token", "The form of tokens.")
@dataclass(frozen=True, slots=True)
class TokenOptions:
    """Provider, and keys of those that sign."""

    provider: str = option(
        "fernet: small and encrypted. jws: signed, anybody with the public key can read it. uuid: a"
        " row in the database. pki and pkiz: a signed (and compressed) document with roles and"
        " catalogue.",
        default="fernet",
        choices=("fernet", "jws", "uuid", "pki", "pkiz"),
    )
    jws_key_repository: str = option(
        "Folder of the keys of jws tokens.", default="{state_dir}/jws-keys"
    )
    pki_repository: str = option(
        "Folder of the certificates and keys of pki and pkiz tokens.",
        default="{state_dir}/pki-keys",
    )
    key_source: str = option(
        "files: each folder of keys is shared by hand. database: the nodes of a cloud share keys in"
        " the database, encrypted with the cluster key.",
        default="files",
        choices=("files", "database"),
    )
    cluster_key: str = option(
        "File of the key that shared keys are encrypted with; the same on every node.",
        default="{config_dir}/keystone-cluster.key",
    )


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
    password_expires_days: int = option(
        "Days after which a password must be changed; 0 means never.", default=0, unit="d", min=0
    )
    minimum_password_age_days: int = option(
        "Days before users may change a new password again; 0 means at once.",
        default=0,
        unit="d",
        min=0,
    )
    change_password_upon_first_use: bool = option(
        "Whether a password that an administrator has set must be changed before it can be used.",
        default=False,
    )
    disable_user_account_days_inactive: int = option(
        "Days without a login after which a user counts as disabled; 0 means never.",
        default=0,
        unit="d",
        min=0,
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


@section("keystone.unified_limit", "Limits of projects and domains.")
@dataclass(frozen=True, slots=True)
class LimitOptions:
    """How limits of a tree of projects relate."""

    enforcement_model: str = option(
        "flat: a limit says nothing about the projects below. strict_two_level: the limits of the"
        " children of a project fit into its own; trees have two levels at most.",
        default="flat",
        choices=("flat", "strict_two_level"),
    )


OPTIONS = (
    KeystoneOptions,
    AuthOptions,
    FederationOptions,
    SamlOptions,
    IdentityOptions,
    TokenOptions,
    LimitOptions,
    FernetOptions,
    CredentialOptions,
    ComplianceOptions,
    ServiceUserOptions,
    ServicePasswordOptions,
)

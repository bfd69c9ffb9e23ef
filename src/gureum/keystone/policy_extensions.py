"""Rules of credentials, limits, domain configuration and the OS-* extensions. Names are OpenStack's."""

from __future__ import annotations

from gureum.core.policy.rules import Rule

_ADMIN = "rule:admin_required"
_READ = f"{_ADMIN} or (role:reader and system_scope:all)"
_NO_DOMAIN = ("system", "project")
_ANY = ("system", "domain", "project")

_CRUD = (
    # noun, plural, name of the read rules' text
    ("policy", "policies", "a stored policy"),
    ("consumer", "consumers", "an OAuth1 consumer"),
    ("endpoint_group", "endpoint_groups", "an endpoint group"),
    ("identity_provider", "identity_providers", "an identity provider"),
    ("mapping", "mappings", "a mapping of federated attributes"),
    ("protocol", "protocols", "a protocol of an identity provider"),
    ("service_provider", "service_providers", "a service provider"),
)

_LINKS = {
    "policy_association_for_endpoint": "a policy of an endpoint",
    "policy_association_for_service": "a policy of a service",
    "policy_association_for_region_and_service": "a policy of a service in a region",
}

_READS = {
    "get_policy_for_endpoint": "Show the policy that counts for an endpoint.",
    "list_endpoints_for_policy": "List the endpoints for which a policy counts.",
    "list_projects_for_endpoint": "List the projects that an endpoint is tied to.",
    "list_endpoints_for_project": "List the endpoints that a project is tied to.",
    "check_endpoint_in_project": "Ask whether a project is tied to an endpoint.",
    "list_projects_associated_with_endpoint_group": "List the projects of an endpoint group.",
    "list_endpoints_associated_with_endpoint_group": "List the endpoints of an endpoint group.",
    "get_endpoint_group_in_project": "Ask whether a project is tied to an endpoint group.",
    "list_endpoint_groups_for_project": "List the endpoint groups of a project.",
    "get_domain_config": "Show the configuration of a domain.",
    "get_domain_config_default": "Show the default configuration of domains.",
}

_WRITES = {
    "add_endpoint_to_project": "Tie a project to an endpoint.",
    "remove_endpoint_from_project": "Untie a project from an endpoint.",
    "add_endpoint_group_to_project": "Tie a project to an endpoint group.",
    "remove_endpoint_group_from_project": "Untie a project from an endpoint group.",
    "create_domain_config": "Configure a domain.",
    "update_domain_config": "Change the configuration of a domain.",
    "delete_domain_config": "Delete the configuration of a domain.",
    "create_registered_limits": "Register limits.",
    "update_registered_limit": "Change a registered limit.",
    "delete_registered_limit": "Delete a registered limit.",
    "create_limits": "Create limits.",
}


def _credentials() -> list[Rule]:
    owner = "user_id:%(target.credential.user_id)s"
    mine = "user_id:%(user_id)s"
    member = "role:member and user_id:%(target.user.id)s"
    return [
        Rule("identity:get_credential", f"{_READ} or {owner}", "Show a credential.", _ANY),
        Rule("identity:list_credentials", f"{_READ} or {owner}", "List credentials.", _ANY),
        *(
            Rule(
                f"identity:{verb}_credential",
                f"{_ADMIN} or {owner}",
                f"{verb.title()} a credential.",
                _ANY,
            )
            for verb in ("create", "update", "delete")
        ),
        Rule("identity:ec2_get_credential", f"{_READ} or {mine}", "Show a key pair.", _NO_DOMAIN),
        Rule("identity:ec2_list_credentials", f"{_READ} or {mine}", "List key pairs.", _NO_DOMAIN),
        Rule(
            "identity:ec2_create_credential",
            f"{_ADMIN} or {member}",
            "Create a key pair.",
            _NO_DOMAIN,
        ),
        Rule(
            "identity:ec2_delete_credential",
            f"{_ADMIN} or {mine}",
            "Delete a key pair.",
            _NO_DOMAIN,
        ),
    ]


def _trusts() -> list[Rule]:
    trustor = "user_id:%(target.trust.trustor_user_id)s"
    trustee = "user_id:%(target.trust.trustee_user_id)s"
    either = f"{_READ} or {trustor} or {trustee}"
    return [
        Rule("identity:create_trust", trustor, "Create a trust.", ("project",)),
        Rule("identity:list_trusts", _READ, "List all trusts.", _NO_DOMAIN),
        Rule(
            "identity:list_trusts_for_trustor",
            f"{_READ} or {trustor}",
            "List the trusts that a user gave.",
            _NO_DOMAIN,
        ),
        Rule(
            "identity:list_trusts_for_trustee",
            f"{_READ} or {trustee}",
            "List the trusts that a user was given.",
            _NO_DOMAIN,
        ),
        Rule("identity:get_trust", either, "Show a trust.", _NO_DOMAIN),
        Rule("identity:delete_trust", f"{_ADMIN} or {trustor}", "Delete a trust.", _NO_DOMAIN),
        Rule("identity:list_roles_for_trust", either, "List the roles of a trust.", _NO_DOMAIN),
        Rule("identity:get_role_for_trust", either, "Show a role of a trust.", _NO_DOMAIN),
    ]


def _limits() -> list[Rule]:
    own = "project_id:%(target.limit.project_id)s or domain_id:%(target.limit.domain_id)s"
    above = "domain_id:%(target.limit.project.domain_id)s"
    changes = f"{_ADMIN}"
    return [
        Rule("identity:get_limit_model", "", "Show how limits are enforced.", _ANY),
        Rule("identity:get_limit", f"{_READ} or {own} or {above}", "Show a limit.", _ANY),
        Rule("identity:list_limits", "", "List limits, as far as one may see them.", _ANY),
        Rule("identity:get_registered_limit", "", "Show a registered limit.", _ANY),
        Rule("identity:list_registered_limits", "", "List registered limits.", _ANY),
        Rule("identity:update_limit", changes, "Change a limit.", _NO_DOMAIN),
        Rule("identity:delete_limit", changes, "Delete a limit.", _NO_DOMAIN),
    ]


def _plain() -> list[Rule]:
    rules = []
    for noun, plural, text in _CRUD:
        for verb in ("create", "update", "delete"):
            rules.append(
                Rule(f"identity:{verb}_{noun}", _ADMIN, f"{verb.title()} {text}.", _NO_DOMAIN)
            )
        rules.append(Rule(f"identity:get_{noun}", _READ, f"Show {text}.", _NO_DOMAIN))
        rules.append(Rule(f"identity:list_{plural}", _READ, f"List {plural}.", _NO_DOMAIN))
    for noun, text in _LINKS.items():
        rules.append(Rule(f"identity:create_{noun}", _ADMIN, f"Set {text}.", _NO_DOMAIN))
        rules.append(Rule(f"identity:check_{noun}", _READ, f"Check {text}.", _NO_DOMAIN))
        rules.append(Rule(f"identity:delete_{noun}", _ADMIN, f"Take away {text}.", _NO_DOMAIN))
    rules += [Rule(f"identity:{name}", _READ, text, _NO_DOMAIN) for name, text in _READS.items()]
    rules += [Rule(f"identity:{name}", _ADMIN, text, _NO_DOMAIN) for name, text in _WRITES.items()]
    rules.append(
        Rule(
            "identity:list_revoke_events",
            f"{_ADMIN} or rule:service_role",
            "List what was revoked.",
            _NO_DOMAIN,
        )
    )
    rules.append(
        Rule(
            "identity:get_security_compliance_domain_config",
            "",
            "Show what a domain asks of passwords.",
            _ANY,
        )
    )
    return rules


def _delegation() -> list[Rule]:
    owner = "user_id:%(target.user.id)s"
    services = f"{_ADMIN} or rule:service_role"
    reads = {
        "list_access_tokens": "List the access tokens that a user has given.",
        "get_access_token": "Show an access token.",
        "list_access_token_roles": "List the roles of an access token.",
        "get_access_token_role": "Show a role of an access token.",
    }
    return [
        Rule(
            "identity:authorize_request_token",
            owner,
            "Authorize a request token of OAuth1 with one's own roles.",
            ("project",),
        ),
        *(Rule(f"identity:{n}", f"{_READ} or {owner}", text, _ANY) for n, text in reads.items()),
        Rule(
            "identity:delete_access_token",
            f"{_ADMIN} or {owner}",
            "Take an access token back.",
            _ANY,
        ),
        Rule("identity:ec2tokens_validate", services, "Ask who signed an EC2 request.", _ANY),
        Rule("identity:s3tokens_validate", services, "Ask who signed an S3 request.", _ANY),
        Rule("identity:revocation_list", services, "List revoked tokens.", _ANY),
        Rule("identity:get_policy_association", _READ, "Ask whether a policy counts.", _NO_DOMAIN),
    ]


RULES = [*_delegation(), *_credentials(), *_trusts(), *_limits(), *_plain()]

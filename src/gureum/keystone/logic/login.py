"""A login: proving who one is by one or several methods, then choosing the scope.

Follows: Identity API v3, "Authentication and token management".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Forbidden, Unauthorized
from gureum.keystone.errors import BadPassword, MoreNeeded, UnknownMethod
from gureum.keystone.logic import effective, oauth1, proofs, receipts, tokens, trusts
from gureum.keystone.logic.claims import new_audit_id
from gureum.keystone.logic.deps import Checked, Deps
from gureum.keystone.logic.proofs import Caller, Proven, find_domain, join, usable
from gureum.keystone.store import entities, tables

_PROVE: dict[str, Callable[[Deps, Any, Caller], Proven]] = {
    "password": proofs.password,
    "token": proofs.token,
    "application_credential": proofs.application_credential,
    "totp": proofs.passcode,
    "oauth1": oauth1.prove,
    "mapped": proofs.token,  # with a token of `…/protocols/…/auth`, to choose a scope
    "saml2": proofs.token,
    "openid": proofs.token,
}


def login(deps: Deps, auth: Any, caller: Caller) -> tuple[str, Checked]:
    """Return a token and what it means. auth: an `api.auth.Auth` struct.

    Raises: Unauthorized, MoreNeeded, BadRequest, TooManyLogins.
    """
    identity = auth.identity
    proven: Proven | None = None
    if not identity.methods:
        raise UnknownMethod()
    for method in dict.fromkeys(identity.methods):
        if method not in _PROVE or method not in deps.auth.methods:
            raise UnknownMethod()
        part = identity.get(method)
        if part is None:
            raise BadRequest(f"Expecting to find {method} in identity.")
        proof = _PROVE[method](deps, part, caller)
        if proven is not None and proven.user_id != proof.user_id:
            raise BadPassword()
        proven = proof if proven is None else join(proven, proof)
    assert proven is not None
    proven = require_enough(deps, proven, caller)
    wanted = auth.get("scope")
    trust_id = ""
    if wanted is not None and wanted != "unscoped" and wanted.get("trust") is not None:
        proven, scope, trust_id = _use_trust(deps, proven, wanted)
    else:
        with deps.db.read() as tx:
            scope = _scope(tx, proven, wanted)
    return issue(deps, proven, scope, trust_id)


def issue(
    deps: Deps, proven: Proven, scope: tuple[str, str], trust_id: str = ""
) -> tuple[str, Checked]:
    """Return a token of what was proven. Raises: Unauthorized (no role in the scope)."""
    audit = (new_audit_id(),) if proven.chain is None else (new_audit_id(), proven.chain)
    claims = tokens.claims_for(
        deps,
        user_id=proven.user_id,
        methods=proven.methods,
        scope=scope,
        audit_ids=audit,
        expires_at=proven.expires_at,
        application_credential_id=proven.application_credential_id,
        trust_id=trust_id,
        access_token_id=proven.access_token_id,
        idp_id=proven.idp_id,
        protocol_id=proven.protocol_id,
        group_ids=proven.group_ids,
    )
    return tokens.issue(deps, claims)


def require_enough(deps: Deps, proven: Proven, caller: Caller) -> Proven:
    """Add what a receipt keeps and ask the user's rules. Raises: MoreNeeded, Unauthorized."""
    text = caller.headers.get("openstack-auth-receipt")
    if text is not None and deps.receipts is not None:
        receipt = deps.receipts.read(text)
        if receipt is None or receipt.user_id != proven.user_id:
            raise Unauthorized()
        methods = tuple(dict.fromkeys((*receipt.methods, *proven.methods)))
        proven = replace(proven, methods=methods)
    user = proven.user
    if user is None:
        with deps.db.read() as tx:
            user = entities.get(tx, tables.users, proven.user_id)
    options = user.options if user is not None else None
    rules = receipts.missing(options, proven.methods, deps.auth.methods)
    if rules and deps.receipts is not None:
        with deps.db.read() as tx:
            domain = entities.get(tx, tables.domains, user.domain_id)
        made, receipt = deps.receipts.issue(proven.user_id, proven.methods)
        error = MoreNeeded(receipts.shown(receipt, user, domain), rules)
        error.headers.append(("Openstack-Auth-Receipt", made))
        raise error
    return proven


def _use_trust(deps: Deps, proven: Proven, scope: Any) -> tuple[Proven, tuple[str, str], str]:
    """Become what a trust allows; counts one use. Raises: BadRequest, Forbidden, Unauthorized."""
    if len(list(scope.items())) != 1:
        raise BadRequest("The scope must name exactly one of project, domain, system and trust.")
    return use_trust(deps, proven, scope.trust.id)


def use_trust(deps: Deps, proven: Proven, trust_id: str) -> tuple[Proven, tuple[str, str], str]:
    """Become what a trust allows; counts one use. Raises: Forbidden, Unauthorized."""
    if proven.application_credential_id:
        raise Forbidden("An application credential is bound to its own project.")
    if proven.access_token_id:
        raise Forbidden("An access token is bound to its own project.")
    with deps.db.write() as tx:
        trust = entities.get(tx, tables.trusts, trust_id)
        if trust is None or not trusts.usable(trust):
            raise Unauthorized()
        if trust.trustee_user_id != proven.user_id:
            raise Forbidden("Only its trustee can use a trust.")
        for row in trusts.chain(tx, trust):
            trustor = entities.get(tx, tables.users, row.trustor_user_id)
            if trustor is None or not usable(tx, trustor):
                raise Forbidden("The trustor of the trust is not enabled.")
        trusts.consume(tx, trust)
    until = min(filter(None, (proven.expires_at, trust.expires_at)), default=None)
    user_id = trust.trustor_user_id if trust.impersonation else trust.trustee_user_id
    became = replace(proven, user_id=user_id, expires_at=until)
    return became, ("p", trust.project_id) if trust.project_id else ("", ""), trust.id


# -- scope -----------------------------------------------------------------------------------------


def _scope(tx: Tx, proven: Proven, scope: Any) -> tuple[str, str]:
    """Return ("p" | "d" | "s" | "", id). Raises: Unauthorized, BadRequest, Forbidden."""
    if proven.only_project_id is not None:
        if scope is not None and scope != "unscoped":
            wanted = _wanted(tx, scope)
            if wanted != ("p", proven.only_project_id):
                raise Forbidden("An application credential is bound to its own project.")
        return "p", proven.only_project_id
    if scope == "unscoped":
        return "", ""
    if scope is None:
        chosen = proven.default_project_id
        if chosen and "token" not in proven.methods and _usable_project(tx, proven.user_id, chosen):
            return "p", chosen
        return "", ""
    wanted = _wanted(tx, scope)
    if wanted is None:
        raise Unauthorized()
    return wanted  # whether the user has a role there is found when the token is described


def _usable_project(tx: Tx, user_id: str, project_id: str) -> bool:
    project = entities.get(tx, tables.projects, project_id)
    if project is None or not project.enabled:
        return False
    return bool(effective.roles_in(tx, user_id, "p", project_id))


def _wanted(tx: Tx, scope: Any) -> tuple[str, str] | None:
    given = [name for name, _ in scope.items()]
    if len(given) != 1:
        raise BadRequest("The scope must name exactly one of project, domain and system.")
    if given == ["system"]:
        if scope.system.get("all") is not True:
            raise BadRequest("The system scope is {'all': true}.")
        return "s", ""
    if given == ["domain"]:
        domain = find_domain(tx, scope.domain)
        return ("d", domain.id) if domain is not None and domain.enabled else None
    project = scope.project
    if project.get("id"):
        row = entities.get(tx, tables.projects, project.id)
    else:
        if not project.get("name"):
            raise BadRequest("Expecting to find id or name in project.")
        where = project.get("domain")
        domain_id = where.get("id") if where is not None else None
        if not domain_id:
            domain = find_domain(tx, where)
            domain_id = domain.id if domain is not None else ""
        row = entities.find(tx, tables.projects, name=project.name, domain_id=domain_id)
    return ("p", row.id) if row is not None and row.enabled else None

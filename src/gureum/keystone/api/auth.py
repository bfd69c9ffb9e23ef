"""Authentication: tokens, and what a token can reach."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    PUBLIC,
    TOKEN,
    BadRequest,
    Boolean,
    Enum,
    Forbidden,
    Id,
    ListOf,
    Nested,
    OneOf,
    Reply,
    String,
    Struct,
    Unauthorized,
    operation,
)
from gureum.keystone.api.shapes import Reference, shown
from gureum.keystone.errors import Missing, MoreNeeded, PasswordExpired, TooManyLogins
from gureum.keystone.logic import effective, login, proofs, providers, tokens
from gureum.keystone.logic.deps import Checked, Deps
from gureum.keystone.store import entities, tables


class _User(Struct, extra="ignore"):
    id = Id("Id.", max=255)
    name = String("Name.", max=255)
    domain = Nested(Reference, "Domain of the name.")


class _PasswordUser(_User, extra="ignore"):
    password = String("Password.", required=True, max=None)


class _Password(Struct, extra="ignore"):
    user = Nested(_PasswordUser, "Who, and the password.", required=True)


class _TokenId(Struct, extra="ignore"):
    id = String("A token.", required=True, max=None)


class _ApplicationCredential(Struct, extra="ignore"):
    id = Id("Id.", max=64)
    name = String("Name, with `user`.", max=255)
    secret = String("Secret.", required=True, max=None)
    user = Nested(_User, "Owner of the name.")


class _PasscodeUser(_User, extra="ignore"):
    passcode = String("Passcode.", required=True, max=64)


class _Totp(Struct, extra="ignore"):
    user = Nested(_PasscodeUser, "Who, and the passcode.", required=True)


class _Signed(Struct, extra="ignore"):
    """Nothing: the header Authorization holds the signature."""


class _Identity(Struct, extra="ignore"):
    methods = ListOf(String("Method."), "Methods that are proven here.", required=True)
    password = Nested(_Password, "The method password.")
    token = Nested(_TokenId, "The method token.")
    application_credential = Nested(_ApplicationCredential, "The method application_credential.")
    totp = Nested(_Totp, "The method totp: a time-based passcode.")
    oauth1 = Nested(_Signed, "The method oauth1: a request signed with an access token.")
    mapped = Nested(_TokenId, "A token of a login through a provider.")
    saml2 = Nested(_TokenId, "The same, by an older name.")
    openid = Nested(_TokenId, "The same, by an older name.")


class _ProjectScope(Struct, extra="ignore"):
    id = Id("Id.", max=64, null=True)
    name = String("Name, with `domain`.", max=255, null=True)
    domain = Nested(Reference, "Domain of the name.", null=True)


class _SystemScope(Struct, extra="ignore"):
    all = Boolean("Must be true.")


class _TrustScope(Struct, extra="ignore"):
    id = Id("Id.", max=64, required=True)


class _Scope(Struct, extra="ignore"):
    project = Nested(_ProjectScope, "A project.")
    domain = Nested(Reference, "A domain.")
    system = Nested(_SystemScope, "The system.")
    trust = Nested(_TrustScope, "A trust of which one is the trustee.", key="OS-TRUST:trust")


class Auth(Struct, extra="ignore"):
    """A login."""

    identity = Nested(_Identity, "Proofs of who one is.", required=True)
    scope = OneOf(
        (Enum("No scope.", "unscoped"), _Scope),
        "What the token is for; default: the user's project.",
    )


class TokenQuery(Struct, extra="ignore"):
    """How to show a token."""

    nocatalog = String("Present: leave the catalogue out.")
    allow_expired = Boolean("Show a token that expired not long ago (services only).")


def answered(token: str, checked: Checked, raw: bytes | None = None, status: int = 201) -> Reply:
    """Return the answer that hands out a token."""
    headers = [("X-Subject-Token", token), ("Vary", "X-Auth-Token")]
    return Reply(raw=raw or checked.encoded[1], headers=headers, status=status)


def _shown(checked: Checked, query: TokenQuery) -> bytes:
    return checked.encoded[0 if query.has("nocatalog") else 1]


@operation(
    "POST",
    "/auth/tokens",
    policy=PUBLIC,
    wrap="auth",
    request=Auth,
    query=TokenQuery,
    manual=True,
    headers=("authorization", "openstack-auth-receipt"),
    errors=(Unauthorized, PasswordExpired, MoreNeeded, BadRequest, TooManyLogins),
)
def create_token(
    ctx: Context, deps: Deps, query: TokenQuery, new: Auth, headers: dict[str, str]
) -> Any:
    """Log in. The token stands in the header X-Subject-Token.

    Where the user's rules ask for more methods, a receipt stands in Openstack-Auth-Receipt (401); the next
    step sends it back.
    """
    caller = proofs.Caller("POST", f"{ctx.base_url}/auth/tokens", headers)
    token, checked = login.login(deps, new, caller)
    return answered(token, checked, _shown(checked, query))


def _subject(ctx: Context, deps: Deps, subject: str | None, rule: str) -> Checked:
    """Check the token of X-Subject-Token. One's own may always be asked about."""
    if not subject:
        raise BadRequest("The header X-Subject-Token is missing.")
    try:
        checked = tokens.check(deps, subject)
    except tokens.InvalidToken:
        raise Missing(kind="token", id="(hidden)") from None
    if checked.context.user_id != ctx.user_id and not _trusted(ctx, rule):
        raise Forbidden()
    return checked


def _trusted(ctx: Context, rule: str) -> bool:
    if {"admin", "service"} & set(ctx.roles):
        return True
    return rule == "read" and ctx.system and "reader" in ctx.roles


@operation(
    "GET",
    "/auth/tokens",
    policy=TOKEN,
    query=TokenQuery,
    errors=(Missing, Forbidden),
    headers=("x-subject-token",),
    manual=True,
    waits=False,
    at_once=lambda deps, headers: deps.knows(
        headers.get("x-auth-token"), headers.get("x-subject-token")
    ),
)
def show_token(ctx: Context, deps: Deps, query: TokenQuery, headers: dict[str, str]) -> Any:
    """Check a token and show what it means."""
    subject = headers.get("x-subject-token")
    checked = _subject(ctx, deps, subject, "read")
    return Reply(
        raw=_shown(checked, query),
        headers=[("X-Subject-Token", subject or ""), ("Vary", "X-Auth-Token")],
    )


@operation(
    "DELETE",
    "/auth/tokens",
    policy=TOKEN,
    errors=(Missing, Forbidden),
    headers=("x-subject-token",),
    manual=True,
    waits=False,
)
def revoke_token(ctx: Context, deps: Deps, headers: dict[str, str]) -> None:
    """Revoke a token at once."""
    subject = headers.get("x-subject-token")
    checked = _subject(ctx, deps, subject, "revoke")
    with deps.db.write() as tx:
        tokens.revoke(
            tx,
            deps,
            audit_id=checked.body["audit_ids"][0],
            token_hash=providers.token_hash(subject or ""),
            token_expires_at=checked.expires_at,
        )


@operation("GET", "/auth/catalog", policy=TOKEN)
def show_catalog(ctx: Context, tx: Tx) -> Any:
    """Show the catalogue of one's own token."""
    checked = tokens.check_in(tx, tx.deps, ctx.token or "")
    if "roles" not in checked.body:
        raise Forbidden("An unscoped token has no catalogue.")
    return {"catalog": checked.catalog, "links": {"self": f"{ctx.base_url}/auth/catalog"}}


def _list(ctx: Context, kind: str, rows: Any) -> dict[str, Any]:
    from gureum.keystone.api.domains import Domain
    from gureum.keystone.api.projects import Project

    shape = Project if kind == "projects" else Domain
    return {
        kind: [shape.render(shown(ctx, kind, row)) for row in rows],
        "links": {"self": f"{ctx.base_url}/auth/{kind}", "next": None, "previous": None},
    }


@operation("GET", "/auth/projects", policy=TOKEN)
def list_my_projects(ctx: Context, tx: Tx) -> Any:
    """List the projects that one's token can be rescoped to."""
    rows = effective.reachable_projects(tx, ctx.user_id or "", _groups(tx, ctx))
    return _list(ctx, "projects", rows)


def _groups(tx: Tx, ctx: Context) -> tuple[str, ...]:
    """Return the groups that a federated token carries."""
    claims = tx.deps.provider.read(ctx.token or "", tx)
    return claims.group_ids if claims is not None else ()


@operation("GET", "/auth/domains", policy=TOKEN)
def list_my_domains(ctx: Context, tx: Tx) -> Any:
    """List the domains that one's token can be rescoped to."""
    rows = effective.reachable_domains(tx, ctx.user_id or "", _groups(tx, ctx))
    return _list(ctx, "domains", rows)


@operation("GET", "/OS-FEDERATION/projects", policy=TOKEN)
def list_federated_projects(ctx: Context, tx: Tx) -> Any:
    """List the projects that one's token can be rescoped to, by the older path."""
    return list_my_projects.handler(ctx, tx)


@operation("GET", "/OS-FEDERATION/domains", policy=TOKEN)
def list_federated_domains(ctx: Context, tx: Tx) -> Any:
    """List the domains that one's token can be rescoped to, by the older path."""
    return list_my_domains.handler(ctx, tx)


@operation("GET", "/auth/system", policy=TOKEN)
def list_my_system(ctx: Context, tx: Tx) -> Any:
    """Tell whether one's token can be rescoped to the system."""
    reached = effective.reaches_system(tx, ctx.user_id or "", _groups(tx, ctx))
    return {
        "system": [{"all": True}] if reached else [],
        "links": {"self": f"{ctx.base_url}/auth/system"},
    }


@operation(
    "GET",
    "/users/{user_id}/projects",
    policy="identity:list_user_projects",
    response_wrap="projects",
    load=lambda ctx, tx, user_id: _user(tx, user_id),
    target=lambda ctx, user, new: user_target(user),
)
def list_user_projects(ctx: Context, tx: Tx, user: Any) -> Any:
    """List the projects in which a user has a role."""
    return _list(ctx, "projects", effective.reachable_projects(tx, user.id))


def _user(tx: Tx, user_id: str) -> Any:
    row = entities.get(tx, tables.users, user_id)
    if row is None:
        raise Missing(kind="user", id=user_id)
    return row


def user_target(user: Any) -> dict[str, Any]:
    """Return what rules about a user look at."""
    if user is None:
        return {}
    return {
        "user_id": user.id,
        "target": {"user": {"id": user.id, "domain_id": user.domain_id}},
        "target.user.id": user.id,
        "target.user.domain_id": user.domain_id,
    }

"""Logins through a provider: for programs, for browsers; and assertions for other clouds (OS-FEDERATION)."""

from __future__ import annotations

import html
from typing import Any

from gureum.core.context import Context
from gureum.core.spec import (
    PUBLIC,
    TOKEN,
    BadRequest,
    Forbidden,
    Id,
    ListOf,
    Nested,
    Reply,
    String,
    Struct,
    Unauthorized,
    operation,
)
from gureum.keystone.api.auth import answered
from gureum.keystone.errors import Missing, NoProvider, NotTrusted
from gureum.keystone.logic import federation, tokens
from gureum.keystone.logic import saml as documents
from gureum.keystone.logic.common import load
from gureum.keystone.logic.deps import Checked, Deps
from gureum.keystone.logic.saml import Saml
from gureum.keystone.store import assignments, entities, tables

_LOGIN = "/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/auth"
_SSO = "/auth/OS-FEDERATION/websso/{protocol_id}"
_SSO_OF = "/auth/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/websso"


def _federated(
    ctx: Context, deps: Deps, idp_id: str, protocol_id: str, headers: dict[str, str]
) -> Any:
    """Log in as whom the web server in front names; the token has no scope yet."""
    return answered(*federation.login_through(deps, idp_id, protocol_id, headers))


def _declare(method: str, path: str, handler: Any) -> Any:
    return operation(
        method,
        path,
        policy=PUBLIC,
        status=200 if "websso" in path else 201,
        manual=True,
        headers=("*",),
        query=Origin if "websso" in path else None,
        errors=(Missing, NotTrusted, Forbidden, Unauthorized),
    )(handler)


class Origin(Struct, extra="ignore"):
    """Where the browser came from."""

    origin = String("Where it goes back to: one of `trusted_dashboard`.", max=2048)


def _page(origin: str, token: str) -> Reply:
    """Return a page that takes the browser back with the token, in a form."""
    to, secret = html.escape(origin, quote=True), html.escape(token, quote=True)
    page = (
        "<!DOCTYPE html>\n"
        '<html><head><meta charset="utf-8"><title>Login</title></head>\n'
        '<body onload="document.forms[0].submit()">\n'
        f'<form method="post" action="{to}">\n'
        f'<input type="hidden" name="token" value="{secret}">\n'
        '<noscript><input type="submit" value="Continue"></noscript>\n'
        "</form></body></html>\n"
    )
    headers = [("Cache-Control", "no-store"), ("X-Frame-Options", "DENY")]
    return Reply(raw=page.encode(), headers=headers, content_type="text/html; charset=utf-8")


def _browser(
    ctx: Context, deps: Deps, protocol_id: str, query: Origin, headers: dict[str, str]
) -> Any:
    """Log a browser in through the provider that the attributes name."""
    origin = federation.check_origin(deps, query.get("origin"))
    idp_id = federation.provider_of(deps, protocol_id, headers)
    return _page(origin, federation.login_through(deps, idp_id, protocol_id, headers)[0])


def _browser_of(
    ctx: Context,
    deps: Deps,
    idp_id: str,
    protocol_id: str,
    query: Origin,
    headers: dict[str, str],
) -> Any:
    """Log a browser in through a provider."""
    origin = federation.check_origin(deps, query.get("origin"))
    return _page(origin, federation.login_through(deps, idp_id, protocol_id, headers)[0])


OPERATIONS = [
    _declare(method, path, handler)
    for path, handler in (
        (_LOGIN, _federated),
        (_SSO, _browser),
        (_SSO_OF, _browser_of),
        (_SSO_OF.replace("/protocols/", "/protocol/"), _browser_of),  # as the reference spells it
    )
    for method in ("GET", "POST")
]


# -- this cloud as a provider ----------------------------------------------------------------------


def _saml(deps: Deps) -> Saml:
    if deps.saml is None or not deps.saml.on:
        raise NoProvider()
    return deps.saml


@operation("GET", "/OS-FEDERATION/saml2/metadata", policy=PUBLIC, manual=True, errors=(NoProvider,))
def show_saml_metadata(ctx: Context, deps: Deps) -> Reply:
    """Show what a service provider needs to know of this cloud, as XML."""
    return Reply(raw=_saml(deps).metadata(), content_type="text/xml")


class _Token(Struct, extra="ignore"):
    id = String("A token of a project.", required=True, max=None)


class _Identity(Struct, extra="ignore"):
    methods = ListOf(String("Method."), "Must be token.", required=True)
    token = Nested(_Token, "The token.", required=True)


class _Provider(Struct, extra="ignore"):
    id = Id("The service provider.", max=64, required=True)


class _Scope(Struct, extra="ignore"):
    service_provider = Nested(_Provider, "For whom.", required=True)


class AssertionRequest(Struct, extra="ignore"):
    """About whom, for whom."""

    identity = Nested(_Identity, "A token.", required=True)
    scope = Nested(_Scope, "A service provider.", required=True)


def _assertion(ctx: Context, deps: Deps, new: AssertionRequest) -> tuple[Any, Any]:
    """Return the service provider and a response about the token's user."""
    saml = _saml(deps)
    try:
        checked = tokens.check(deps, new.identity.token.id)
    except tokens.InvalidToken:
        raise Missing(kind="token", id="(hidden)") from None
    if checked.context.user_id != ctx.user_id:
        raise Forbidden("An assertion is about one's own token.")
    if "project" not in checked.body:
        raise Forbidden("Use a project scoped token when attempting to create a SAML assertion.")
    with deps.db.read() as tx:
        provider = load(
            tx, tables.service_providers, "service provider", new.scope.service_provider.id
        )
        if not provider.enabled:
            raise Forbidden(f"Service Provider {provider.id} is disabled.")
        groups = _groups(tx, checked)
    return provider, saml.response(checked.body, groups, provider.sp_url)


def _groups(tx: Any, checked: Checked) -> list[dict[str, str]]:
    ids = assignments.group_ids(tx, checked.body["user"]["id"])
    rows = entities.by_ids(tx, tables.groups, ids).values()
    domains = entities.by_ids(tx, tables.domains, [row.domain_id for row in rows])
    return [{"name": row.name, "domain": domains[row.domain_id].name} for row in rows]


def _answer(provider: Any, document: Any) -> Reply:
    headers = [("X-sp-url", provider.sp_url), ("X-auth-url", provider.auth_url)]
    return Reply(
        raw=documents.text_of(document), headers=headers, status=200, content_type="text/xml"
    )


@operation(
    "POST",
    "/auth/OS-FEDERATION/saml2",
    policy=TOKEN,
    wrap="auth",
    request=AssertionRequest,
    manual=True,
    status=200,
    errors=(NoProvider, Missing, Forbidden, BadRequest),
)
def create_saml_assertion(ctx: Context, deps: Deps, new: AssertionRequest) -> Reply:
    """Make a signed assertion about one's own token, for another cloud that trusts this one."""
    return _answer(*_assertion(ctx, deps, new))


@operation(
    "POST",
    "/auth/OS-FEDERATION/saml2/ecp",
    policy=TOKEN,
    wrap="auth",
    request=AssertionRequest,
    manual=True,
    status=200,
    errors=(NoProvider, Missing, Forbidden, BadRequest),
)
def create_ecp_assertion(ctx: Context, deps: Deps, new: AssertionRequest) -> Reply:
    """Make the same, wrapped as an enhanced client hands it on."""
    provider, response = _assertion(ctx, deps, new)
    prefix = provider.relay_state_prefix or _saml(deps).options.relay_state_prefix
    return _answer(provider, _saml(deps).enveloped(response, prefix))

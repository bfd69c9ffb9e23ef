"""Keystone's errors and their envelope."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from gureum.core.spec import (
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    NotFound,
    ServiceUnavailable,
    Unauthorized,
)


class Missing(NotFound):
    """There is no such entity."""

    code, text = "missing", "Could not find {kind}: {id}."


class Absent(ApiError):
    """Like Missing, where the API tells everybody, also those who could not have touched it."""

    status, code, text = 404, "missing", "Could not find {kind}: {id}."


class Duplicate(Conflict):
    """The name is taken."""

    code = "duplicate"
    text = "Conflict occurred attempting to store {kind} - Duplicate entry found with name {name}."


class InUse(Conflict):
    """Something else still refers to it."""

    code, text = "in_use", "{kind} {id} is still in use: {reason}"


class BadPassword(Unauthorized):
    """Name, password or state of the user do not allow a token; the text never says which."""

    code, text = "bad_credentials", "The request you have made requires authentication."


class UnknownMethod(Unauthorized):
    """The authentication method is not offered."""

    code, text = "unknown_method", "Attempted to authenticate with an unsupported method."


class PasswordExpired(Unauthorized):
    """The password is right and must be changed before it can be used."""

    code = "password_expired"
    text = "The password is expired and needs to be changed for user: {user_id}."


class MoreNeeded(Unauthorized):
    """A rule of the user asks for more methods than were proven; a receipt keeps those."""

    code, text = "more_methods_needed", "Additional authentications steps required."

    def __init__(self, receipt: Any, rules: Any) -> None:
        super().__init__()
        self.receipt, self.rules = receipt, rules


class TooManyLogins(ServiceUnavailable):
    """The queue of password checks is full."""

    code, text = "too_many_logins", "Too many logins at the same time. Try again."


class NoCertificates(Gone):
    """Tokens are not signed with a certificate."""

    code = "no_certificates"
    text = "There are no certificates: the token provider {provider} does not use any."


class NotTrusted(Unauthorized):
    """What a login through a provider hands over does not come from where it must."""

    code, text = "not_trusted", "{reason}"


class NoProvider(NotFound):
    """This cloud makes no assertions."""

    code, text = "no_saml_provider", "This cloud is no SAML provider: idp_entity_id is not set."


class InvalidLimit(Forbidden):
    """The limit does not fit those of the projects above and below."""

    code, text = "invalid_limit", "Invalid resource limit: {reason}"


class StillEnabled(Forbidden):
    """A domain must be disabled before it is deleted."""

    code = "domain_enabled"
    text = "Cannot delete a domain that is enabled, please disable it first."


class Immutable(Forbidden):
    """The option `immutable` protects it."""

    code = "immutable"
    text = "Cannot change {kind} {id}: it is immutable. Set its option immutable to false first."


class RuleInUse(Forbidden):
    """An application credential has the access rule."""

    code, text = "rule_in_use", "Access rule {id} is in use by an application credential."


class StillLimited(Forbidden):
    """Limits of projects or domains refer to the registered limit."""

    code, text = "still_limited", "Registered limit {id} has limits: delete them first."


class PasswordPolicy(BadRequest):
    """The new password may not be used."""

    code, text = "password_policy", "The password does not meet the requirements: {reason}"


def error_body(error: ApiError, request_id: str) -> Any:
    """Return Keystone's envelope."""
    try:
        title = HTTPStatus(error.status).phrase
    except ValueError:
        title = "Error"
    message = error.message
    if error.status == 403:
        message = f"{message} (Request-ID: {request_id})" if request_id else message
    if isinstance(error, MoreNeeded):
        return {"receipt": error.receipt, "required_auth_methods": error.rules}
    return {"error": {"code": error.status, "title": title, "message": message}}

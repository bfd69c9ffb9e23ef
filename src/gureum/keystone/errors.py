"""Keystone's errors and their envelope."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from gureum.core.spec import ApiError, BadRequest, Conflict, Forbidden, NotFound, Unauthorized


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
    return {"error": {"code": error.status, "title": title, "message": message}}

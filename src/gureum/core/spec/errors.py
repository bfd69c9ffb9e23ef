"""Errors as classes: status, code and text. The envelope around them belongs to the service.

Raise the most exact class; codes and texts are append-only.
"""

from __future__ import annotations

from typing import Any, ClassVar


class ApiError(Exception):
    """An answer that is not a success. `text` is a template of the keyword arguments."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    text: ClassVar[str] = "The server failed. Its log names this request."

    def __init__(self, text: str | None = None, /, **values: Any) -> None:
        self.values = values
        self.headers: list[tuple[str, str]] = []
        self.message = text if text is not None else type(self).text.format_map(values)
        super().__init__(self.message)


class BadRequest(ApiError):
    """The request cannot be understood or is not allowed in this form."""

    status, code, text = 400, "bad_request", "The request is malformed."


class InvalidField(BadRequest):
    """A value does not fit its declaration."""

    code, text = "invalid_field", "Invalid input for field/attribute {path}. {reason}"


class Unauthorized(ApiError):
    """No token, or one that is not valid (any more)."""

    status, code, text = 401, "unauthorized", "The request you have made requires authentication."


class Forbidden(ApiError):
    """The caller is known and may not do this."""

    status, code, text = 403, "forbidden", "You are not authorized to perform this action."


class PolicyForbidden(Forbidden):
    """A policy rule refused the caller."""

    code, text = "policy_forbidden", "Policy doesn't allow {rule} to be performed."


class NotFound(ApiError):
    """There is no such thing, or the caller may not see it."""

    status, code, text = 404, "not_found", "The resource could not be found."


class MethodNotAllowed(ApiError):
    """The path exists, the method does not."""

    status, code, text = 405, "method_not_allowed", "The method {method} is not allowed here."


class NotAcceptable(ApiError):
    """The asked version or media type is not offered."""

    status, code, text = 406, "not_acceptable", "Not acceptable."


class Conflict(ApiError):
    """The state of the resource does not allow this."""

    status, code, text = 409, "conflict", "The request conflicts with the state of the resource."


class Gone(ApiError):
    """It existed once."""

    status, code, text = 410, "gone", "The resource is gone."


class PreconditionFailed(ApiError):
    """A condition header does not hold."""

    status, code, text = 412, "precondition_failed", "A precondition does not hold."


class TooLarge(ApiError):
    """The body, or what it asks for, is too big."""

    status, code, text = 413, "too_large", "The request is too large."


class UnsupportedMedia(ApiError):
    """The content type is not one that this operation takes."""

    status, code, text = (
        415,
        "unsupported_media_type",
        "The content type {content_type} is not supported.",
    )


class RangeNotSatisfiable(ApiError):
    """The asked byte range lies outside."""

    status, code, text = 416, "range_not_satisfiable", "The range cannot be satisfied."


class NotImplementedHere(ApiError):
    """A documented operation that this version does not have yet."""

    status, code, text = 501, "not_implemented", "This operation is not available in this version."


class ServiceUnavailable(ApiError):
    """Something this depends on does not answer; trying again later may help."""

    status, code, text = 503, "unavailable", "The service is temporarily unavailable. Try again."

"""Placement's errors and their envelope."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from gureum.core.spec import ApiError, BadRequest, Conflict, NotFound


class ProviderNotFound(NotFound):
    """There is no such provider."""

    text = "No resource provider with uuid {uuid} found."


class InventoryNotFound(NotFound):
    """The provider has no inventory of that class."""

    text = "No inventory of class {resource_class} found for {uuid}."


class ClassNotFound(NotFound):
    """There is no such resource class."""

    text = "No such resource class {name}."


class TraitNotFound(NotFound):
    """There is no such trait."""

    text = "No such trait(s): {name}."


class NoAllocations(NotFound):
    """The consumer holds nothing."""

    text = "No allocations for consumer {uuid}."


class ConcurrentUpdate(Conflict):
    """A generation is not the one that was read."""

    code = "placement.concurrent_update"
    text = "{kind} generation conflict: {reason} Please read again and retry."


class CannotDeleteParent(Conflict):
    """The provider has children."""

    code = "placement.resource_provider.cannot_delete_parent"
    text = "Unable to delete parent resource provider {uuid}: it has child resource providers."


class ProviderInUse(Conflict):
    """The provider has allocations."""

    code = "placement.resource_provider.inuse"
    text = "Unable to delete resource provider {uuid}: Resource provider has allocations."


class InventoryInUse(Conflict):
    """An inventory with allocations cannot go."""

    code = "placement.inventory.inuse"
    text = "Inventory for '{resource_class}' on resource provider '{uuid}' in use."


class DuplicateName(Conflict):
    """The name or uuid is taken."""

    code = "placement.duplicate_name"
    text = "Conflicting resource provider {what} already exists."


class NoCapacity(Conflict):
    """The allocation does not fit."""

    text = "Unable to allocate inventory: {reason}"


class InUse(Conflict):
    """Something still uses it."""

    text = "{what} is in use and cannot be deleted."


class BadQuery(BadRequest):
    """A query parameter cannot be used."""

    code = "placement.query.bad_value"


def error_body(error: ApiError, request_id: str) -> Any:
    """Return Placement's envelope."""
    code = error.code if error.code.startswith("placement.") else "placement.undefined_code"
    return {
        "errors": [
            {
                "status": error.status,
                "title": HTTPStatus(error.status).phrase,
                "detail": error.message,
                "request_id": request_id,
                "code": code,
            }
        ]
    }

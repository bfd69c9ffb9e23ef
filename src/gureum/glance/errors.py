"""Glance's errors and their envelope."""

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
    RangeNotSatisfiable,
    ServiceUnavailable,
    TooLarge,
    UnsupportedMedia,
)


class ImageNotFound(NotFound):
    """No such image, or not for this caller."""

    text = "Failed to find image {id}"


class MemberNotFound(NotFound):
    """The project is no member of the image, or not for this caller's eyes."""

    text = "{member} not found in the member list of the image {id}."


class TagNotFound(NotFound):
    """The image has no such tag."""

    text = "Failed to find tag {tag} on image {id}"


class ImageExists(Conflict):
    """The id is or was an image's."""

    text = "Image ID {id} already exists!"


class ReadOnlyAttribute(Forbidden):
    """Only the service itself sets this attribute."""

    text = "Attribute '{name}' is read-only."


class ReservedAttribute(Forbidden):
    """The name cannot be used for a property."""

    text = "Attribute '{name}' is reserved."


class NotRemovable(Forbidden):
    """A base attribute can change, not go."""

    text = "Property {name} may not be removed."


class OnlyWhenQueued(Forbidden):
    """The formats are settled once there are bytes."""

    text = "Attribute {name} can be only replaced for a queued image."


class ProtectedImage(Forbidden):
    """The image is protected."""

    text = "Image {id} is protected and cannot be deleted."


class NoSuchProperty(Conflict):
    """A patch names a property that is not there."""

    text = "Property {name} does not exist."


class WrongStatus(Conflict):
    """The status of the image does not allow this."""

    text = "Image {id} is in status {status}; {needed}."


class NotDeactivatable(Forbidden):
    """Only active images can be deactivated, and the other way round."""

    text = "Not allowed to change the status of image {id} from {status} to {new}."


class Deactivated(Forbidden):
    """An administrator took the bytes out of use."""

    text = "The requested image has been deactivated. Image data download is forbidden."


class NotShared(Forbidden):
    """Only shared images have members."""

    text = "Only shared images have members."


class MemberExists(Conflict):
    """The project is a member already."""

    text = "Image member {member} already exists for image {id}."


class TooMany(TooLarge):
    """A quota of an image is exceeded."""

    text = (
        "The limit has been exceeded on the number of allowed image {what}."
        " Attempted: {asked}, Maximum: {limit}"
    )


class ImageTooLarge(TooLarge):
    """The bytes exceed image_size_cap."""

    text = "Image exceeds the maximum size of {limit} bytes."


class QuotaExceeded(TooLarge):
    """The project's images have too many bytes, or there are too many of them."""

    text = "The {what} quota of the project is exceeded: at most {limit}."


class StoreFull(TooLarge):
    """The store has no room."""

    text = "There is not enough disk space on the image storage media."


class NotWhatItClaims(UnsupportedMedia):
    """The content is not of the image's formats, or refers to what lies outside."""

    text = "The content does not match the image: {reason}"


class UploadCut(BadRequest):
    """The client went away or sent another number of bytes than announced."""

    text = "The image data is incomplete."


class DeletedMeanwhile(Gone):
    """The image went while its bytes came."""

    text = "Image {id} was deleted or reset before the upload finished."


class BadRange(RangeNotSatisfiable):
    """The bytes asked for are not there."""

    text = "The byte range {range} cannot be satisfied."


class NoSuchStore(BadRequest):
    """No store of this name takes images."""

    text = "There is no store {name}."


class StoreNotFound(NotFound):
    """The image has no bytes in this store, or there is no such store."""

    text = "Image {id} is not stored in {name}."


class LastLocation(Forbidden):
    """An active image keeps one location."""

    text = "Cannot delete the only location of image {id}."


class ReadOnlyStore(Forbidden):
    """The store only reads."""

    text = "The store {name} is read-only."


class StoreUnavailable(ServiceUnavailable):
    """A store does not answer."""

    text = "The store of the image cannot be reached. Try again."


class Filtered(BadRequest):
    """The URI may not be followed."""

    text = "{reason}"


class BadLocation(BadRequest):
    """The location cannot be one of the image."""

    text = "Invalid location: {reason}"


class LocationsOff(Forbidden):
    """Locations are neither shown nor changed here."""

    text = "It's not allowed to add or remove locations if locations are invisible."


class HashDiffers(Conflict):
    """The validation data is not that of the image."""

    text = "The {name} of the validation data does not match that of the image."


class TaskNotFound(NotFound):
    """No such task, or not for this caller."""

    text = "Task not found for task_id {id}"


class CacheOff(NotFound):
    """There is no image cache."""

    text = "Caching via API is not supported at this site."


class DefinitionNotFound(NotFound):
    """No such metadata definition, or not for this caller."""

    text = "Could not find {what} {name}."


class DefinitionExists(Conflict):
    """The name is taken."""

    text = "A metadata definition {what} with name={name} already exists."


class ProtectedDefinition(Forbidden):
    """The namespace is protected."""

    text = "Metadata definition namespace {name} is protected and cannot be deleted."


def error_body(error: ApiError, request_id: str) -> Any:
    """Return the JSON form of an error, with the status line as its code."""
    title = HTTPStatus(error.status).phrase
    return {"message": error.message, "code": f"{error.status} {title}", "title": title}

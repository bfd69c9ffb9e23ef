"""The typed client of the Image API, for the services that read images.

In the user's name when a token is given, else in the service's own. Bytes come over HTTP only: a path of
the store is never handed out.
Follows: Image API v2, "Show image" and "Download binary image data".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gureum.core.http.client import HttpReply, RemoteError
from gureum.keystone.client import Session, error_text

_BASE = frozenset(
    {
        "id",
        "name",
        "status",
        "visibility",
        "protected",
        "os_hidden",
        "owner",
        "min_disk",
        "min_ram",
        "disk_format",
        "container_format",
        "size",
        "virtual_size",
        "checksum",
        "os_hash_algo",
        "os_hash_value",
        "created_at",
        "updated_at",
        "self",
        "file",
        "schema",
        "tags",
        "locations",
        "direct_url",
        "stores",
    }
)


class ImageMissing(Exception):
    """There is no such image, or not for this caller."""


class ImageRefused(Exception):
    """The image service refused: `status` and text are its own."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image. size and virtual_size in bytes, min_disk in GiB, min_ram in MiB."""

    id: str
    name: str
    status: str
    visibility: str
    project_id: str | None
    size: int
    virtual_size: int
    min_disk: int
    min_ram: int
    disk_format: str
    container_format: str
    checksum: str | None
    os_hash_algo: str | None
    os_hash_value: str | None
    tags: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def kernel_id(self) -> str | None:
        """The image that holds the kernel of an AMI."""
        return self.properties.get("kernel_id")

    @property
    def ramdisk_id(self) -> str | None:
        """The image that holds the initial RAM disk of an AMI."""
        return self.properties.get("ramdisk_id")


class GlanceClient:
    """Calls the Image API. Raises RemoteUnavailable when it does not answer."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def show(self, image_id: str, user_token: str | None = None) -> ImageRecord:
        """Return an image. Raises: ImageMissing, ImageRefused, RemoteUnavailable."""
        reply = self._call("GET", f"/v2/images/{image_id}", user_token)
        return record(reply.json())

    def read(self, image_id: str, user_token: str | None = None) -> Iterator[bytes]:
        """Yield an image's bytes. Raises: ImageMissing, ImageRefused, RemoteUnavailable."""
        own = self._session.token()
        headers = {"x-auth-token": user_token or own}
        if user_token:
            headers["x-service-token"] = own
        url = f"{self._session.endpoint('image')}/v2/images/{image_id}/file"
        try:
            yield from self._session.http.stream(url, headers)
        except RemoteError as error:
            raise _refusal(error.status, error.text) from error

    def create(self, values: Mapping[str, Any], user_token: str | None = None) -> ImageRecord:
        """Create a queued image. Raises: ImageRefused, RemoteUnavailable."""
        return record(self._call("POST", "/v2/images", user_token, dict(values)).json())

    def delete(self, image_id: str, user_token: str | None = None) -> None:
        """Delete an image; a missing one is fine. Raises: ImageRefused, RemoteUnavailable."""
        try:
            self._call("DELETE", f"/v2/images/{image_id}", user_token)
        except ImageMissing:
            return

    def _call(self, method: str, path: str, user_token: str | None, json: Any = None) -> HttpReply:
        reply = self._session.request(method, "image", path, json=json, user_token=user_token)
        if reply.status >= 300:
            raise _refusal(reply.status, error_text(reply))
        return reply


def _refusal(status: int, text: str) -> Exception:
    return ImageMissing(text) if status == 404 else ImageRefused(status, text)


def record(body: Mapping[str, Any]) -> ImageRecord:
    """Read an image as the API shows it."""
    return ImageRecord(
        id=body["id"],
        name=body.get("name") or "",
        status=body["status"],
        visibility=body.get("visibility") or "",
        project_id=body.get("owner"),
        size=body.get("size") or 0,
        virtual_size=body.get("virtual_size") or 0,
        min_disk=body.get("min_disk") or 0,
        min_ram=body.get("min_ram") or 0,
        disk_format=body.get("disk_format") or "",
        container_format=body.get("container_format") or "",
        checksum=body.get("checksum"),
        os_hash_algo=body.get("os_hash_algo"),
        os_hash_value=body.get("os_hash_value"),
        tags=tuple(body.get("tags") or ()),
        properties={
            name: str(value)
            for name, value in body.items()
            if name not in _BASE and value is not None
        },
    )

"""What an image is: its attributes, the words they may have, and the moves of its status. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

QUEUED, SAVING, ACTIVE = "queued", "saving", "active"
UPLOADING, IMPORTING = "uploading", "importing"
DEACTIVATED, PENDING_DELETE = "deactivated", "pending_delete"

STATUSES = (
    QUEUED,
    SAVING,
    ACTIVE,
    "killed",
    "deleted",
    UPLOADING,
    IMPORTING,
    PENDING_DELETE,
    DEACTIVATED,
)
PUBLIC, COMMUNITY, SHARED, PRIVATE = "public", "community", "shared", "private"
VISIBILITIES = (COMMUNITY, PUBLIC, PRIVATE, SHARED)

PENDING, ACCEPTED, REJECTED = "pending", "accepted", "rejected"
MEMBER_STATUSES = (PENDING, ACCEPTED, REJECTED)

AMAZON = ("ami", "ari", "aki")
"""Formats that are one word for container and disk."""

READ_ONLY = frozenset(
    {
        "created_at",
        "updated_at",
        "status",
        "checksum",
        "size",
        "virtual_size",
        "direct_url",
        "self",
        "file",
        "schema",
        "stores",
        "id",
        "os_hash_algo",
        "os_hash_value",
    }
)
RESERVED = frozenset({"locations", "deleted", "deleted_at", "is_public", "members", "properties"})
RESERVED_PREFIX = "os_glance"
IMPORTING_TO = "os_glance_importing_to_stores"
FAILED_IMPORT = "os_glance_failed_import"


HERE, LEAVING, REFUSED = "active", "pending_delete", "refused"
"""States of a location: bytes can be read there; bytes are being removed there; its bytes were not what
was said, and it is only remembered until the image has others."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where bytes of an image are. url: None where the store itself knows the place by the image's id."""

    id: str
    image_id: str
    store: str
    url: str | None
    metadata: Mapping[str, str]
    status: str
    position: int

    @property
    def key(self) -> str:
        """The key in the store."""
        return self.image_id if self.url is None else self.url


@dataclass(frozen=True, slots=True)
class Task:
    """What a user sees of an import that runs or ran."""

    id: str
    type: str
    status: str
    project_id: str | None
    user_id: str | None
    image_id: str | None
    request_id: str | None
    input: Mapping[str, object]
    result: Mapping[str, object] | None
    message: str
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None


TASK_STATUSES = ("pending", "processing", "success", "failure")


@dataclass(frozen=True, slots=True)
class Image:
    """One image. Sizes in bytes, min_disk in GiB, min_ram in MiB; project_id is its owner.

    member_status: how the caller's project stands to a shared image of another, or None.
    """

    id: str
    name: str | None
    project_id: str | None
    status: str
    visibility: str
    protected: bool
    os_hidden: bool
    min_disk: int
    min_ram: int
    disk_format: str | None
    container_format: str | None
    size: int | None
    virtual_size: int | None
    checksum: str | None
    os_hash_algo: str | None
    os_hash_value: str | None
    created_at: datetime
    updated_at: datetime
    generation: int
    upload_id: str | None = None
    holder: str | None = None
    tags: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    member_status: str | None = None
    locations: tuple[Location, ...] = ()
    refused_stores: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Digest:
    """What is known of bytes once they were read: size in bytes, md5 and a longer digest in hex."""

    size: int
    checksum: str
    os_hash_algo: str
    os_hash_value: str


@dataclass(frozen=True, slots=True)
class Member:
    """A project with which an image is shared."""

    image_id: str
    member_id: str
    status: str
    created_at: datetime
    updated_at: datetime


def formats_fit(disk: str | None, container: str | None) -> bool:
    """Whether the two formats can stand together: an Amazon container holds the disk of its name.

    The disk formats alone may also stand in `bare`, as the Image API has always let them.
    """
    return container not in AMAZON or disk in (None, container)

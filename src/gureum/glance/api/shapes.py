"""The shapes of images and members, and how they are shown."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

from gureum.core.context import Context
from gureum.core.spec import (
    Boolean,
    Enum,
    Id,
    Integer,
    Json,
    ListOf,
    String,
    Struct,
    Time,
)
from gureum.glance.logic import places
from gureum.glance.logic.access import image_target
from gureum.glance.logic.deps import Deps
from gureum.glance.model import MEMBER_STATUSES, STATUSES, VISIBILITIES, Image, Member

_BIG = (1 << 63) - 1
_UUID = r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}"


def _tags(**common: Any) -> ListOf:
    return ListOf(String("A tag.", max=255), "List of strings related to the image.", **common)


class ImageAttributes(Struct):
    """What a user may set."""

    name = String("Descriptive name for the image.", null=True, max=255)
    visibility = Enum("Scope of image accessibility.", *VISIBILITIES)
    protected = Boolean("If true, the image cannot be deleted.", strict=True)
    os_hidden = Boolean("If true, the image is not in default lists.", strict=True)
    owner = String("Project that owns the image.", null=True, max=255)
    container_format = String("Format of the container.", null=True, max=20)
    disk_format = String("Format of the disk.", null=True, max=20)
    min_disk = Integer("Disk space in GiB required to boot the image.", min=0, strict=True)
    min_ram = Integer("Memory in MiB required to boot the image.", min=0, strict=True)
    tags = _tags()


class ImageCreate(ImageAttributes, extra="keep"):
    """A new image; unknown keys are additional properties."""

    id = String("An identifier for the image.", pattern=_UUID)


class ImageView(ImageAttributes, extra="keep"):
    """An image."""

    id = Id("An identifier for the image.", uuid=True)
    status = Enum("Status of the image.", *STATUSES)
    size = Integer("Size of the image file in bytes.", null=True, max=_BIG)
    virtual_size = Integer("Virtual size of the image in bytes.", null=True, max=_BIG)
    checksum = String("md5 hash of image contents.", null=True, max=32)
    os_hash_algo = String("Algorithm of os_hash_value.", null=True, max=64)
    os_hash_value = String("Hexdigest of the image contents.", null=True, max=128)
    created_at = Time("Date and time of image registration.")
    updated_at = Time("Date and time of the last change.")
    self_link = String("URL of the image.", key="self")
    file = String("URL of the image's bytes.")
    schema_link = String("URL of the schema.", key="schema")


class MemberCreate(Struct):
    """A project to share with."""

    member = Id("Project.", required=True)


class MemberUpdate(Struct, extra="ignore"):
    """A member's answer. Clients send what they were shown of the member too."""

    status = Enum("The status of this image member.", *MEMBER_STATUSES, required=True)


class MemberView(Struct):
    """A project with which an image is shared."""

    image_id = Id("An identifier for the image.")
    member_id = Id("An identifier for the image member (project).")
    status = Enum("The status of this image member.", *MEMBER_STATUSES)
    created_at = Time("Date and time of image member creation.")
    updated_at = Time("Date and time of last modification of image member.")
    schema_link = String("URL of the schema.", key="schema")


class ImageQuery(Struct, extra="keep"):
    """Filters, order and paging; unknown keys filter by additional properties.

    `pairs` is the query as it came: the order of sort keys and directions counts.
    """

    limit = String("Page size.")
    marker = String("Id of the last image of the page before.")
    name = String("Name, or in:NAME,….", max=None)
    id = String("Id, or in:ID,….", max=None)
    owner = String("Project.")
    status = String("Status, or in:STATUS,….")
    visibility = String("public, community, shared, private or all.")
    member_status = String("Of shared images: accepted, pending, rejected or all.")
    protected = String("true or false.")
    os_hidden = String("true for hidden images.")
    container_format = String("Format, or in:FORMAT,….")
    disk_format = String("Format, or in:FORMAT,….")
    size = String("Bytes.")
    size_min = String("Least bytes.")
    size_max = String("Most bytes.")
    created_at = String("Time, or OPERATOR:TIME.")
    updated_at = String("Time, or OPERATOR:TIME.")
    tag = ListOf(String("A tag."), "Every tag must be there.")
    sort = String("KEY[:DIRECTION],….")
    sort_key = ListOf(String("A key."), "Attributes to sort by.")
    sort_dir = ListOf(String("asc or desc."), "Directions.")

    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def parse_query(cls, pairs: Any, version: Any = None) -> Any:
        """Check a query string and keep it."""
        parsed = (
            super().parse_query(pairs) if version is None else super().parse_query(pairs, version)
        )
        return parsed.replace(pairs=tuple(pairs))


class ImagePatch(Struct):
    """A JSON patch: a list of changes, read by the media type that it came as."""

    changes = Json("The changes.")

    @classmethod
    def parse(cls, value: Any, version: Any = None, path: str = "", ups: Any = ()) -> Any:
        """Take any JSON; the list itself is the body."""
        return cls(changes=value)


def shown(ctx: Context, deps: Deps, image: Image) -> dict[str, Any]:
    """Show an image with its links and additional properties."""
    here = f"/v2/images/{image.id}"
    values = dict(zip(_PLAIN, _plain_of(image), strict=True))
    extra: dict[str, Any] = dict(image.properties)
    names = places.store_names(deps, image)
    if names is not None:
        extra["stores"] = names
    options = deps.options
    telling = options.show_image_direct_url or options.show_multiple_locations
    if telling and deps.policy.allows("get_image_location", ctx, image_target(ctx, image)):
        url = places.direct_url(deps, image)
        if options.show_image_direct_url and url is not None:
            extra["direct_url"] = url
        if options.show_multiple_locations:
            extra["locations"] = places.shown(deps, image)
    return {
        **values,
        "owner": image.project_id,
        "self_link": here,
        "file": f"{here}/file",
        "schema_link": "/v2/schemas/image",
        "extra_values": extra,
    }


_PLAIN = tuple(
    name for name in ImageView.fields if name in {known.name for known in dataclasses.fields(Image)}
)
_plain_of = operator.attrgetter(*_PLAIN)


def shown_member(member: Member) -> dict[str, Any]:
    """Show a member."""
    values = {name: getattr(member, name) for name in Member.__slots__}
    return {**values, "schema_link": "/v2/schemas/member"}

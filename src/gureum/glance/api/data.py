"""The bytes of images: upload, download, stage, import."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gureum.core.context import Context
from gureum.core.http.messages import BodyStream
from gureum.core.spec import (
    BadRequest,
    Boolean,
    Json,
    ListOf,
    Reply,
    String,
    Struct,
    operation,
)
from gureum.glance.errors import (
    BadRange,
    Deactivated,
    DeletedMeanwhile,
    Filtered,
    ImageNotFound,
    ImageTooLarge,
    NoSuchStore,
    NotWhatItClaims,
    QuotaExceeded,
    StoreFull,
    StoreUnavailable,
    UploadCut,
    WrongStatus,
)
from gureum.glance.logic import data, imports, reading
from gureum.glance.logic.access import image_target, load_apart
from gureum.glance.logic.deps import Deps
from gureum.glance.model import ACTIVE, DEACTIVATED, Image
from gureum.glance.sagas.params import COPY_IMAGE

_STORE_HEADER = "x-image-meta-store"
_OCTETS = "application/octet-stream"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_UPLOAD_ERRORS = (
    ImageNotFound,
    WrongStatus,
    ImageTooLarge,
    QuotaExceeded,
    NoSuchStore,
    StoreFull,
    StoreUnavailable,
    NotWhatItClaims,
    UploadCut,
    DeletedMeanwhile,
)


class ImportRequest(Struct):
    """How an image's bytes come into the store."""

    method = Json("The method with its values.", kinds=(dict,), required=True)
    stores = ListOf(String("Id of a store."), "Where the bytes shall be kept.")
    all_stores = Boolean("Keep them in every store.")
    all_stores_must_succeed = Boolean("Fail when one of them fails.")


@operation(
    "PUT",
    "/images/{image_id}/file",
    policy="upload_image",
    status=204,
    upload=True,
    manual=True,
    media=(_OCTETS,),
    load=load_apart,
    target=image_target,
    headers=(_STORE_HEADER,),
    errors=_UPLOAD_ERRORS,
)
def upload_image(
    ctx: Context, deps: Deps, image: Image, stream: BodyStream | None, headers: Mapping[str, str]
) -> None:
    """Send an image's bytes; they must be what the image's formats claim."""
    data.upload(deps, image, _body(stream), headers.get(_STORE_HEADER))


@operation(
    "PUT",
    "/images/{image_id}/stage",
    policy="modify_image",
    status=204,
    upload=True,
    manual=True,
    media=(_OCTETS,),
    load=load_apart,
    target=image_target,
    errors=_UPLOAD_ERRORS,
)
def stage_image(ctx: Context, deps: Deps, image: Image, stream: BodyStream | None) -> None:
    """Send an image's bytes for a later import."""
    data.stage(deps, image, _body(stream))


def _body(stream: BodyStream | None) -> BodyStream:
    if stream is None:
        raise BadRequest("The request has no body.")
    return stream


@operation(
    "POST",
    "/images/{image_id}/import",
    policy="modify_image",
    status=202,
    manual=True,
    request=ImportRequest,
    load=load_apart,
    target=image_target,
    rule=lambda ctx, image, new: (
        "copy_image" if new.method.get("name") == COPY_IMAGE else "modify_image"
    ),
    headers=(_STORE_HEADER,),
    errors=(ImageNotFound, WrongStatus, QuotaExceeded, NoSuchStore, Filtered),
)
def import_image(
    ctx: Context, deps: Deps, image: Image, new: ImportRequest, headers: Mapping[str, str]
) -> None:
    """Begin to bring an image's bytes into stores; the image's tasks tell how it goes."""
    wanted = imports.Wanted(
        new.method,
        new.get("stores"),
        new.get("all_stores", False),
        new.get("all_stores_must_succeed", True),
        headers.get(_STORE_HEADER),
    )
    imports.submit(ctx, deps, image, wanted)


@operation(
    "GET",
    "/images/{image_id}/file",
    policy="download_image",
    manual=True,
    load=load_apart,
    target=image_target,
    headers=("range", "content-range"),
    errors=(ImageNotFound, Deactivated, BadRange),
)
def download_image(ctx: Context, deps: Deps, image: Image, headers: Mapping[str, str]) -> Any:
    """Fetch an image's bytes, or a range of them; 204 when there are none yet."""
    if image.status == DEACTIVATED and not ctx.is_admin:
        raise Deactivated()
    if image.status not in (ACTIVE, DEACTIVATED) or not image.locations:
        return Reply(None, status=204)
    if image.size is None:
        image = replace(image, size=reading.measure(deps, image))
    assert image.size is not None
    start, end = _span(headers, image.size)
    length = end - start
    answer: list[tuple[str, str]] = [("Accept-Ranges", "bytes"), ("Content-Length", str(length))]
    status = 200
    if (start, end) == (0, image.size) and "range" not in headers:
        if image.checksum:
            digest = base64.b16encode(bytes.fromhex(image.checksum)).decode().lower()
            answer.append(("Content-MD5", digest))
    else:
        status = 206
        answer.append(("Content-Range", f"bytes {start}-{end - 1}/{image.size}"))
    found = reading.read(deps, image, start, length)
    return Reply(
        status=status,
        headers=answer,
        file=found.file,
        stream=found.stream,
        content_type=_OCTETS,
    )


def _span(headers: Mapping[str, str], size: int) -> tuple[int, int]:
    """Return (first, one past the last) byte that is asked for. Raises: BadRange."""
    asked = headers.get("range")
    if asked is None:
        asked = headers.get("content-range")
        if asked is None:
            return 0, size
        match = _CONTENT_RANGE.fullmatch(asked.strip())
        if match is None or match[3] not in ("*", str(size)):
            raise BadRange(range=asked[:64])
        return _within(int(match[1]), int(match[2]), size, asked)
    match = _RANGE.fullmatch(asked.strip())
    if match is None or (not match[1] and not match[2]):
        raise BadRange(range=asked[:64])
    if not match[1]:
        last = min(int(match[2]), size)
        return _within(size - last, size - 1, size, asked)
    return _within(int(match[1]), int(match[2]) if match[2] else size - 1, size, asked)


def _within(first: int, last: int, size: int, asked: str) -> tuple[int, int]:
    if first > last or first >= size:
        error = BadRange(range=asked[:64])
        error.headers.append(("Content-Range", f"bytes */{size}"))
        raise error
    return first, min(last, size - 1) + 1

"""The bytes of images: upload, download, stage, import."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from gureum.core.context import Context
from gureum.core.http.messages import BodyStream
from gureum.core.spec import (
    BadRequest,
    Boolean,
    File,
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
    ImageNotFound,
    ImageTooLarge,
    NotWhatItClaims,
    QuotaExceeded,
    StoreFull,
    UploadCut,
    WrongStatus,
)
from gureum.glance.logic import data
from gureum.glance.logic.access import image_target, load_apart
from gureum.glance.logic.deps import Deps
from gureum.glance.model import ACTIVE, DEACTIVATED, Image

_OCTETS = "application/octet-stream"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_UPLOAD_ERRORS = (
    ImageNotFound,
    WrongStatus,
    ImageTooLarge,
    QuotaExceeded,
    StoreFull,
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
    errors=_UPLOAD_ERRORS,
)
def upload_image(ctx: Context, deps: Deps, image: Image, stream: BodyStream | None) -> None:
    """Send an image's bytes; they must be what the image's formats claim."""
    data.upload(deps, image, _body(stream))


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
    errors=(ImageNotFound, WrongStatus, QuotaExceeded, DeletedMeanwhile),
)
def import_image(ctx: Context, deps: Deps, image: Image, new: ImportRequest) -> None:
    """Make an image active from its staged bytes; unfit bytes leave it queued."""
    method = new.method.get("name")
    if method != "glance-direct":
        raise BadRequest(f"Unknown import method name '{str(method)[:64]}'.")
    unknown = [name for name in new.get("stores") or () if name != deps.store.name]
    if unknown:
        raise WrongStatus(f"There is no store {unknown[0][:64]!r}.")
    data.import_staged(deps, image)


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
    if image.status not in (ACTIVE, DEACTIVATED) or image.size is None:
        return Reply(None, status=204)
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
    found = deps.store.file(image.id)
    if found is not None:
        file = File(found.path, start, length)
        return Reply(status=status, headers=answer, file=file, content_type=_OCTETS)
    try:
        stream = deps.store.stream(image.id, start, length)
    except KeyError:
        raise ImageNotFound(id=image.id) from None
    return Reply(status=status, headers=answer, stream=stream, content_type=_OCTETS)


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

"""The bytes of images: taking them in, importing what was staged, giving them out.

An upload claims its image (`saving`, with the name of the process and of the upload), writes beside the
store, looks into the bytes, publishes them and ends the claim. Whatever goes wrong gives the image back as
it was and leaves no bytes; what a killed process could not do, the reconciler does.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gureum.core import log
from gureum.core.db import Conflict as RowConflict
from gureum.core.db import Tx
from gureum.core.http.messages import BodyStream
from gureum.core.spec import BadRequest
from gureum.glance.config import GIB
from gureum.glance.drivers.base import STAGED, NoRoom, Upload
from gureum.glance.errors import (
    DeletedMeanwhile,
    ImageTooLarge,
    NotWhatItClaims,
    QuotaExceeded,
    StoreFull,
    UploadCut,
    WrongStatus,
)
from gureum.glance.inspector.check import NotAsClaimed, check
from gureum.glance.logic.deps import Deps
from gureum.glance.logic.hashing import Hasher
from gureum.glance.model import (
    ACTIVE,
    HASH_ALGORITHM,
    IMPORTING,
    QUEUED,
    SAVING,
    UPLOADING,
    Digest,
    Image,
)
from gureum.glance.store import images as store

_log = log.get(__name__)
_UNITS = {"TB": 1 << 40, "GB": GIB, "MB": 1 << 20, "KB": 1 << 10, "B": 1, "": 1}


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to finish an image: it is in `during`, and goes back to `before` when this fails."""

    image: Image
    upload_id: str
    during: str
    before: str


def quota_bytes(text: str) -> int | None:
    """Read `user_storage_quota`; None for no limit. Raises: ValueError."""
    word = text.strip().upper()
    digits = word.rstrip("TGMKB")
    unit = word[len(digits) :]
    if not digits.isdigit() or unit not in _UNITS:
        raise ValueError(f"{text!r} is no amount such as 10GB")
    return int(digits) * _UNITS[unit] or None


def upload(deps: Deps, image: Image, stream: BodyStream) -> None:
    """Take in the bytes of a queued image and make it active.

    Raises: BadRequest, WrongStatus, ImageTooLarge, QuotaExceeded, StoreFull, NotWhatItClaims, UploadCut,
    DeletedMeanwhile.
    """
    _check_formats(image)
    limit = _limit(deps, image, stream.length)
    with claimed(deps, image, QUEUED, SAVING) as claim, _full_is_413(), deps.store.begin() as part:
        digest = _receive(part, stream, limit)
        virtual = _inspect(deps, image, part.seal(), digest.size)
        _renew(deps, claim)
        part.publish(image.id)
        _finish(deps, claim, digest, virtual)
    _log.info("image uploaded", image_id=image.id, bytes=digest.size)


def stage(deps: Deps, image: Image, stream: BodyStream) -> None:
    """Keep the bytes of a queued image until they are imported. Raises: as `upload`."""
    limit = _limit(deps, image, stream.length)
    with claimed(deps, image, QUEUED, SAVING) as claim, _full_is_413(), deps.store.begin() as part:
        digest = _receive(part, stream, limit)
        part.seal()
        _renew(deps, claim)
        part.publish(STAGED + image.id)
        _end(deps, claim, UPLOADING, size=digest.size)


def import_staged(deps: Deps, image: Image) -> None:
    """Make an image active from what was staged; unfit bytes are dropped and it is queued again.

    Raises: BadRequest, WrongStatus, QuotaExceeded, DeletedMeanwhile.
    """
    _check_formats(image)
    key = STAGED + image.id
    with claimed(deps, image, UPLOADING, IMPORTING) as claim:
        try:
            digest = _digest_of(deps, key)
            with deps.store.local(key) as path:
                virtual = _inspect(deps, image, path, digest.size)
        except (NotWhatItClaims, KeyError) as error:
            _log.info("import refused", image_id=image.id, reason=str(error))
            deps.store.delete(key)
            _end(deps, claim, QUEUED, size=None)
            return
        _renew(deps, claim)
        deps.store.rename(key, image.id)
        _finish(deps, claim, digest, virtual)


@contextlib.contextmanager
def claimed(deps: Deps, image: Image, before: str, during: str) -> Iterator[Claim]:
    """Hold an image for one upload; an exception gives it back. Raises: WrongStatus."""
    claim = Claim(image, str(uuid.uuid4()), during, before)

    def take(tx: Tx) -> None:
        fresh = store.get(tx, image.id, None)
        if fresh is None or fresh.status != before:
            status = fresh.status if fresh is not None else "deleted"
            raise WrongStatus(id=image.id, status=status, needed=f"it must be {before}")
        store.update(tx, fresh, status=during, upload_id=claim.upload_id, holder=deps.store.holder)

    deps.live.add(claim.upload_id)
    try:
        deps.db.retrying(take)
        try:
            yield claim
        except BaseException:
            release(deps, claim)
            raise
    finally:
        deps.live.discard(claim.upload_id)


def release(deps: Deps, claim: Claim) -> bool:
    """Give an image back as it was before the claim. False when it is not the claim's any more."""

    def give_back(tx: Tx) -> bool:
        fresh = _held(tx, claim)
        if fresh is None:
            return False
        store.update(tx, fresh, status=claim.before, upload_id=None, holder=None)
        return True

    return deps.db.retrying(give_back)


def _held(tx: Tx, claim: Claim) -> Image | None:
    fresh = store.get(tx, claim.image.id, None)
    if fresh is None or fresh.status != claim.during or fresh.upload_id != claim.upload_id:
        return None
    return fresh


def _renew(deps: Deps, claim: Claim) -> None:
    """Make sure that the claim still stands, before bytes go where those of another could be."""
    with deps.db.read() as tx:
        if _held(tx, claim) is None:
            raise DeletedMeanwhile(id=claim.image.id)


def _finish(deps: Deps, claim: Claim, digest: Digest, virtual: int | None) -> None:
    try:
        _end(
            deps,
            claim,
            ACTIVE,
            size=digest.size,
            virtual_size=virtual,
            checksum=digest.checksum,
            os_hash_algo=HASH_ALGORITHM,
            os_hash_value=digest.os_hash_value,
        )
    except BaseException:
        deps.store.delete(claim.image.id)
        raise


def _end(deps: Deps, claim: Claim, status: str, **values: Any) -> None:
    """End a claim in its new status; the quota is counted in the same transaction."""

    def write(tx: Tx) -> None:
        fresh = _held(tx, claim)
        if fresh is None:
            raise DeletedMeanwhile(id=claim.image.id)
        _check_quota(tx, deps, fresh, values.get("size") or 0)
        store.update(tx, fresh, status=status, upload_id=None, holder=None, **values)

    try:
        deps.db.retrying(write)
    except RowConflict as error:
        raise DeletedMeanwhile(id=claim.image.id) from error


def _check_quota(tx: Tx, deps: Deps, image: Image, size: int) -> None:
    quota = quota_bytes(deps.options.user_storage_quota)
    if quota is None or not size:
        return
    if store.usage(tx, image.project_id, without=image.id)[0] + size > quota:
        raise QuotaExceeded(what="storage", limit=f"{quota} bytes")


def _check_formats(image: Image) -> None:
    missing = [name for name in ("disk_format", "container_format") if getattr(image, name) is None]
    if missing:
        raise BadRequest(f"Properties {', '.join(missing)} must be set prior to saving data.")


def _limit(deps: Deps, image: Image, announced: int | None) -> int:
    """Return the most bytes that may come now. Raises: ImageTooLarge, QuotaExceeded."""
    cap = deps.options.image_size_cap
    if announced is not None and announced > cap:
        raise ImageTooLarge(limit=cap)
    quota = quota_bytes(deps.options.user_storage_quota)
    if quota is None:
        return cap
    with deps.db.read() as tx:
        left = quota - store.usage(tx, image.project_id, without=image.id)[0]
    if (announced or 0) > left or left <= 0:
        raise QuotaExceeded(what="storage", limit=f"{quota} bytes")
    return min(cap, left)


def _receive(part: Upload, stream: BodyStream, limit: int) -> Digest:
    with Hasher() as hasher:
        try:
            for chunk in stream.chunks():
                hasher.feed(chunk)
                if hasher.size > limit:
                    raise ImageTooLarge(limit=limit)
                part.write(chunk)
        except ConnectionError as error:
            raise UploadCut() from error
        if stream.length is not None and stream.length != hasher.size:
            raise UploadCut()
        return hasher.result()


def _digest_of(deps: Deps, key: str) -> Digest:
    with Hasher() as hasher:
        for chunk in deps.store.stream(key, 0, None):
            hasher.feed(chunk)
        return hasher.result()


def _inspect(deps: Deps, image: Image, path: Path, size: int) -> int | None:
    assert image.disk_format is not None and image.container_format is not None
    try:
        return check(
            deps.inspector,
            path,
            image.disk_format,
            image.container_format,
            size,
            strict=deps.options.require_image_format_match,
        )
    except NotAsClaimed as error:
        raise NotWhatItClaims(reason=str(error)) from error


@contextlib.contextmanager
def _full_is_413() -> Iterator[None]:
    try:
        yield
    except NoRoom as error:
        raise StoreFull() from error

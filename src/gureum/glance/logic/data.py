"""The bytes of images: taking them in, staging them.

An upload claims its image (`saving`, with the name of the process and of the upload), writes beside the
store, looks into the bytes, publishes them and ends the claim. Whatever goes wrong gives the image back as
it was and leaves no bytes; what a killed process could not do, the reconciler does. Imports are sagas; they
use the inspection and the digests of this module.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gureum.core import log
from gureum.core.db import CommitUnknown, Tx
from gureum.core.db import Conflict as RowConflict
from gureum.core.http.messages import BodyStream
from gureum.core.spec import BadRequest
from gureum.glance.drivers.base import NoRoom, ReadOnly, Store, StoreFault, Upload
from gureum.glance.drivers.stores import UnknownStore
from gureum.glance.errors import (
    DeletedMeanwhile,
    ImageTooLarge,
    NoSuchStore,
    NotWhatItClaims,
    QuotaExceeded,
    StoreFull,
    StoreUnavailable,
    UploadCut,
    WrongStatus,
)
from gureum.glance.inspector.check import NotAsClaimed, check
from gureum.glance.logic.deps import Deps
from gureum.glance.logic.hashing import Beside, Hasher
from gureum.glance.logic.limits import Allowed
from gureum.glance.model import (
    ACTIVE,
    QUEUED,
    SAVING,
    UPLOADING,
    Digest,
    Image,
)
from gureum.glance.store import images as store
from gureum.glance.store import locations

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to finish an image: it is in `during`, and goes back to `before` when this fails."""

    image: Image
    upload_id: str
    during: str
    before: str
    allowed: Allowed = Allowed()


def writable_store(deps: Deps, name: str | None) -> Store:
    """Return the store that shall take an image; the default one without a name. Raises: NoSuchStore."""
    if not name:
        return deps.stores.default
    try:
        found = deps.stores[name]
    except UnknownStore:
        raise NoSuchStore(name=repr(name[:64])) from None
    if found.read_only:
        raise NoSuchStore(f"The store {name!r} takes no images.")
    return found


def upload(deps: Deps, image: Image, stream: BodyStream, store_name: str | None = None) -> None:
    """Take in the bytes of a queued image and make it active.

    Raises: BadRequest, NoSuchStore, WrongStatus, ImageTooLarge, QuotaExceeded, StoreFull,
    StoreUnavailable, NotWhatItClaims, UploadCut, DeletedMeanwhile.
    """
    check_formats_given(image)
    target = writable_store(deps, store_name)
    allowed = deps.limits.of(image.project_id)
    limit = _limit(deps, image, stream.length, allowed, staged=False)
    claiming = claimed(deps, image, QUEUED, SAVING, allowed)
    with claiming as claim, _store_errors(), target.begin() as part:
        digest = _receive(part, stream, limit, deps.options.hashing_algorithm)
        virtual = inspect(deps, image.disk_format, image.container_format, part.seal(), digest.size)
        _renew(deps, claim)
        part.publish(image.id)
        _finish(deps, claim, digest, virtual, target)
    _log.info("image uploaded", image_id=image.id, bytes=digest.size, store=target.name)


def stage(deps: Deps, image: Image, stream: BodyStream) -> None:
    """Keep the bytes of a queued image until they are imported. Raises: as `upload`."""
    allowed = deps.limits.of(image.project_id)
    limit = _limit(deps, image, stream.length, allowed, staged=True)
    claiming = claimed(deps, image, QUEUED, SAVING, allowed)
    with claiming as claim, _store_errors(), deps.staging.begin() as part:
        digest = _receive(part, stream, limit, deps.options.hashing_algorithm)
        part.seal()
        _renew(deps, claim)
        part.publish(image.id)

        def count(tx: Tx, fresh: Image) -> None:
            allowed.check_bytes(tx, fresh.project_id, fresh.id, digest.size, staged=True)

        # A process that does not share the folder cannot import them, and can say so.
        _end(deps, claim, UPLOADING, count, size=digest.size, holder=deps.staging.identity())


@contextlib.contextmanager
def claimed(
    deps: Deps, image: Image, before: str, during: str, allowed: Allowed
) -> Iterator[Claim]:
    """Hold an image for one upload; an exception gives it back. Raises: WrongStatus, QuotaExceeded."""
    claim = Claim(image, str(uuid.uuid4()), during, before, allowed)

    def take(tx: Tx) -> None:
        fresh = store.get(tx, image.id, None)
        if fresh is not None and (fresh.status, fresh.upload_id) == (during, claim.upload_id):
            return  # taken by an earlier try, whose commit nobody heard of
        if fresh is None or fresh.status != before:
            status = fresh.status if fresh is not None else "deleted"
            raise WrongStatus(id=image.id, status=status, needed=f"it must be {before}")
        allowed.check_upload(tx, fresh.project_id, fresh.id)
        holder = deps.staging.holder
        store.update(tx, fresh, status=during, upload_id=claim.upload_id, holder=holder)

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


def _finish(deps: Deps, claim: Claim, digest: Digest, virtual: int | None, target: Store) -> None:
    id = claim.image.id

    def keep(tx: Tx, fresh: Image) -> None:
        claim.allowed.check_bytes(tx, fresh.project_id, fresh.id, digest.size, staged=False)
        locations.add(tx, id, target.name)

    try:
        _end(deps, claim, ACTIVE, keep, virtual_size=virtual, **digest_values(digest))
    except CommitUnknown:
        raise  # the image may be active: its bytes stay
    except BaseException:
        target.delete(id)
        raise


def digest_values(digest: Digest) -> dict[str, Any]:
    """Return the columns of an image that its bytes decide."""
    return {
        "size": digest.size,
        "checksum": digest.checksum,
        "os_hash_algo": digest.os_hash_algo,
        "os_hash_value": digest.os_hash_value,
    }


def _end(
    deps: Deps, claim: Claim, status: str, more: Callable[[Tx, Image], None], **values: Any
) -> None:
    """End a claim in its new status; what is counted and kept with it is in the same transaction."""

    def write(tx: Tx) -> None:
        fresh = _held(tx, claim)
        if fresh is None:
            if _is_ended(tx, claim, status, values):
                return  # by an earlier try, whose commit nobody heard of
            raise DeletedMeanwhile(id=claim.image.id)
        more(tx, fresh)
        store.update(tx, fresh, **{"status": status, "upload_id": None, "holder": None, **values})

    try:
        deps.db.retrying(write)
    except RowConflict as error:
        raise DeletedMeanwhile(id=claim.image.id) from error


def _is_ended(tx: Tx, claim: Claim, status: str, values: dict[str, Any]) -> bool:
    fresh = store.get(tx, claim.image.id, None)
    if fresh is None or fresh.status != status or fresh.upload_id is not None:
        return False
    return all(getattr(fresh, name) == value for name, value in values.items())


def check_formats_given(image: Image) -> None:
    """Raises: BadRequest when a format is missing."""
    missing = [name for name in ("disk_format", "container_format") if getattr(image, name) is None]
    if missing:
        raise BadRequest(f"Properties {', '.join(missing)} must be set prior to saving data.")


def _limit(
    deps: Deps, image: Image, announced: int | None, allowed: Allowed, *, staged: bool
) -> int:
    """Return how many bytes may come. Raises: ImageTooLarge, QuotaExceeded."""
    cap = deps.options.image_size_cap
    if (announced or 0) > cap:
        raise ImageTooLarge(limit=cap)
    if (allowed.staged_bytes if staged else allowed.stored_bytes) is None:
        return cap
    with deps.db.read() as tx:
        used = store.usage(tx, image.project_id, without=image.id)
    left = allowed.bytes_left(used, staged=staged)
    assert left is not None
    if (announced or 0) > left or left <= 0:
        name = "image_stage_total" if staged else "image_size_total"
        raise QuotaExceeded(what=name, limit=f"{left} more bytes")
    return min(cap, left)


def _receive(part: Upload, stream: BodyStream, limit: int, algorithm: str) -> Digest:
    with Hasher(algorithm) as hasher, Beside("writer", part.write) as writer:
        try:
            for chunk in stream.chunks():
                hasher.feed(chunk)
                if hasher.size > limit:
                    raise ImageTooLarge(limit=limit)
                writer.feed(chunk)
        except ConnectionError as error:
            raise UploadCut() from error
        if stream.length is not None and stream.length != hasher.size:
            raise UploadCut()
        writer.end()
        return hasher.result()


def digest_of(chunks: Iterable[bytes], algorithm: str) -> Digest:
    """Return size and digests of bytes."""
    with Hasher(algorithm) as hasher:
        for chunk in chunks:
            hasher.feed(chunk)
        return hasher.result()


def inspect(
    deps: Deps, disk_format: str | None, container_format: str | None, path: Path, size: int
) -> int | None:
    """Look into bytes; returns their virtual size if there is one. Raises: NotWhatItClaims."""
    assert disk_format is not None and container_format is not None
    try:
        return check(
            deps.inspector,
            path,
            disk_format,
            container_format,
            size,
            strict=deps.options.require_image_format_match,
        )
    except NotAsClaimed as error:
        raise NotWhatItClaims(reason=str(error)) from error


@contextlib.contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except NoRoom as error:
        raise StoreFull() from error
    except (StoreFault, ReadOnly) as error:
        _log.warning("a store does not take an image", reason=str(error))
        raise StoreUnavailable() from error

"""Adding a location to a queued image: look at it, activate the image, and read it once for its hashes.

Follows: Image API v2, "Add Location". Validation data is checked before the image becomes active; without
it the image is active at once and its hashes appear when they are known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from gureum.core import log
from gureum.core.db import Tx
from gureum.core.saga import Saga, SagaAbort, Step, StepContext
from gureum.glance.drivers.base import StoreFault
from gureum.glance.logic.deps import Deps
from gureum.glance.model import ACTIVE, DEACTIVATED, QUEUED, REFUSED
from gureum.glance.sagas.common import clean, end_task, give_back, held
from gureum.glance.sagas.params import LocationJob
from gureum.glance.store import images as store
from gureum.glance.store import locations, tasks

_log = log.get(__name__)

Context = StepContext[LocationJob, Deps]
_TRIES = 3
_WRONG_HASH = "hash"


def _algorithm(context: Context) -> str:
    return context.params.validation.get("os_hash_algo") or context.deps.options.hashing_algorithm


def register(context: Context) -> Mapping[str, Any]:
    """Learn the size, and make the location the image's; it is active unless hashes must fit first."""
    job, deps = context.params, context.deps
    deps.db.retrying(partial(tasks.begin, id=context.saga_id))
    try:
        size = deps.stores[job.store].size(job.url)
    except StoreFault as error:
        if context.tries < _TRIES:
            raise
        raise SagaAbort("location", "The location cannot be read.", detail=str(error)) from error
    context.at_mark(lambda tx: _register(tx, context, size))
    return {"size": size}


def _register(tx: Tx, context: Context, size: int | None) -> None:
    job = context.params
    image = held(tx, job.image_id, context.saga_id)
    locations.add(tx, image.id, job.store, url=job.url)
    if _must_fit(context):
        store.update(tx, image, size=size)
        return
    store.update(
        tx,
        image,
        status=ACTIVE,
        upload_id=None,
        size=size,
        os_hash_algo=_algorithm(context) if _hashes(context) or job.validation else None,
        os_hash_value=job.validation.get("os_hash_value"),
    )


def _hashes(context: Context) -> bool:
    return context.deps.options.do_secure_hash


def _must_fit(context: Context) -> bool:
    return _hashes(context) and bool(context.params.validation)


def unregister(context: Context) -> None:
    """Take the location away from the image."""
    context.at_mark(lambda tx: _unregister(tx, context))


def _unregister(tx: Tx, context: Context) -> None:
    job = context.params
    for place in locations.every(tx, job.image_id):
        if place.url == job.url and context.error_code == _WRONG_HASH:
            locations.change(tx, place.id, status=REFUSED)
        elif place.url == job.url:
            locations.remove(tx, place.id)


def compute(context: Context) -> Mapping[str, Any]:
    """Read the bytes for their hashes."""
    job, deps = context.params, context.deps
    long = hashlib.new(_algorithm(context))
    short = hashlib.md5(usedforsecurity=False)
    size = seen = 0
    try:
        for chunk in deps.stores[job.store].stream(job.url, 0, None):
            long.update(chunk)
            short.update(chunk)
            size += len(chunk)
            if size - seen >= 16 << 20:
                seen = size
                if context.stop_wanted():
                    raise SagaAbort("cancelled", "The image was deleted.")
    except KeyError as error:
        raise SagaAbort("location", "There is nothing at the location.") from error
    except StoreFault as error:
        if context.tries < _TRIES:
            raise
        if _must_fit(context):
            text = "The location cannot be read."
            raise SagaAbort("location", text, detail=str(error)) from error
        _log.warning("a location has no hashes", image_id=job.image_id, reason=str(error))
        return {}
    value = long.hexdigest()
    if _must_fit(context) and value != job.validation["os_hash_value"]:
        raise SagaAbort(_WRONG_HASH, "The hash of the location is not that of the validation data.")
    context.at_mark(lambda tx: _known(tx, context, size, short.hexdigest(), value))
    return {"size": size}


def _known(tx: Tx, context: Context, size: int, checksum: str, value: str) -> None:
    image = store.get(tx, context.params.image_id, None)
    must_fit = _must_fit(context)
    if must_fit:
        image = held(tx, context.params.image_id, context.saga_id)
    if image is None or (not must_fit and image.status not in (ACTIVE, DEACTIVATED)):
        return
    values = {"status": ACTIVE, "upload_id": None} if must_fit else {}
    store.update(
        tx,
        image,
        size=size,
        checksum=checksum,
        os_hash_algo=_algorithm(context),
        os_hash_value=value,
        **values,
    )


def done(context: Context) -> None:
    """End the task; remove the image when it was deleted meanwhile."""
    id = context.params.image_id
    context.deps.db.retrying(
        lambda tx: end_task(context.deps, tx, context.saga_id, "success", result={"image_id": id})
    )
    clean(context)


def failed(context: Context) -> None:
    """Queue the image again."""

    def write(tx: Tx) -> None:
        text = context.error_text or "The location cannot be added."
        end_task(context.deps, tx, context.saga_id, "failure", message=text)
        image = store.get(tx, context.params.image_id, None)
        if image is not None and image.status == ACTIVE and not image.locations:
            store.update(
                tx,
                image,
                status=QUEUED,
                size=None,
                checksum=None,
                os_hash_algo=None,
                os_hash_value=None,
            )
            return
        give_back(tx, context.params.image_id, context.saga_id, {})

    context.deps.db.retrying(write)
    clean(context)


ADD_LOCATION = Saga(
    "glance.location.add",
    Step("register", do=register, undo=unregister, timeout_s=300),
    Step("compute", do=compute, when=_hashes, timeout_s=24 * 3600.0),
    params=LocationJob,
    on_done=done,
    on_failed=failed,
)

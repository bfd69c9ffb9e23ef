"""Importing an image: fetch the bytes, unpack, look into, convert, digest, store, activate.

Every step can be repeated: what it makes lies in the staging folder under a name that follows from the
image's id, or in a store under that id. A failure removes all of it; copies that another import made stay.
Follows: Image API v2, "Interoperable image import", and the admin guide of its plugins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from gureum.core import log
from gureum.core.db import Tx
from gureum.core.saga import Saga, SagaAbort, Step, StepContext
from gureum.glance.drivers.base import NoRoom, ReadOnly, StoreFault
from gureum.glance.drivers.stores import UnknownStore
from gureum.glance.errors import NotWhatItClaims, QuotaExceeded
from gureum.glance.inspector.convert import QEMU_NAMES, ConversionFailed
from gureum.glance.logic import data
from gureum.glance.logic.deps import Deps
from gureum.glance.logic.unpack import NotPacked, Unreadable, packing, unpacked
from gureum.glance.model import (
    ACTIVE,
    DEACTIVATED,
    FAILED_IMPORT,
    IMPORTING,
    IMPORTING_TO,
    SAVING,
    Digest,
    Image,
)
from gureum.glance.sagas import import_sources
from gureum.glance.sagas.common import (
    GONE,
    clean,
    end_task,
    give_back,
    held,
    set_service_properties,
)
from gureum.glance.sagas.params import COPY_IMAGE, ImportJob
from gureum.glance.store import images as store
from gureum.glance.store import locations, tasks

_log = log.get(__name__)

Context = StepContext[ImportJob, Deps]
_STORE_TRIES = 3


def _plugin(name: str) -> Any:
    def wanted(context: Context) -> bool:
        plugins = context.deps.imports.image_import_plugins
        return name in plugins and context.params.method != COPY_IMAGE

    return wanted


def _formats(context: Context) -> tuple[str, str]:
    """Return disk and container format: those that the source brought, else the image's."""
    fetched = context.results.get("fetch", {})
    with context.deps.db.read() as tx:
        image = store.get(tx, context.params.image_id, None)
    if image is None:
        raise GONE
    disk = fetched.get("disk_format") or image.disk_format
    container = fetched.get("container_format") or image.container_format
    if disk is None or container is None:
        raise SagaAbort("formats", "The formats of the image are not set.")
    return disk, container


def _key(context: Context) -> str:
    """Return the staged file that holds the bytes as far as they came."""
    for step in ("convert", "unpack", "fetch"):
        key = context.results.get(step, {}).get("key")
        if key:
            return str(key)
    return context.params.image_id


def fetch(context: Context) -> Mapping[str, Any]:
    """Bring the bytes into the staging folder."""
    context.deps.db.retrying(partial(tasks.begin, id=context.params.task_id))
    return import_sources.fetch(context)


def drop_fetched(context: Context) -> None:
    """Remove what was staged."""
    context.deps.staging.delete(context.params.image_id)


def unpack(context: Context) -> Mapping[str, Any]:
    """Replace gzip, xz, bzip2 and zip by what is in them, unless the image is to stay packed."""
    deps, id = context.deps, context.params.image_id
    if _formats(context)[1] == "compressed":
        return {}
    with deps.staging.local(_key(context)) as path:
        if packing(path) is None:
            return {}
        try:
            with deps.staging.begin() as part:
                size = 0
                for chunk in unpacked(path):
                    size += len(chunk)
                    if size > deps.options.image_size_cap:
                        raise SagaAbort("too-large", "The unpacked image is too large.")
                    part.write(chunk)
                part.seal()
                part.publish(f"{id}-plain")
        except (NotPacked, Unreadable) as error:
            raise SagaAbort("unpack", f"The image cannot be unpacked: {error}") from error
        except NoRoom as error:
            raise SagaAbort("no-room", "There is no room to unpack the image.") from error
    return {"key": f"{id}-plain"}


def drop_unpacked(context: Context) -> None:
    """Remove the unpacked bytes."""
    context.deps.staging.delete(f"{context.params.image_id}-plain")


def look(context: Context) -> Mapping[str, Any]:
    """Look into the bytes: they must be what the formats claim."""
    deps = context.deps
    disk, container = _formats(context)
    try:
        with deps.staging.local(_key(context)) as path:
            virtual = data.inspect(deps, disk, container, path, path.stat().st_size)
    except NotWhatItClaims as error:
        raise SagaAbort("content", error.message) from error
    except KeyError as error:
        raise SagaAbort("no-data", "There are no staged bytes.") from error
    return {"virtual_size": virtual, "disk_format": disk, "container_format": container}


def convert(context: Context) -> Mapping[str, Any]:
    """Make the operator's format of a disk that has another one."""
    deps, id = context.deps, context.params.image_id
    new = deps.imports.output_format
    disk, container = _formats(context)
    if container != "bare" or disk == new or disk not in QEMU_NAMES:
        return {}
    virtual = context.results["look"].get("virtual_size") or 0
    if virtual > deps.options.image_size_cap:
        raise SagaAbort("too-large", "The converted image would be too large.")
    most = virtual + (virtual >> 3) + (64 << 20)
    try:
        with deps.staging.local(_key(context)) as path, deps.staging.begin() as part:
            deps.converter.convert(path, disk, part.seal(), new, most)
            part.publish(f"{id}-converted")
    except ConversionFailed as error:
        raise SagaAbort("conversion", f"The image cannot be converted: {error}.") from error
    except NoRoom as error:
        raise SagaAbort("no-room", "There is no room to convert the image.") from error
    return {"key": f"{id}-converted", "disk_format": new}


def drop_converted(context: Context) -> None:
    """Remove the converted bytes."""
    context.deps.staging.delete(f"{context.params.image_id}-converted")


def digest(context: Context) -> Mapping[str, Any]:
    """Read the bytes once for their size and digests; the quota is checked for every store."""
    deps, job = context.deps, context.params
    with deps.db.read() as tx:
        image = store.get(tx, job.image_id, None)
    if image is None:
        raise GONE
    copying = job.method == COPY_IMAGE
    algorithm = (image.os_hash_algo if copying else None) or deps.options.hashing_algorithm
    try:
        found = data.digest_of(deps.staging.stream(_key(context), 0, None), algorithm)
    except KeyError as error:
        raise SagaAbort("no-data", "There are no staged bytes.") from error
    if copying and image.os_hash_value not in (None, found.os_hash_value):
        raise SagaAbort("damaged", "The bytes that were copied are not those of the image.")
    allowed = deps.limits.of(image.project_id)
    try:
        with deps.db.read() as tx:
            more = found.size * len(job.stores)
            without = "" if copying else image.id
            allowed.check_bytes(tx, image.project_id, without, more, staged=False)
    except QuotaExceeded as error:
        raise SagaAbort("quota", error.message) from error
    return asdict(found)


def keep(context: Context) -> Mapping[str, Any]:
    """Put the bytes into every store that was asked for, one after the other."""
    failed: list[str] = []
    job = context.params
    for name in job.stores:
        if context.lost.is_set() or context.stop_wanted():
            raise SagaAbort("cancelled", "The import was cancelled.")
        if context.deps.db.retrying(partial(_has, image_id=job.image_id, name=name)):
            continue
        try:
            _put(context, name)
        except (NoRoom, ReadOnly, UnknownStore, StoreFault, OSError) as error:
            again = isinstance(error, StoreFault) and context.tries < _STORE_TRIES
            if again:
                raise
            _log.warning("a store takes no image", store=name, reason=str(error))
            failed.append(name)
            if job.all_must_succeed:
                raise SagaAbort("store", f"The image cannot be kept in {name}.") from error
            left = list(job.stores[job.stores.index(name) + 1 :])
            _show(context, left, failed)
            continue
        left = list(job.stores[job.stores.index(name) + 1 :])
        try:
            context.deps.db.retrying(partial(_kept, context=context, name=name, left=left))
        except SagaAbort:
            _take_back(context, name)
            raise
    if len(failed) == len(job.stores):
        raise SagaAbort("store", "The image could not be kept in any store.")
    return {"failed": failed}


def _has(tx: Tx, image_id: str, name: str) -> bool:
    return any(place.store == name and place.url is None for place in locations.every(tx, image_id))


def _put(context: Context, name: str) -> None:
    deps = context.deps
    with deps.staging.local(_key(context)) as path:
        deps.stores[name].put(context.params.image_id, path)


def _image(tx: Tx, context: Context) -> Image:
    """Return the image while it is this import's. Raises: SagaAbort."""
    job = context.params
    if job.method != COPY_IMAGE:
        return held(tx, job.image_id, context.saga_id)
    image = store.get(tx, job.image_id, None)
    if image is None or image.status not in (ACTIVE, DEACTIVATED):
        raise GONE
    return image


def _kept(tx: Tx, context: Context, name: str, left: list[str]) -> None:
    image = _image(tx, context)
    if not _has(tx, image.id, name):
        locations.add(tx, image.id, name)
    set_service_properties(tx, image, {IMPORTING_TO: ",".join(left)})
    store.update(tx, image)


def _take_back(context: Context, name: str) -> None:
    """Remove bytes that came too late: the image was deleted, or the import ended without us."""
    id = context.params.image_id
    with context.deps.db.read() as tx:
        image = store.get(tx, id, None)
        wanted = _has(tx, id, name)
    busy = image is not None and image.status in (SAVING, IMPORTING)
    if not wanted and not busy:
        context.deps.stores[name].delete(id)


def _show(context: Context, left: list[str], failed: list[str]) -> None:
    def write(tx: Tx) -> None:
        image = _image(tx, context)
        values = {IMPORTING_TO: ",".join(left), FAILED_IMPORT: ",".join(failed)}
        set_service_properties(tx, image, values)
        store.update(tx, image)

    context.deps.db.retrying(write)


def drop_kept(context: Context) -> None:
    """Take the bytes out of the stores again."""
    job, deps = context.params, context.deps

    for name in job.stores:
        deps.db.retrying(partial(locations.remove_of_store, image_id=job.image_id, store=name))
        found = deps.stores.get(name)
        if found is not None and not found.read_only:
            found.delete(job.image_id)


def finish(context: Context) -> None:
    """Make the image active with all that is known of its bytes."""
    context.at_mark(lambda tx: _activate(tx, context))


def _activate(tx: Tx, context: Context) -> None:
    job, deps, results = context.params, context.deps, context.results
    image = _image(tx, context)
    failed = results["keep"].get("failed") or []
    properties: dict[str, str | None] = {
        IMPORTING_TO: "",
        FAILED_IMPORT: ",".join(failed),
    }
    values: dict[str, Any] = {}
    if job.method != COPY_IMAGE:
        found = Digest(**results["digest"])
        looked = {**results["look"], **results.get("convert", {})}
        values = {
            "status": ACTIVE,
            "upload_id": None,
            "holder": None,
            "disk_format": looked["disk_format"],
            "container_format": looked["container_format"],
            "virtual_size": looked.get("virtual_size"),
            **data.digest_values(found),
        }
        properties |= results["fetch"].get("properties") or {}
        ignored = set(deps.imports.ignore_user_roles) & set(context.requester.roles)
        if "inject_image_metadata" in deps.imports.image_import_plugins and not ignored:
            properties |= deps.imports.inject
    set_service_properties(tx, image, properties)
    store.update(tx, image, **values)
    end_task(deps, tx, job.task_id, "success", result={"image_id": job.image_id})


def reopen(context: Context) -> None:
    """Take an image that this import made active into its hands again, to undo the rest."""
    if context.done and context.params.method != COPY_IMAGE:
        context.at_mark(lambda tx: _reopen(tx, context))


def _reopen(tx: Tx, context: Context) -> None:
    image = store.get(tx, context.params.image_id, None)
    if image is not None and image.status in (ACTIVE, DEACTIVATED):
        store.update(tx, image, status=IMPORTING, upload_id=context.saga_id)


def done(context: Context) -> None:
    """Clean the staging folder."""
    clean(context)


def failed(context: Context) -> None:
    """Give the image back as it was, say why, and clean up."""
    job, deps = context.params, context.deps

    def write(tx: Tx) -> None:
        properties = {IMPORTING_TO: "", FAILED_IMPORT: ",".join(job.stores)}
        if job.method == COPY_IMAGE:
            image = store.get(tx, job.image_id, None)
            if image is not None and image.status in (ACTIVE, DEACTIVATED):
                set_service_properties(tx, image, properties)
                store.update(tx, image)
        else:
            give_back(tx, job.image_id, context.saga_id, properties)
        text = context.error_text or "The import failed."
        end_task(deps, tx, job.task_id, "failure", message=text)

    deps.db.retrying(write)
    clean(context)


_LONG_S = 24 * 3600.0

IMPORT = Saga(
    "glance.image.import",
    Step("fetch", do=fetch, undo=drop_fetched, task_state="fetching", timeout_s=_LONG_S),
    Step(
        "unpack",
        do=unpack,
        undo=drop_unpacked,
        when=_plugin("image_decompression"),
        task_state="unpacking",
        timeout_s=_LONG_S,
    ),
    Step("look", do=look, task_state="inspecting", timeout_s=3600),
    Step(
        "convert",
        do=convert,
        undo=drop_converted,
        when=_plugin("image_conversion"),
        task_state="converting",
        timeout_s=_LONG_S,
    ),
    Step("digest", do=digest, task_state="hashing", timeout_s=_LONG_S),
    Step("keep", do=keep, undo=drop_kept, task_state="storing", timeout_s=_LONG_S),
    Step("finish", do=finish, undo=reopen, task_state="finishing"),
    params=ImportJob,
    on_done=done,
    on_failed=failed,
    secrets=("token",),
)

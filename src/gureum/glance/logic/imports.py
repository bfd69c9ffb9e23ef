"""Asking for imports: what may be imported how, into which stores; the saga does the rest."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.saga import SagaBusy
from gureum.core.spec import BadRequest
from gureum.glance.drivers.fetch import Refused
from gureum.glance.errors import Filtered, NoSuchStore, WrongStatus
from gureum.glance.logic.access import load
from gureum.glance.logic.data import check_formats_given, writable_store
from gureum.glance.logic.deps import Deps
from gureum.glance.logic.limits import Allowed
from gureum.glance.model import (
    ACTIVE,
    FAILED_IMPORT,
    IMPORTING,
    IMPORTING_TO,
    LEAVING,
    QUEUED,
    UPLOADING,
    Image,
)
from gureum.glance.sagas import IMPORT
from gureum.glance.sagas.common import set_service_properties
from gureum.glance.sagas.import_sources import STAGED_ELSEWHERE
from gureum.glance.sagas.params import (
    COPY_IMAGE,
    GLANCE_DIRECT,
    GLANCE_DOWNLOAD,
    WEB_DOWNLOAD,
    ImportJob,
)
from gureum.glance.store import images as store
from gureum.glance.store import locations, tasks

_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}")
_FROM = {
    GLANCE_DIRECT: UPLOADING,
    WEB_DOWNLOAD: QUEUED,
    GLANCE_DOWNLOAD: QUEUED,
    COPY_IMAGE: ACTIVE,
}
"""The status that an image must have, by method."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asked for. stores: None for the default one."""

    method: Mapping[str, Any]
    stores: Sequence[str] | None = None
    all_stores: bool = False
    all_must_succeed: bool = True
    header_store: str | None = None


def submit(ctx: Context, deps: Deps, image: Image, wanted: Wanted) -> str:
    """Begin an import; returns the id of its task.

    Raises: BadRequest, NoSuchStore, Filtered, PolicyForbidden, WrongStatus, QuotaExceeded.
    """
    job = _job(ctx, deps, image, wanted)
    if job.method == COPY_IMAGE:
        deps.policy.enforce("copy_image", ctx, {"project_id": image.project_id or ""})
        if not job.stores:
            raise NoSuchStore("Every store that was asked for has the image already.")
    elif job.method != GLANCE_DOWNLOAD:
        check_formats_given(image)
    allowed = deps.limits.of(image.project_id)
    shown = {"import_req": {**_shown(wanted)}, "image_id": image.id}
    deps.db.retrying(lambda tx: _begin(ctx, deps, tx, load(ctx, tx, image.id), job, allowed, shown))
    return job.task_id


def _job(ctx: Context, deps: Deps, image: Image, wanted: Wanted) -> ImportJob:
    method = wanted.method.get("name")
    if method not in deps.options.enabled_import_methods or method not in _FROM:
        raise BadRequest(f"Unknown import method name '{str(method)[:64]}'.")
    stores = _stores(deps, wanted)
    if method == COPY_IMAGE:
        have = {place.store for place in image.locations}
        stores = [name for name in stores if name not in have]
    uri, source, token = "", {}, ""
    if method == WEB_DOWNLOAD:
        uri = check_uri(deps, wanted.method.get("uri"))
    elif method == GLANCE_DOWNLOAD:
        source, token = _source(wanted.method), ctx.token or ""
    must = wanted.all_must_succeed
    return ImportJob(image.id, str(uuid.uuid4()), method, tuple(stores), must, uri, source, token)


def check_uri(deps: Deps, uri: Any) -> str:
    """Return a URI that may be followed. Raises: BadRequest, Filtered."""
    if not isinstance(uri, str) or not uri:
        raise BadRequest("The method web-download needs a 'uri'.")
    try:
        deps.fetcher.check(uri)
    except Refused as error:
        raise Filtered(reason=str(error)) from error
    return uri


def _source(method: Mapping[str, Any]) -> dict[str, str]:
    image_id, region = method.get("glance_image_id"), method.get("glance_region")
    if image_id is None and region is None:
        raise BadRequest(
            "The method glance-download needs a 'glance_image_id' and a 'glance_region'. Some"
            " clients send them only when they are given the service interface too, such as"
            " --remote-service-interface public."
        )
    if not isinstance(image_id, str) or not _UUID.fullmatch(image_id):
        raise BadRequest("The glance_image_id: image id does not look like a UUID.")
    if not isinstance(region, str) or not region:
        raise BadRequest("The method glance-download needs a 'glance_region'.")
    interface = method.get("glance_service_interface") or "public"
    if interface not in ("public", "internal", "admin"):
        raise BadRequest("The glance_service_interface must be public, internal or admin.")
    return {"image_id": image_id, "region": region, "interface": interface}


def _stores(deps: Deps, wanted: Wanted) -> list[str]:
    if wanted.all_stores:
        if wanted.stores:
            raise BadRequest("'stores' and 'all_stores' cannot be combined.")
        return [found.name for found in deps.stores.writable()]
    if wanted.stores is not None:
        if not wanted.stores:
            raise BadRequest("The list of stores is empty.")
        names = dict.fromkeys(wanted.stores)
        return [writable_store(deps, name).name for name in names]
    return [writable_store(deps, wanted.header_store).name]


def _shown(wanted: Wanted) -> dict[str, Any]:
    shown: dict[str, Any] = {"method": dict(wanted.method)}
    if wanted.stores is not None:
        shown["stores"] = list(wanted.stores)
    shown["all_stores"] = wanted.all_stores
    shown["all_stores_must_succeed"] = wanted.all_must_succeed
    return shown


def _begin(
    ctx: Context,
    deps: Deps,
    tx: Tx,
    image: Image,
    job: ImportJob,
    allowed: Allowed,
    shown: Mapping[str, Any],
    kind: str = "api_image_import",
) -> None:
    needed = _FROM[job.method]
    if image.status != needed:
        raise WrongStatus(id=image.id, status=image.status, needed=f"it must be {needed}")
    if job.method == GLANCE_DIRECT and image.holder not in (None, deps.staging.identity()):
        raise WrongStatus(id=image.id, status=image.status, needed=STAGED_ELSEWHERE)
    leaving = {place.store for place in locations.every(tx, image.id) if place.status == LEAVING}
    if leaving & set(job.stores):
        raise WrongStatus(
            id=image.id, status=image.status, needed="its bytes are being removed from a store"
        )
    if job.method in (WEB_DOWNLOAD, GLANCE_DOWNLOAD):
        allowed.check_upload(tx, image.project_id, image.id)
        allowed.check_bytes(tx, image.project_id, image.id, 1, staged=False)
    try:
        deps.sagas.submit(
            tx, IMPORT, resource_id=image.id, params=job, ctx=ctx, saga_id=job.task_id
        )
    except SagaBusy:
        raise WrongStatus(
            id=image.id, status=image.status, needed="another import is under way"
        ) from None
    set_service_properties(tx, image, {IMPORTING_TO: ",".join(job.stores), FAILED_IMPORT: ""})
    claim = {} if job.method == COPY_IMAGE else {"status": IMPORTING, "upload_id": job.task_id}
    store.update(tx, image, **claim)
    tasks.insert(
        tx,
        id=job.task_id,
        type=kind,
        status="pending",
        project_id=ctx.project_id,
        user_id=ctx.user_id,
        image_id=image.id,
        request_id=ctx.request_id,
        input=dict(shown),
    )


def submit_task(
    ctx: Context, deps: Deps, tx: Tx, image: Image, given: Mapping[str, Any], allowed: Allowed
) -> str:
    """Begin the import of a task, in the transaction that made its image; returns the task's id."""
    job = ImportJob(
        image.id,
        str(uuid.uuid4()),
        WEB_DOWNLOAD,
        (deps.stores.default.name,),
        True,
        str(given["import_from"]),
    )
    _begin(ctx, deps, tx, image, job, allowed, given, kind="import")
    return job.task_id


__all__ = ["Wanted", "check_uri", "submit", "submit_task"]

"""Where the bytes of an import come from, by method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gureum.core.http.client import RemoteError, RemoteUnavailable
from gureum.core.saga import SagaAbort, StepContext
from gureum.glance.drivers.base import NoRoom, StoreFault
from gureum.glance.drivers.fetch import Refused
from gureum.glance.logic import reading
from gureum.glance.logic.deps import Deps
from gureum.glance.sagas.common import GONE
from gureum.glance.sagas.params import (
    COPY_IMAGE,
    GLANCE_DIRECT,
    GLANCE_DOWNLOAD,
    WEB_DOWNLOAD,
    ImportJob,
)
from gureum.glance.store import images as store

Context = StepContext[ImportJob, Deps]
_TRIES = 3
STAGED_ELSEWHERE = (
    "The bytes lie in a staging folder that this glance-api does not reach:"
    " all of them need one node_staging_uri."
)


def fetch(context: Context) -> Mapping[str, Any]:
    """Bring an import's bytes into the staging folder."""
    return _METHODS[context.params.method](context)


def staged(context: Context) -> Mapping[str, Any]:
    """The bytes were staged by their owner."""
    deps, id = context.deps, context.params.image_id
    if deps.staging.size(id) is None:
        with deps.db.read() as tx:
            image = store.get(tx, id, None)
        if image is not None and image.holder not in (None, deps.staging.identity()):
            raise SagaAbort("staged-elsewhere", STAGED_ELSEWHERE)
        raise SagaAbort("no-data", "There are no staged bytes.")
    return {"key": id}


def download(context: Context) -> Mapping[str, Any]:
    """Fetch a URL, within the filters."""
    job, deps = context.params, context.deps
    try:
        with deps.fetcher.open(job.uri) as opened:
            opened.expect(200)
            size = _receive(context, opened.chunks())
            if opened.length is not None and opened.length != size:
                raise StoreFault("the transfer broke")
    except Refused as error:
        raise SagaAbort("refused", str(error)) from error
    except StoreFault as error:
        if context.tries < _TRIES:
            raise
        raise SagaAbort("download", f"The download failed: {error}") from error
    return {"key": job.image_id}


def copy(context: Context) -> Mapping[str, Any]:
    """Take the bytes from a store that has them."""
    job, deps = context.params, context.deps
    with deps.db.read() as tx:
        image = store.get(tx, job.image_id, None)
    if image is None:
        raise GONE
    try:
        _receive(context, reading.whole(deps, image))
    except KeyError as error:
        raise SagaAbort("no-data", "No store has the bytes of the image.") from error
    except StoreFault as error:
        if context.tries < _TRIES:
            raise
        raise SagaAbort("copy", "The stores of the image do not answer.") from error
    return {"key": job.image_id}


def from_other_glance(context: Context) -> Mapping[str, Any]:
    """Fetch an image, with what is worth copying of its metadata, from another region."""
    job, deps = context.params, context.deps
    if deps.session is None:
        raise SagaAbort("glance-download", "There is no Keystone to ask for the other region.")
    http, headers = deps.session.http, {"x-auth-token": job.token}
    try:
        base = _endpoint(context)
        url = f"{base}/v2/images/{job.source['image_id']}"
        answer = http.request("GET", url, headers=headers)
        if answer.status != 200:
            raise SagaAbort("glance-download", f"The other image service answered {answer.status}.")
        body = answer.json()
        if body.get("status") != "active":
            raise SagaAbort("glance-download", "The image of the other region is not active.")
        size = _receive(context, http.stream(f"{url}/file", headers))
    except (RemoteError, RemoteUnavailable) as error:
        raise SagaAbort(
            "glance-download", "The other image service cannot be reached.", detail=str(error)
        ) from error
    if body.get("size") not in (None, size):
        raise SagaAbort("glance-download", "The download from the other region is incomplete.")
    wanted = deps.imports.extra_properties
    return {
        "key": job.image_id,
        "disk_format": body.get("disk_format"),
        "container_format": body.get("container_format"),
        "properties": {
            name: value
            for name, value in body.items()
            if isinstance(value, str) and any(name.startswith(start) for start in wanted)
        },
    }


def _endpoint(context: Context) -> str:
    job, deps = context.params, context.deps
    assert deps.session is not None
    url = f"{deps.session.credentials.auth_url}/auth/catalog"
    answer = deps.session.http.request("GET", url, headers={"x-auth-token": job.token})
    if answer.status != 200:
        raise SagaAbort("glance-download", f"Keystone answered {answer.status}.")
    region, interface = job.source["region"], job.source.get("interface") or "public"
    for service in answer.json()["catalog"]:
        for endpoint in service["endpoints"] if service["type"] == "image" else ():
            if (endpoint["region_id"], endpoint["interface"]) == (region, interface):
                return str(endpoint["url"]).rstrip("/")
    raise SagaAbort("glance-download", f"There is no image service in region {region}.")


def _receive(context: Context, chunks: Iterable[bytes]) -> int:
    """Write bytes into the staging folder; returns how many. Raises: SagaAbort, StoreFault."""
    deps, size = context.deps, 0
    shown = 0
    try:
        with deps.staging.begin() as part:
            for chunk in chunks:
                size += len(chunk)
                if size > deps.options.image_size_cap:
                    raise SagaAbort("too-large", "The image is too large.")
                part.write(chunk)
                if size - shown >= 64 << 20:
                    shown = size
                    context.progress(f"{size >> 20} MiB")
                    if context.stop_wanted():
                        raise SagaAbort("cancelled", "The import was cancelled.")
            part.seal()
            part.publish(context.params.image_id)
    except NoRoom as error:
        raise SagaAbort("no-room", "There is no room for the image.") from error
    return size


_METHODS: dict[str, Callable[[Context], Mapping[str, Any]]] = {
    GLANCE_DIRECT: staged,
    WEB_DOWNLOAD: download,
    COPY_IMAGE: copy,
    GLANCE_DOWNLOAD: from_other_glance,
}

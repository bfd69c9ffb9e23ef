"""The events of the image service: `image.create`, `image.upload`, `image.activate`, and so on.

Follows the administrator guide's "Notifications". Downloads are no events. Must not: tell where bytes lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gureum.core.announce import Done, Notice, Notices
from gureum.core.db import Database
from gureum.core.events import Events, Fact, Source
from gureum.core.saga.run import SagaEvent
from gureum.core.spec import Operation
from gureum.glance.model import ACTIVE, Image
from gureum.glance.store import images as store

SOURCE = Source("image", "glance")
_CHANGES = (
    "update_image",
    "deactivate_image",
    "reactivate_image",
    "add_tag",
    "delete_tag",
    "delete_from_store",
)


def of(op: Operation) -> Notice | None:
    """Return the notice of an operation; the cache, staging and what a saga does have none here."""
    special: dict[str, Notice] = {
        "create_image": _created,
        "delete_image": _deleted,
        "upload_image": _uploaded,
        "add_member": _member("create"),
        "update_member": _member("update"),
        "delete_member": _member("delete"),
    }
    if op.name in special:
        return special[op.name]
    if op.name in _CHANGES:
        return _updated
    if op.path.startswith("/metadefs/"):
        return _metadef(op)
    return None


def payload(image: Image) -> dict[str, Any]:
    """Return an image's metadata as it is told."""
    return {
        "id": image.id,
        "name": image.name,
        "status": image.status,
        "created_at": image.created_at,
        "updated_at": image.updated_at,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "protected": image.protected,
        "checksum": image.checksum,
        "owner": image.project_id,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "size": image.size,
        "virtual_size": image.virtual_size,
        "is_public": image.visibility == "public",
        "visibility": image.visibility,
        "properties": dict(image.properties),
        "tags": list(image.tags),
        "deleted": False,
        "deleted_at": None,
    }


def _now(database: Database, image_id: str) -> Image | None:
    with database.read() as tx:
        return store.get(tx, image_id, None)


def _created(done: Done) -> Iterable[Fact]:
    image = _now(done.deps.db, str(done.answer["id"]))
    if image is not None:
        yield Fact("image.create", payload(image))


def _updated(done: Done) -> Iterable[Fact]:
    image = _now(done.deps.db, _image_of(done).id)
    if image is not None:
        yield Fact("image.update", payload(image))


def _deleted(done: Done) -> Iterable[Fact]:
    yield Fact("image.delete", {**payload(_image_of(done)), "status": "deleted", "deleted": True})


def _uploaded(done: Done) -> Iterable[Fact]:
    return _has_bytes(done.deps.db, _image_of(done).id)


def _has_bytes(database: Database, image_id: str) -> Iterable[Fact]:
    image = _now(database, image_id)
    if image is not None:
        yield Fact("image.upload", payload(image))
        if image.status == ACTIVE:
            yield Fact("image.activate", payload(image))


def _image_of(done: Done) -> Image:
    target = done.target[0]
    image: Image = target if isinstance(target, Image) else target.image
    return image


def _member(verb: str) -> Notice:
    def facts(done: Done) -> Iterable[Fact]:
        image = _image_of(done)
        told = {"image_id": image.id, "member_id": "", "status": None, "deleted": verb == "delete"}
        if isinstance(done.answer, Mapping):
            told |= {"member_id": done.answer["member_id"], "status": done.answer["status"]}
        else:
            told["member_id"] = done.target[0].member.member_id
        yield Fact(f"image.member.{verb}", told)

    return facts


_METADEFS = {
    "namespaces": "metadef_namespace",
    "resource_types": "metadef_resource_type",
    "objects": "metadef_object",
    "properties": "metadef_property",
    "tags": "metadef_tag",
}
_VERBS = {"POST": "create", "PUT": "update", "DELETE": "delete"}


def _metadef(op: Operation) -> Notice | None:
    words = [word for word in op.path.split("/") if word and not word.startswith("{")]
    verb, kind = _VERBS.get(op.method), _METADEFS.get(words[-1])
    if verb is None or kind is None:
        return None

    def facts(done: Done) -> Iterable[Fact]:
        told = done.answer if isinstance(done.answer, list) else [done.answer]
        for item in told:
            yield Fact(f"{kind}.{verb}", item or {"name": _name(done.target[0])})

    return facts


def _name(target: Any) -> str:
    return str(getattr(target, "name", None) or getattr(target, "namespace", target))


def imports(database: Database, events: Events) -> Callable[[SagaEvent], None]:
    """Return an observer of sagas that tells of images that have their bytes by an import."""

    def observe(event: SagaEvent) -> None:
        if event.what == "saga.done":
            events.tell(SOURCE, lambda: _has_bytes(database, event.resource_id))

    return observe


NOTICES = Notices(SOURCE, of)

"""What Glance's sagas share: the image in their hands, and its end in failure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from gureum.core.db import Tx
from gureum.core.db.types import utc_now
from gureum.core.saga import SagaAbort, StepContext
from gureum.glance.logic.deps import Deps
from gureum.glance.logic.images import drop_staged, purge
from gureum.glance.model import IMPORTING, PENDING_DELETE, QUEUED, Image
from gureum.glance.store import images as store
from gureum.glance.store import tasks

GONE = SagaAbort("gone", "The image was deleted.")


def held(tx: Tx, id: str, saga_id: str) -> Image:
    """Return the image that this saga imports. Raises: SagaAbort when it is not the saga's any more."""
    image = store.get(tx, id, None)
    if image is None or image.status != IMPORTING or image.upload_id != saga_id:
        raise GONE
    return image


def give_back(tx: Tx, id: str, saga_id: str, properties: Mapping[str, str | None]) -> None:
    """Queue an image again that this saga held; once more is fine."""
    image = store.get(tx, id, None)
    if image is None or image.status != IMPORTING or image.upload_id != saga_id:
        return
    store.update(
        tx,
        image,
        status=QUEUED,
        upload_id=None,
        holder=None,
        size=None,
        virtual_size=None,
        checksum=None,
        os_hash_algo=None,
        os_hash_value=None,
    )
    set_service_properties(tx, image, properties)


def set_service_properties(tx: Tx, image: Image, values: Mapping[str, str | None]) -> None:
    """Set properties that only the service writes, also to nothing; None removes one."""
    wanted = dict(image.properties)
    for name, value in values.items():
        if value is None:
            wanted.pop(name, None)
        else:
            wanted[name] = value
    store.set_properties(tx, image.id, image.properties, wanted)


def end_task(deps: Deps, tx: Tx, id: str, status: str, **values: Any) -> None:
    """End a task; it is shown for some time."""
    expires = utc_now() + timedelta(hours=deps.options.task_time_to_live)
    tasks.change(tx, id, status=status, expires_at=expires, **values)


def clean(context: StepContext[Any, Deps]) -> None:
    """Remove what is staged, and the image itself when it was deleted meanwhile; once more is fine."""
    deps, id = context.deps, context.resource_id
    drop_staged(deps, id)
    with deps.db.read() as tx:
        image = store.get(tx, id, None)
    if image is not None and image.status == PENDING_DELETE:
        purge(deps, id)

"""Glance's table of contents."""

from __future__ import annotations

from gureum.core.service import DatabaseSpec, Service
from gureum.core.spec import operations_of
from gureum.glance import errors, sagas
from gureum.glance.api import (
    cache,
    data,
    images,
    info,
    locations,
    members,
    metadef_items,
    metadef_namespaces,
    metadef_schemas,
    schemas,
    tasks,
    versions,
)
from gureum.glance.config import OPTIONS
from gureum.glance.notices import NOTICES
from gureum.glance.policy import RULES
from gureum.glance.store import tables

SERVICE = Service(
    name="glance",
    type="image",
    title="Image",
    prefix="/v2",
    operations=operations_of(
        images,
        data,
        members,
        schemas,
        info,
        metadef_namespaces,
        metadef_items,
        metadef_schemas,
        locations,
        tasks,
        cache,
    ),
    root_operations=operations_of(versions),
    rules=RULES,
    error_body=errors.error_body,
    notices=NOTICES,
    databases=[DatabaseSpec("glance", tables.metadata, "gureum.glance.store.migrations")],
    options=OPTIONS,
    sagas=sagas.ALL,
    components={"glance-api": "gureum.glance.components:GlanceApi"},
)

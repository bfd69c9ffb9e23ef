"""Placement's table of contents."""

from __future__ import annotations

from gureum.core.service import DatabaseSpec, Service
from gureum.core.spec import Microversions, operations_of, parse_version
from gureum.placement import errors
from gureum.placement.api import allocations, candidates, inventories, providers, traits, versions
from gureum.placement.config import OPTIONS
from gureum.placement.policy import RULES
from gureum.placement.store import tables

SERVICE = Service(
    name="placement",
    type="placement",
    title="Placement",
    operations=operations_of(providers, inventories, traits, allocations, candidates, versions),
    rules=RULES,
    error_body=errors.error_body,
    versions=Microversions(
        "placement", parse_version(versions.MINIMUM), parse_version(versions.MAXIMUM)
    ),
    databases=[DatabaseSpec("placement", tables.metadata, "gureum.placement.store.migrations")],
    options=OPTIONS,
    max_body_bytes=16 << 20,
)

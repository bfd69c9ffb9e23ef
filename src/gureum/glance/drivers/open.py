"""Opening the stores that the options name."""

from __future__ import annotations

from collections.abc import Mapping

from gureum.glance.config import BackendOptions, GlanceOptions
from gureum.glance.drivers.base import Store
from gureum.glance.drivers.fetch import Fetcher
from gureum.glance.drivers.file import FileStore
from gureum.glance.drivers.http import HttpStore
from gureum.glance.drivers.memory import MemoryStore
from gureum.glance.drivers.s3 import S3Store
from gureum.glance.drivers.stores import Stores
from gureum.glance.drivers.swift import SwiftStore

KINDS = ("file", "http", "s3", "swift", "memory")


def read_backends(enabled: list[str]) -> list[tuple[str, str]]:
    """Read `enabled_backends` as (name, kind) pairs. Raises: ValueError."""
    found = []
    for text in enabled:
        name, colon, kind = text.partition(":")
        if not colon or kind not in KINDS or not 1 <= len(name) <= 64 or "," in name:
            raise ValueError(f"enabled_backends: {text!r} is not NAME:KIND, KIND one of {KINDS}")
        if name in ("os_glance_staging_store", "os_glance_tasks_store"):
            raise ValueError(f"enabled_backends: the name {name!r} is reserved")
        found.append((name, kind))
    if not found:
        raise ValueError("enabled_backends names no store")
    return found


def open_stores(
    options: GlanceOptions,
    backends: Mapping[str, BackendOptions],
    spool: FileStore,
    fetcher: Fetcher,
) -> Stores:
    """Open every enabled store. Raises: ValueError, MissingPackage, StoreFault."""
    named = read_backends(list(options.enabled_backends))
    stores = [
        open_store(name, kind, options, backends.get(name, BackendOptions()), spool, fetcher)
        for name, kind in named
    ]
    return Stores(stores, options.default_backend or named[0][0])


def open_store(
    name: str,
    kind: str,
    options: GlanceOptions,
    own: BackendOptions,
    spool: FileStore,
    fetcher: Fetcher,
) -> Store:
    """Open one store."""
    if kind == "file":
        folder = own.filesystem_store_datadir or options.filesystem_store_datadir
        return FileStore(
            folder,
            name,
            description=own.store_description,
            weight=own.weight,
            chunk_bytes=own.filesystem_store_chunk_size,
        )
    if kind == "http":
        return HttpStore(fetcher, name, description=own.store_description, weight=own.weight)
    if kind == "s3":
        return _s3(name, own, spool)
    if kind == "swift":
        return _swift(name, own, spool)
    return MemoryStore(name=name, weight=own.weight)


def _s3(name: str, own: BackendOptions, spool: FileStore) -> Store:
    return S3Store(
        spool,
        name,
        host=own.s3_store_host,
        access_key=own.s3_store_access_key,
        secret_key=own.s3_store_secret_key,
        bucket=own.s3_store_bucket,
        region=own.s3_store_region_name,
        url_format=own.s3_store_bucket_url_format,
        create_bucket=own.s3_store_create_bucket_on_put,
        large_object_size_mib=own.s3_store_large_object_size,
        part_size_mib=own.s3_store_large_object_chunk_size,
        threads=own.s3_store_thread_pools,
        ca_file=own.s3_store_cacert,
        description=own.store_description,
        weight=own.weight,
    )


def _swift(name: str, own: BackendOptions, spool: FileStore) -> Store:
    return SwiftStore(
        spool,
        name,
        auth_address=own.swift_store_auth_address,
        user=own.swift_store_user,
        key=own.swift_store_key,
        container=own.swift_store_container,
        user_domain_id=own.swift_store_user_domain_id,
        project_domain_id=own.swift_store_project_domain_id,
        region=own.swift_store_region,
        interface=own.swift_store_endpoint_type,
        service_type=own.swift_store_service_type,
        endpoint=own.swift_store_endpoint,
        create_container=own.swift_store_create_container_on_put,
        large_object_size_mib=own.swift_store_large_object_size,
        segment_size_mib=own.swift_store_large_object_chunk_size,
        ca_file=own.swift_store_cacert,
        insecure=own.swift_store_auth_insecure,
        description=own.store_description,
        weight=own.weight,
    )

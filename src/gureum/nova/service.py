"""Nova: table of contents of the compute service."""

from __future__ import annotations

from gureum.core.service import DatabaseSpec, Service
from gureum.core.spec import Microversions, operations_of, parse_version
from gureum.nova.api import (
    aggregates,
    external_events,
    flavors,
    hosts,
    hypervisors,
    instance_actions,
    keypairs,
    quotas,
    server_actions,
    server_groups,
    server_parts,
    server_ports,
    servers,
    services,
    usage,
    versions,
)
from gureum.nova.api.links import PREFIX, list_keys
from gureum.nova.config import ConsoleAuthOptions, NovaOptions, QuotaOptions, VncOptions
from gureum.nova.errors import error_body
from gureum.nova.notices import NOTICES
from gureum.nova.policy import RULES
from gureum.nova.sagas import ALL
from gureum.nova.store import tables

_CELL_MIGRATIONS = "gureum.nova.store.migrations.cell"

SERVICE = Service(
    name="nova",
    type="compute",
    title="Compute",
    prefix=PREFIX,
    operations=[
        versions.show_version,
        versions.list_extensions,
        versions.show_extension,
        *operations_of(
            servers,
            server_actions,
            server_parts,
            server_ports,
            instance_actions,
            flavors,
            keypairs,
            quotas,
            server_groups,
            services,
            hypervisors,
            hosts,
            aggregates,
            usage,
            external_events,
        ),
    ],
    root_operations=[versions.list_versions, versions.show_version_2],
    rules=RULES,
    error_body=error_body,
    versions=Microversions(
        "compute",
        parse_version(versions.MINIMUM),
        parse_version(versions.MAXIMUM),
        "x-openstack-nova-api-version",
    ),
    notices=NOTICES,
    databases=[
        DatabaseSpec("nova_api", tables.API, "gureum.nova.store.migrations.api"),
        DatabaseSpec("nova_cell0", tables.CELL, _CELL_MIGRATIONS),
        DatabaseSpec("nova_cell1", tables.CELL, _CELL_MIGRATIONS),
    ],
    options=(NovaOptions, QuotaOptions, VncOptions, ConsoleAuthOptions),
    sagas=ALL,
    list_keys=list_keys,
    project_in_path=True,
    suffixes=(".json",),
    extra_request_id_headers=("x-compute-request-id",),
)

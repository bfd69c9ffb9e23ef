"""The network service as data."""

from __future__ import annotations

from gureum.core.service import DatabaseSpec, Service
from gureum.core.spec import operations_of
from gureum.neutron import config, policy
from gureum.neutron.api import (
    address_groups,
    agents,
    auto_allocated_topology,
    availability,
    default_rules,
    extensions,
    floatingip_pools,
    floatingips,
    networks,
    port_forwardings,
    ports,
    quotas,
    rbac_policies,
    routers,
    security_groups,
    segment_ranges,
    subnetpools,
    subnets,
    tags,
    versions,
)
from gureum.neutron.api.common import PREFIX, also_dashed, list_keys
from gureum.neutron.errors import error_body
from gureum.neutron.notices import NOTICES
from gureum.neutron.store import tables

SERVICE = Service(
    name="neutron",
    type="network",
    title="Network",
    prefix=PREFIX,
    operations=operations_of(
        networks,
        subnets,
        ports,
        routers,
        floatingips,
        security_groups,
        default_rules,
        agents,
        quotas,
        port_forwardings,
        subnetpools,
        address_groups,
        rbac_policies,
        auto_allocated_topology,
        availability,
        extensions,
    )
    + also_dashed(operations_of(segment_ranges, floatingip_pools))
    + tags.OPERATIONS,
    root_operations=operations_of(versions),
    rules=policy.RULES,
    error_body=error_body,
    notices=NOTICES,
    databases=[DatabaseSpec("neutron", tables.metadata, "gureum.neutron.store.migrations")],
    options=[
        config.NeutronOptions,
        config.Ml2Options,
        config.QuotaOptions,
    ],
    list_keys=list_keys,
    suffixes=(".json",),
    components={"neutron-server": "gureum.neutron.components:NeutronServer"},
)

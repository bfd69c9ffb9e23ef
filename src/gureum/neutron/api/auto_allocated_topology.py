"""A network with a router for who asks for "just a network".

Follows: Network API v2.0, "Auto-allocated-topology". Made in one transaction: there is never a half.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Id, ListOf, NotFound, String, Struct, operation
from gureum.neutron.api.networks import NetworkCreate
from gureum.neutron.api.routers import GatewayInfo, InterfaceChange, RouterCreate
from gureum.neutron.api.subnets import SubnetCreate
from gureum.neutron.errors_pools import AutoAllocationFailure
from gureum.neutron.logic import networks, router_interfaces, routers, subnets
from gureum.neutron.store import rows
from gureum.neutron.store import tables as t
from gureum.neutron.store.networks import NETWORK
from gureum.neutron.store.query import reload
from gureum.neutron.store.routers import ROUTER


class Topology(Struct):
    """A project's own network."""

    id = Id("Network.")
    project_id = String("Owner.")
    tenant_id = String("Owner, under its older name.")


class TopologyQuery(Struct, extra="ignore"):
    """What is asked."""

    wanted = ListOf(String(""), "`dry-run` only checks whether it could be made.", key="fields")


def _project(ctx: Context, project_id: str) -> str:
    """Return whose network is meant; `None` stands for the caller's. Raises: NotFound, BadRequest."""
    if project_id in ("None", "null"):
        if not ctx.project_id:
            raise BadRequest("Bad request: tenant id is missing.")
        return ctx.project_id
    if project_id != ctx.project_id and not ctx.is_admin:
        raise NotFound("The resource could not be found.")
    return project_id


def _target(ctx: Context, loaded: Any, new: Any) -> dict[str, Any]:
    return {"project_id": loaded, "tenant_id": loaded}


def load_project(ctx: Context, tx: Tx, project_id: str) -> str:
    """See _project."""
    return _project(ctx, project_id)


@operation(
    "GET",
    "/auto-allocated-topology/{project_id}",
    policy="get_auto_allocated_topology",
    load=load_project,
    target=_target,
    query=TopologyQuery,
    response=Topology,
    response_wrap="auto_allocated_topology",
    write=True,
    errors=(AutoAllocationFailure,),
)
def get_auto_allocated_topology(ctx: Context, tx: Tx, project_id: str, query: Any) -> Any:
    """Return a project's own network; make it, its subnets and its router if there is none."""
    shown = {"project_id": project_id, "tenant_id": project_id}
    if "dry-run" in query.get("wanted", ()):
        _requirements(tx)
        return {**shown, "id": "dry-run=pass"}
    c = t.auto_topologies.c
    found = tx.one(sa.select(t.auto_topologies).where(c.project_id == project_id))
    if found is None:
        return {**shown, "id": _make(ctx, tx, project_id)}
    return {**shown, "id": found.network_id}


def _requirements(tx: Tx) -> tuple[str, dict[int, str]]:
    n, p = t.networks.c, t.subnetpools.c
    external = tx.scalar(sa.select(n.id).where(n.is_default.is_(True), n.router_external.is_(True)))
    if external is None:
        raise AutoAllocationFailure(reason="No default router:external network")
    pools = {
        row.ip_version: row.id
        for row in tx.all(sa.select(p.id, p.ip_version).where(p.is_default.is_(True)))
    }
    if not pools:
        raise AutoAllocationFailure(reason="No default pools defined")
    return external, pools


def _make(ctx: Context, tx: Tx, project_id: str) -> str:
    external, pools = _requirements(tx)
    network = networks.create(ctx, tx, NetworkCreate(name="auto_allocated_network"), project_id)
    gateway = GatewayInfo(network_id=external)
    new_router = RouterCreate(name="auto_allocated_router", external_gateway_info=gateway)
    router = routers.create(ctx, tx, new_router, project_id)
    for version, pool_id in sorted(pools.items()):
        new = SubnetCreate(
            name=f"auto_allocated_subnet_v{version}",
            network_id=network["id"],
            ip_version=version,
            subnetpool_id=pool_id,
            **({"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"} if version == 6 else {}),
        )
        subnet = subnets.create(ctx, tx, new, network, project_id)
        router_interfaces.add(ctx, tx, router, InterfaceChange(subnet_id=subnet["id"]))
    rows.insert_or_retry(
        tx,
        t.auto_topologies,
        project_id=project_id,
        network_id=network["id"],
        router_id=router["id"],
    )
    made: str = network["id"]
    return made


@operation(
    "DELETE",
    "/auto-allocated-topology/{project_id}",
    policy="delete_auto_allocated_topology",
    load=load_project,
    target=_target,
)
def delete_auto_allocated_topology(ctx: Context, tx: Tx, project_id: str) -> None:
    """Delete a project's own network, its subnets and its router."""
    c = t.auto_topologies.c
    found = tx.one(sa.select(t.auto_topologies).where(c.project_id == project_id))
    if found is None:
        raise NotFound(f"There is no auto allocated topology for {project_id}.")
    tx.delete(t.auto_topologies, c.project_id == project_id)
    if found.router_id is not None:
        s = t.subnets.c
        router = reload(ctx, tx, ROUTER, found.router_id)
        for row in tx.all(sa.select(s.id).where(s.network_id == found.network_id)):
            router_interfaces.remove(ctx, tx, router, InterfaceChange(subnet_id=row.id))
            router = reload(ctx, tx, ROUTER, found.router_id)
        routers.delete(ctx, tx, router)
    networks.delete(ctx, tx, reload(ctx, tx, NETWORK, found.network_id))

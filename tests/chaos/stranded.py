"""What may never be left behind, whatever was killed or cut: compared between every part of a cloud."""

import itertools

import sqlalchemy as sa

from gureum.audit import allocations as audit_allocations
from gureum.audit import hosts as audit_hosts
from gureum.audit import network as audit_network
from gureum.audit import servers as audit_servers
from gureum.audit import verbs as audit_verbs
from gureum.audit.world import SagaLog, World, read_servers
from gureum.neutron.store import tables as net
from gureum.nova.ports import NIC_KEY
from gureum.nova.store.tables import (
    CELL1,
    server_group_members,
    server_mappings,
    server_nics,
    servers,
)
from gureum.placement.client import PlacementClient
from gureum.placement.store import tables as place

SETTLED = ("active", "stopped", "paused", "suspended")


def stranded(cloud):
    """Name everything that contradicts something else."""
    found = [f"saga {saga.name} of {saga.resource_id} is {saga.state}: {saga.error_detail}"
             for saga in cloud.active()]
    rows = {}
    for cell, database in cloud.cells.items():
        with database.read() as tx:
            for row in tx.all(sa.select(servers).where(servers.c.deleted.is_(False))):
                if row.id in rows:
                    found.append(f"server {row.id} lives in two cells")
                rows[row.id] = (cell, row)
    found += _mappings(cloud, rows) + _allocations(cloud, rows) + _guests(cloud, rows)
    found += _ports(cloud, rows) + _network(cloud) + _audit(cloud)
    for server_id, (_, row) in rows.items():
        if row.vm_state not in (*SETTLED, "error"):
            found.append(f"server {server_id} is {row.vm_state} and nothing works on it")
    return found


def assert_nothing_stranded(cloud):
    """Let time pass until nothing changes any more, then compare everything. Raises: AssertionError."""
    cloud.settle()
    found = stranded(cloud)
    assert not found, "\n".join(found)


def _mappings(cloud, rows):
    with cloud.api.read() as tx:
        live = {row.server_id: row.cell for row in tx.all(
            sa.select(server_mappings).where(server_mappings.c.deleted_at.is_(None)))}
        members = [row.server_id for row in tx.all(sa.select(server_group_members.c.server_id))]
    found = [f"mapping of {one} counts, and there is no server" for one in set(live) - set(rows)]
    found += [f"server {one} has no mapping" for one in set(rows) - set(live)]
    found += [f"server {one} is mapped to {live[one]} and lives in {rows[one][0]}"
              for one in set(rows) & set(live) if rows[one][0] != live[one]]
    found += [f"group member {one} does not exist" for one in set(members) - set(rows)]
    return found


def _allocations(cloud, rows):
    held = {}
    with cloud.session.databases["placement"].read() as tx:
        names = {row.uuid: row.name for row in tx.all(sa.select(place.providers))}
        for row in tx.all(sa.select(place.allocations)):
            at = held.setdefault(row.consumer_uuid, {}).setdefault(names[row.provider_uuid], {})
            at[row.resource_class] = row.used
        consumers = {row.uuid for row in tx.all(sa.select(place.consumers))}
    found = [f"consumer {one} holds nothing" for one in consumers - set(held)]
    for consumer, at in held.items():
        row = rows.get(consumer, (None, None))[1]
        if row is None or row.host is None:
            found.append(f"allocation of {consumer} on {sorted(at)} for a server that is on no host")
        elif list(at) != [row.node] or at[row.node].get("VCPU") != row.vcpus:
            found.append(f"allocation of {consumer} is {at}, it is on {row.node}")
    found += [f"server {one} on {row.host} holds no room" for one, (_, row) in rows.items()
              if row.host is not None and one not in held]
    return found


def _guests(cloud, rows):
    found, seen = [], {}
    for host, driver in cloud.drivers.items():
        for state in driver.guest_states():
            if state.guest_id in seen:
                found.append(f"guest {state.guest_id} is on {seen[state.guest_id]} and on {host}")
            seen[state.guest_id] = host
            row = rows.get(state.guest_id, (None, None))[1]
            if row is None or row.host != host:
                found.append(f"guest {state.guest_id} on {host} belongs to no server there")
    found += [f"server {one} is {row.vm_state} without a guest on {row.host}"
              for one, (_, row) in rows.items()
              if row.vm_state in SETTLED and seen.get(one) != row.host]
    return found


def _ports(cloud, rows):
    with cloud.session.databases["network"].read() as tx:
        bound = {row.port_id: row.host for row in tx.all(sa.select(net.port_bindings))}
        ports = tx.all(sa.select(net.ports))
        profiles = {row.port_id: row.profile for row in tx.all(sa.select(net.port_bindings))}
    with cloud.cells[CELL1].read() as tx:
        kept = {(row.server_id, row.port_id) for row in tx.all(sa.select(server_nics))}
    found, there = [], set()
    for port in ports:
        if not port.device_owner.startswith("compute:"):
            if NIC_KEY in (profiles.get(port.id) or {}):
                found.append(f"port {port.id} is marked for a card and belongs to no server")
            continue
        row = rows.get(port.device_id, (None, None))[1]
        there.add((port.device_id, port.id))
        if row is None:
            found.append(f"port {port.id} of {port.device_id}, which does not exist")
        elif (port.device_id, port.id) not in kept:
            found.append(f"port {port.id} of {port.device_id} is not known to Nova")
        elif row.vm_state in SETTLED and bound.get(port.id) != row.host:
            found.append(f"port {port.id} is bound on {bound.get(port.id)}, the server is on {row.host}")
        if row is not None and row.vm_state in SETTLED and row.id in cloud.guests():
            plugged = cloud.drivers[cloud.guests()[row.id]].ports_of(row.id)
            if port.id not in plugged:
                found.append(f"port {port.id} is not plugged into {row.id}")
    found += [f"Nova keeps port {port} of {owner}, which Neutron does not know"
              for owner, port in kept - there]
    for host, driver in cloud.drivers.items():
        for state in driver.guest_states():
            found += [f"card {port} of guest {state.guest_id} on {host} has no port"
                      for port in driver.ports_of(state.guest_id)
                      if (state.guest_id, port) not in there]
    return found


def _audit(cloud):
    """What `gureum audit` finds between the databases and the hosts' drivers of this cloud."""
    network = cloud.session.databases["network"]
    world = World(
        nova=cloud.deps, sagas=cloud.store, neutron=network, glance=network, keystone=network,
        placement=PlacementClient(cloud.session), network_state=None, network_agent=None,
        session=cloud.session, grace_s=0.0,
        logs=tuple(SagaLog(name, database, cloud.store) for name, database in cloud.cells.items()),
    )
    found = read_servers(world)
    seen, silent = audit_hosts.inspect(world)
    compared = itertools.chain(
        audit_servers.compare(world, found), audit_allocations.compare(world, found),
        audit_network.compare(world, found), audit_verbs.compare(world),
        audit_hosts.compare(world, found, seen),
    )
    return [f"audit: {one.kind} {one.id} at {one.where}: {one.why}" for one in compared] + [
        f"audit could not look: {one}" for one in silent]


def _network(cloud):
    """Rows of the network service that hang on nothing."""
    with cloud.session.databases["network"].read() as tx:
        ports = {row.id for row in tx.all(sa.select(net.ports.c.id))}
        found = [f"{table.name} of port {row.port_id}, which is gone"
                 for table in (net.port_bindings, net.ip_allocations)
                 for row in tx.all(sa.select(table.c.port_id)) if row.port_id not in ports]
        floating = {row.id: row.floating_port_id for row in tx.all(sa.select(net.floatingips))}
        own = tx.all(sa.select(net.ports).where(net.ports.c.device_owner == "network:floatingip"))
    found += [f"port {port.id} of floating IP {port.device_id}, which is gone"
              for port in own if floating.get(port.device_id) != port.id]
    return found

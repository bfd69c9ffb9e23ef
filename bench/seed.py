"""Fills a simulated cloud with hosts, servers and ports by writing rows: what no API could do in seconds.

Owns: rows of nova_api, nova_cell1, placement and neutron that agree with each other, as if every server had
been made through the API and its saga had ended. Must not: be used on a cloud that anybody needs.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import sqlalchemy as sa
from incloud import InCloud

from gureum.core.db import Database
from gureum.core.db.types import utc_now
from gureum.neutron.store import tables as n
from gureum.nova.drivers.fake import FakeDriver, FakeHost
from gureum.nova.store import tables as v
from gureum.placement.store import tables as p
from gureum.placement.store.providers import next_revision

AT_ONCE = 2000
TRAITS = ("COMPUTE_NODE", "COMPUTE_NET_ATTACH_INTERFACE", "HW_CPU_X86_SSE2", "HW_CPU_X86_AVX")
FLAVOR = {"id": "bench.small", "name": "bench.small", "vcpus": 1, "ram": 64, "disk": 1}
VCPUS, MEMORY_MIB, DISK_GIB = 64, 262_144, 4_096
CIDR = "10.64.0.0/14"
FIRST = (10 << 24) + (64 << 16) + 256
"""The first address that is written, as a number."""


@dataclass(frozen=True, slots=True)
class Net:
    """A network of the administrator's project, its subnet and the group that ports wear."""

    network_id: str
    subnet_id: str
    first: int
    group_id: str


def identity(kind: str, number: int) -> str:
    """Return the same UUID for the same thing at every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"bench/{kind}/{number}"))


def host_name(number: int) -> str:
    """Name of a host of the fleet."""
    return f"fleet-{number:05}"


def node_id(number: int) -> str:
    """Return the id that a host of the fleet gets when it reports, in Nova and in placement."""
    name = host_name(number)
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}/{name}"))


def _write(database: Database, table: sa.Table, rows: Iterable[dict[str, Any]]) -> None:
    batch: list[dict[str, Any]] = []

    def flush() -> None:
        with database.write() as tx:
            tx.insert_many(table, batch)
        batch.clear()

    for row in rows:
        batch.append(row)
        if len(batch) >= AT_ONCE:
            flush()
    if batch:
        flush()


def flavor(cloud: InCloud) -> str:
    """Make the flavor of the seeded servers unless it is there; returns its id."""
    if cloud.ask("GET", "compute", f"/flavors/{FLAVOR['id']}").status == 404:
        cloud.call("POST", "compute", "/flavors", {"flavor": FLAVOR})
    return str(FLAVOR["id"])


def network(cloud: InCloud, name: str = "bench", *, own_group: bool = False) -> Net:
    """Make a network with a subnet through the API, and a security group unless the default will do."""
    made = cloud.call("POST", "network", "/v2.0/networks", {"network": {"name": name}})["network"]
    body = {"network_id": made["id"], "ip_version": 4, "cidr": CIDR}
    subnet = cloud.call("POST", "network", "/v2.0/subnets", {"subnet": body})["subnet"]
    if own_group:
        group = {"security_group": {"name": name}}
        made_group = cloud.call("POST", "network", "/v2.0/security-groups", group)["security_group"]
        rule = {
            "security_group_id": made_group["id"],
            "direction": "ingress",
            "remote_group_id": made_group["id"],
        }
        path = "/v2.0/security-group-rules"
        cloud.call("POST", "network", path, {"security_group_rule": rule})
        group_id = made_group["id"]
    else:
        path = f"/v2.0/security-groups?project_id={cloud.project_id}&name=default"
        group_id = cloud.call("GET", "network", path)["security_groups"][0]["id"]
    return Net(made["id"], subnet["id"], FIRST, group_id)


# -- hosts -----------------------------------------------------------------------------------------


def hosts(cloud: InCloud, numbers: Sequence[int]) -> None:
    """Write compute hosts as if they had reported: Nova's rows, placement's provider, an L2 agent."""
    now = utc_now()
    cell, api = cloud.runtime.database("nova_cell1"), cloud.runtime.database("nova_api")
    placement, neutron = cloud.runtime.database("placement"), cloud.runtime.database("neutron")
    driver = FakeDriver(FakeHost(name="x", vcpus=VCPUS, memory_mib=MEMORY_MIB, disk_gib=DISK_GIB))
    inventory = msgspec.to_builtins(driver.inventory())
    capabilities = msgspec.to_builtins(driver.capabilities())
    _write(cell, v.services, (
        {"id": identity("service", i), "host": host_name(i), "binary": "nova-compute",
         "boot_id": "", "last_seen_at": now, "started_at": now, "created_at": now}
        for i in numbers
    ))  # fmt: skip
    _write(cell, v.compute_nodes, (
        {"id": node_id(i), "service_id": identity("service", i), "host": host_name(i),
         "hypervisor_hostname": host_name(i), "capabilities": capabilities,
         "inventory": {**inventory, "hypervisor_hostname": host_name(i)}, "created_at": now}
        for i in numbers
    ))  # fmt: skip
    _write(api, v.host_mappings, ({"host": host_name(i), "cell": v.CELL1} for i in numbers))
    _write(placement, p.providers, (
        {"uuid": node_id(i), "name": host_name(i), "generation": 1, "parent_uuid": None,
         "root_uuid": node_id(i), "updated_at": now}
        for i in numbers
    ))  # fmt: skip
    stock = (("VCPU", VCPUS, 4.0), ("MEMORY_MB", MEMORY_MIB, 1.0), ("DISK_GB", DISK_GIB, 1.0))
    _write(placement, p.inventories, (
        {"provider_uuid": node_id(i), "resource_class": name, "total": total,
         "reserved": 0, "min_unit": 1, "max_unit": total, "step_size": 1, "allocation_ratio": ratio}
        for i in numbers for name, total, ratio in stock
    ))  # fmt: skip
    _write(
        placement,
        p.provider_traits,
        ({"provider_uuid": node_id(i), "trait": name} for i in numbers for name in TRAITS),
    )
    forget_world(cloud)
    reach = {"tunnel_types": ["vxlan", "gre"], "tunneling_ip": "127.0.0.1",
             "bridge_mappings": {"physnet1": "br-ex"}, "integration_bridge": "br-int"}  # fmt: skip
    _write(neutron, n.agents, (
        {"id": identity("agent", i), "binary": "neutron-openvswitch-agent",
         "agent_type": "Open vSwitch agent", "host": host_name(i), "topic": "N/A",
         "availability_zone": "nova", "created_at": now, "started_at": now, "heartbeat_at": now,
         "configurations": reach}
        for i in numbers
    ))  # fmt: skip


# -- servers and their ports -------------------------------------------------------------------------


def servers(
    cloud: InCloud, numbers: Sequence[int], nets: Sequence[Net], host_count: int, each: int = 2
) -> None:
    """Write ACTIVE servers spread over hosts 0…host_count-1, with allocations and `each` ports.

    The ports of a server are in one network; networks are taken in turn.
    """
    flavor_id = flavor(cloud)
    cell, api = cloud.runtime.database("nova_cell1"), cloud.runtime.database("nova_api")
    now = utc_now()
    mine = {"project_id": cloud.project_id, "user_id": cloud.user_id}

    def at(i: int) -> Any:
        return now - timedelta(seconds=100_000 - i)

    _write(api, v.server_mappings, (
        {"server_id": identity("server", i), **mine, "cell": v.CELL1, "vcpus": 1,
         "memory_mib": FLAVOR["ram"], "created_at": at(i)}
        for i in numbers
    ))  # fmt: skip
    _write(cell, v.servers, (
        {"id": identity("server", i), **mine, "name": f"server-{i:05}",
         "hostname": f"server-{i:05}", "vm_state": "active", "power_state": 1,
         "host": host_name(i % host_count), "node": host_name(i % host_count),
         "availability_zone": "nova", "flavor_id": flavor_id, "flavor_name": flavor_id,
         "vcpus": 1, "memory_mib": FLAVOR["ram"], "disk_gib": FLAVOR["disk"],
         "flavor": {"extra_specs": {}, "is_public": True, "rxtx_factor": 1.0},
         "image_id": identity("image", 0), "image": {"name": "bench", "properties": {}},
         "reservation_id": f"r-{i:08x}", "root_device_name": "/dev/vda", "created_at": at(i),
         "updated_at": at(i), "launched_at": at(i)}
        for i in numbers
    ))  # fmt: skip
    _write(
        cell,
        v.server_requests,
        ({"server_id": identity("server", i), "request": {}} for i in numbers),
    )
    _write(cell, v.server_actions, (
        {"id": identity("action", i), "server_id": identity("server", i),
         "request_id": "req-" + identity("request", i), "action": "create", **mine,
         "saga_id": identity("saga", i), "started_at": at(i), "updated_at": at(i)}
        for i in numbers
    ))  # fmt: skip
    _write(cell, v.schedule_records, (
        {"server_id": identity("server", i), "request_id": "req-" + identity("request", i),
         "chosen_host": host_name(i % host_count), "explanation": {}, "created_at": at(i)}
        for i in numbers
    ))  # fmt: skip
    _sagas(cell, numbers, cloud)
    _cards(cell, numbers, nets, each)
    _allocations(cloud, numbers, host_count)
    ports(cloud, _ports_of(numbers, nets, host_count, each))


def _sagas(cell: Database, numbers: Sequence[int], cloud: InCloud) -> None:
    sagas, steps = v.CELL.tables["sagas"], v.CELL.tables["saga_steps"]
    who = msgspec.json.encode({"user_id": cloud.user_id, "project_id": cloud.project_id}).decode()
    _write(cell, sagas, (
        {"id": identity("saga", i), "name": "nova.server.create",
         "resource_id": identity("server", i), "state": "done", "generation": 2, "params": "{}",
         "requester": who, "created_at": 1e9 + i, "updated_at": 1e9 + i, "finished_at": 1e9 + i}
        for i in numbers
    ))  # fmt: skip
    names = ("claim", "ports", "spawn", "finish")
    _write(cell, steps, (
        {"saga_id": identity("saga", i), "round": 0, "name": name, "position": place,
         "state": "done", "tries": 1, "result": "{}", "started_at": 1e9 + i,
         "finished_at": 1e9 + i}
        for i in numbers for place, name in enumerate(names)
    ))  # fmt: skip


def _cards(cell: Database, numbers: Sequence[int], nets: Sequence[Net], each: int) -> None:
    now = utc_now()
    spots = [(i, k, i * each + k, nets[i % len(nets)]) for i in numbers for k in range(each)]
    _write(cell, v.server_nics, (
        {"server_id": identity("server", i), "port_id": identity("port", j), "position": k,
         "network_id": net.network_id, "network_label": "bench", "mac": mac(j), "spec": {},
         "security_groups": [{"id": net.group_id, "name": "bench"}], "updated_at": now}
        for i, k, j, net in spots
    ))  # fmt: skip
    _write(cell, v.server_addresses, (
        {"server_id": identity("server", i), "port_id": identity("port", j),
         "address": dotted(net.first + j), "version": 4, "kind": "fixed",
         "network_label": "bench", "mac": mac(j), "position": k}
        for i, k, j, net in spots
    ))  # fmt: skip


def forget_world(cloud: InCloud) -> None:
    """Let placement read everything anew: what was written here took no revision."""
    with cloud.runtime.database("placement").write() as tx:
        next_revision(tx, forget=True)


def _allocations(cloud: InCloud, numbers: Sequence[int], host_count: int) -> None:
    placement = cloud.runtime.database("placement")
    _write(placement, p.consumers, (
        {"uuid": identity("server", i), "project_id": cloud.project_id,
         "user_id": cloud.user_id, "consumer_type": "INSTANCE", "generation": 1}
        for i in numbers
    ))  # fmt: skip
    amounts = (("VCPU", 1), ("MEMORY_MB", FLAVOR["ram"]), ("DISK_GB", FLAVOR["disk"]))
    _write(placement, p.allocations, (
        {"consumer_uuid": identity("server", i), "provider_uuid": node_id(i % host_count),
         "resource_class": name, "used": amount}
        for i in numbers for name, amount in amounts
    ))  # fmt: skip
    forget_world(cloud)


@dataclass(frozen=True, slots=True)
class SeededPort:
    """One port to be written."""

    number: int
    device_id: str
    host: str
    net: Net


def _ports_of(
    numbers: Sequence[int], nets: Sequence[Net], host_count: int, each: int
) -> Iterator[SeededPort]:
    for i in numbers:
        for k in range(each):
            host, net = host_name(i % host_count), nets[i % len(nets)]
            yield SeededPort(i * each + k, identity("server", i), host, net)


def ports(cloud: InCloud, wanted: Iterable[SeededPort]) -> None:
    """Write ports with addresses, bindings and the group of their network."""
    neutron = cloud.runtime.database("neutron")
    now = utc_now()
    rows = list(wanted)
    _write(neutron, n.ports, (
        {"id": identity("port", one.number), "project_id": cloud.project_id, "name": "",
         "created_at": now, "updated_at": now, "network_id": one.net.network_id,
         "mac_address": mac(one.number), "status": "ACTIVE", "device_id": one.device_id,
         "device_owner": "compute:nova" if one.device_id else "", "l2_active": True,
         "dhcp_ready": True, "allowed_address_pairs": [], "extra_dhcp_opts": []}
        for one in rows
    ))  # fmt: skip
    _write(neutron, n.ip_allocations, (
        {"network_id": one.net.network_id, "ip_key": f"{one.net.first + one.number:032x}",
         "next_key": f"{one.net.first + one.number + 1:032x}",
         "ip_address": dotted(one.net.first + one.number), "subnet_id": one.net.subnet_id,
         "port_id": identity("port", one.number)}
        for one in rows
    ))  # fmt: skip
    _write(neutron, n.port_bindings, (
        {"port_id": identity("port", one.number), "host": one.host, "vnic_type": "normal",
         "profile": {}, "vif_type": "ovs" if one.host else "unbound", "vif_details": {},
         "status": "ACTIVE"}
        for one in rows
    ))  # fmt: skip
    _write(
        neutron,
        n.port_security_groups,
        (
            {"port_id": identity("port", one.number), "security_group_id": one.net.group_id}
            for one in rows
        ),
    )


def mac(number: int) -> str:
    """A MAC of the fleet."""
    return f"fa:16:3e:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"


def dotted(number: int) -> str:
    """An IPv4 address in its usual form."""
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))

"""Devices, addresses and routes of one namespace: read, compare, change what differs.

Owns: netlink calls (the thread is inside the namespace while they run). Must not: remove
a route that the kernel or another daemon made: only `proto static` routes are ours.
"""

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from gureum.neutron.agents.plumbing.netns import entered, write_sysctl

ROUTES = "routes"
KEPT_LINK_LOCAL = ("fe80::a9fe:a9fe",)
"""Link-local addresses that are ours: that of the metadata service."""
_PROTO_STATIC = 4
_MAIN = 254
_NODAD = 0x02
_PERMANENT = 0x80
_UP = 0x1
_DEFAULTS = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True, slots=True)
class Device:
    """A wanted device; `addresses` are `address/length`, link-local IPv6 is the kernel's own."""

    name: str
    mac_address: str
    mtu: int
    addresses: tuple[str, ...] = ()
    up: bool = True


@dataclass(frozen=True, slots=True)
class RouteHop:
    """One way to a destination: through a neighbour, or on the link itself (`via` None)."""

    destination: str
    via: str | None
    device: str
    onlink: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A device as it is."""

    index: int
    mac_address: str
    mtu: int
    up: bool
    addresses: frozenset[str]


def canonical(address: str) -> str:
    """Return `address/length` in the one spelling that comparisons use."""
    return str(ipaddress.ip_interface(address))


def move_into(namespace: str, device: str) -> bool:
    """Move a device from this thread's namespace into a named one; False when it is not here."""
    with IPRoute() as netlink:
        found = netlink.link_lookup(ifname=device)
        if not found:
            return False
        netlink.link("set", index=found[0], net_ns_fd=namespace)
        return True


def delete(namespace: str, device: str) -> None:
    """Delete a device inside a namespace; nothing happens when it is not there."""
    with entered(namespace), IPRoute() as netlink:
        for index in netlink.link_lookup(ifname=device):
            netlink.link("del", index=index)


def here() -> set[str]:
    """Return the names of the devices in this thread's namespace."""
    with IPRoute() as netlink:
        return {str(link.get_attr("IFLA_IFNAME")) for link in netlink.get_links()}


class Links:
    """The network stack of one namespace. A context manager: enters it and opens netlink there."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._inside: Any = None
        self._netlink: Any = None

    def __enter__(self) -> "Links":
        self._inside = entered(self._namespace)
        self._inside.__enter__()
        try:
            self._netlink = IPRoute()
        except BaseException:
            self._inside.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self._netlink.close()
        finally:
            self._inside.__exit__(None, None, None)

    def found(self) -> dict[str, Found]:
        """Return every device by name."""
        addresses: dict[int, set[str]] = {}
        for message in self._netlink.get_addr():
            address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            kernels_own = message["family"] == socket.AF_INET6 and message["scope"] != 0
            if kernels_own and address not in KEPT_LINK_LOCAL:
                continue
            text = canonical(f"{address}/{message['prefixlen']}")
            addresses.setdefault(message["index"], set()).add(text)
        return {
            str(link.get_attr("IFLA_IFNAME")): Found(
                index=link["index"],
                mac_address=str(link.get_attr("IFLA_ADDRESS") or ""),
                mtu=int(link.get_attr("IFLA_MTU") or 0),
                up=bool(link["flags"] & _UP),
                addresses=frozenset(addresses.get(link["index"], ())),
            )
            for link in self._netlink.get_links()
        }

    def converge_device(self, wanted: Device, actual: Found) -> set[str]:
        """Make one device as wanted; return the addresses that are new on it."""
        index = actual.index
        if actual.mac_address.lower() != wanted.mac_address.lower():
            # Some drivers refuse a new address while up; the routes come back in the same pass.
            self._netlink.link("set", index=index, state="down")
            self._netlink.link("set", index=index, address=wanted.mac_address)
            actual = Found(index, wanted.mac_address, actual.mtu, False, actual.addresses)
        if actual.mtu != wanted.mtu:
            self._netlink.link("set", index=index, mtu=wanted.mtu)
        if not actual.up:
            write_sysctl(f"ipv6/conf/{wanted.name}/accept_dad", "0")
            write_sysctl(f"ipv6/conf/{wanted.name}/accept_ra", "0")
            write_sysctl(f"ipv4/conf/{wanted.name}/rp_filter", "0")
        if actual.up != wanted.up:
            self._netlink.link("set", index=index, state="up" if wanted.up else "down")
        listed = {canonical(address) for address in wanted.addresses}
        fresh = listed - actual.addresses
        for address in sorted(fresh):
            self._add_address(index, address)
        for address in sorted(actual.addresses - listed):
            self._drop_address(index, address)
        if wanted.up and not actual.up:
            return listed  # neighbours may hold an older place for all of them
        return fresh

    def faults(self, devices: Iterable[Device], routes: Iterable[RouteHop]) -> dict[str, str]:
        """Say by device (or "routes") what is not as wanted; nothing is changed."""
        found, faults = self.found(), {}
        for device in devices:
            actual = found.get(device.name)
            if actual is None:
                faults[device.name] = "it is not there"
                continue
            wrong = []
            if actual.up != device.up:
                wrong.append("it is down" if device.up else "it is up")
            if actual.mac_address.lower() != device.mac_address.lower():
                wrong.append(f"its MAC address is {actual.mac_address}")
            if actual.mtu != device.mtu:
                wrong.append(f"its MTU is {actual.mtu}")
            listed = {canonical(address) for address in device.addresses}
            wrong += [f"address {text} is missing" for text in sorted(listed - actual.addresses)]
            wrong += [f"address {text} is too much" for text in sorted(actual.addresses - listed)]
            if wrong:
                faults[device.name] = ", ".join(wrong)
        groups = _grouped(routes, {name: one.index for name, one in found.items()})
        actual_routes = self._static_routes()
        differ = {
            key
            for key in set(groups) | set(actual_routes)
            if key not in groups or _shape(groups[key]) != actual_routes.get(key)
        }
        if differ:
            faults[ROUTES] = f"routes differ: {', '.join(sorted(differ))}"
        return faults

    def _add_address(self, index: int, text: str) -> None:
        interface = ipaddress.ip_interface(text)
        more: dict[str, Any] = {}
        if interface.version == 6:
            more["flags"] = _NODAD | _PERMANENT
        elif interface.network.prefixlen < 31:
            more["broadcast"] = str(interface.network.broadcast_address)
        self._netlink.addr(
            "replace",
            index=index,
            address=str(interface.ip),
            prefixlen=interface.network.prefixlen,
            **more,
        )

    def _drop_address(self, index: int, text: str) -> None:
        interface = ipaddress.ip_interface(text)
        self._netlink.addr(
            "del", index=index, address=str(interface.ip), prefixlen=interface.network.prefixlen
        )

    # --- routes --------------------------------------------------------------------------------

    def converge_routes(self, wanted: Iterable[RouteHop]) -> list[str]:
        """Make the static routes as wanted; return what the kernel refused, one text each."""
        indexes = {name: found.index for name, found in self.found().items()}
        groups = _grouped(wanted, indexes)
        actual = self._static_routes()
        refused: list[str] = []
        for key in sorted(set(actual) - set(groups)):
            self._netlink.route("del", family=_family(key), dst=key, proto=_PROTO_STATIC)
        for key, hops in sorted(groups.items()):
            if _shape(hops) == actual.get(key):
                continue
            try:
                self._replace(key, hops, had=key in actual)
            except NetlinkError as error:
                refused.append(f"route {key} via {[hop[0] for hop in hops]}: {error.args[-1]}")
        return refused

    def _replace(self, destination: str, hops: "list[_Hop]", had: bool) -> None:
        base: dict[str, Any] = {
            "family": _family(destination),
            "dst": destination,
            "proto": _PROTO_STATIC,
        }
        if len(hops) == 1:
            self._netlink.route("replace", **base, **_hop(hops[0]))
            return
        if _family(destination) == socket.AF_INET6 and had:
            # IPv6 replaces only one of several hops.
            self._netlink.route("del", **base)
        self._netlink.route("replace", **base, multipath=[_hop(hop) for hop in hops])

    def _static_routes(self) -> dict[str, frozenset[tuple[str | None, int | None]]]:
        routes: dict[str, set[tuple[str | None, int | None]]] = {}
        for family, version in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
            for message in self._netlink.get_routes(family=family, table=_MAIN):
                if message["proto"] != _PROTO_STATIC or message["type"] != 1:
                    continue
                target = message.get_attr("RTA_DST")
                key = f"{target}/{message['dst_len']}" if target else _DEFAULTS[version]
                hops = routes.setdefault(key, set())
                several = message.get_attr("RTA_MULTIPATH")
                if several:
                    hops |= {(hop.get_attr("RTA_GATEWAY"), hop["oif"]) for hop in several}
                else:
                    hops.add((message.get_attr("RTA_GATEWAY"), message.get_attr("RTA_OIF")))
        return {key: frozenset(hops) for key, hops in routes.items()}


_Hop = tuple[str | None, int | None, bool]


def _grouped(wanted: Iterable[RouteHop], indexes: Mapping[str, int]) -> dict[str, list[_Hop]]:
    groups: dict[str, list[_Hop]] = {}
    for hop in wanted:
        key = str(ipaddress.ip_network(hop.destination, strict=False))
        one = (hop.via, indexes.get(hop.device), hop.onlink)
        if one not in groups.setdefault(key, []):
            groups[key].append(one)
    return groups


def _shape(hops: Iterable[_Hop]) -> frozenset[tuple[str | None, int | None]]:
    return frozenset((via, index) for via, index, _ in hops)


def _hop(hop: _Hop) -> dict[str, Any]:
    via, index, onlink = hop
    found: dict[str, Any] = {}
    if via:
        found["gateway"] = via
    if index:
        found["oif"] = index
    if onlink:
        found["flags"] = ["onlink"]
    return found


def _family(destination: str) -> int:
    return socket.AF_INET6 if ":" in destination else socket.AF_INET

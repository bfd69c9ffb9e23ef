"""Which addresses a port gets.

Owns: the rules (one address a family by default, SLAAC addresses from the MAC, requests for a subnet
or an address). The store chooses free ones. Follows: Network API v2.0, "Ports", fixed_ips; RFC 4291
appendix A for modified EUI-64.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.neutron.errors import (
    AllocationOnAutoAddressSubnet,
    InvalidInput,
    InvalidIpForNetwork,
    InvalidIpForSubnet,
    IpAddressAlreadyAllocated,
    IpAddressGenerationFailure,
)
from gureum.neutron.store import addresses as store
from gureum.neutron.store import tables as t
from gureum.neutron.store.addresses import Allocated

ROUTER_OWNERS = (
    "network:router_interface",
    "network:router_gateway",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
    "network:router_centralized_snat",
)
_AUTO = ("slaac", "dhcpv6-stateless")


@dataclass(frozen=True, slots=True)
class Wish:
    """One entry of a request's fixed_ips."""

    subnet_id: str | None = None
    ip_address: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where addresses are wanted: a port of a network."""

    network_id: str
    port_id: str
    mac_address: str
    device_owner: str

    @property
    def is_router(self) -> bool:
        """Whether SLAAC does not apply, because the port is a router's."""
        return self.device_owner in ROUTER_OWNERS


def is_auto(subnet: Any) -> bool:
    """Return whether hosts of a subnet make their addresses themselves."""
    return subnet.ipv6_address_mode in _AUTO or (
        subnet.ipv6_address_mode is None and subnet.ipv6_ra_mode in _AUTO
    )


def eui64(cidr: str, mac_address: str) -> str:
    """Return the address that a host with this MAC makes for itself in a /64."""
    octets = [int(part, 16) for part in mac_address.split(":")]
    octets[0] ^= 2
    tail = bytes([*octets[:3], 0xFF, 0xFE, *octets[3:]])
    prefix = ipaddress.ip_network(cidr).network_address
    return str(ipaddress.IPv6Address(int(prefix) + int.from_bytes(tail, "big")))


def subnets_of(tx: Tx, network_id: str) -> list[sa.Row[Any]]:
    """Return a network's subnets, oldest first."""
    c = t.subnets.c
    return list(tx.among(c.network_id, [network_id], c.created_at, c.id))


def choose(tx: Tx, place: Place, wishes: Sequence[Wish] | None) -> list[Allocated]:
    """Choose and take the addresses of a new port. None: as the network's subnets suggest.

    Raises: IpAddressGenerationFailure, IpAddressAlreadyAllocated, InvalidIpForNetwork,
    InvalidIpForSubnet, AllocationOnAutoAddressSubnet.
    """
    if wishes is not None and not wishes:
        return []
    subnets = subnets_of(tx, place.network_id)
    store.lock_subnets(tx, (subnet.id for subnet in subnets))
    if wishes is None:
        return _by_default(tx, place, subnets)
    chosen: list[Allocated] = []
    for wish in wishes:
        found = _by_wish(tx, place, subnets, wish)
        store.take(tx, place.network_id, place.port_id, [found], len(chosen))
        chosen.append(found)
    return _with_auto(tx, place, subnets, chosen)


def change(tx: Tx, place: Place, wishes: Sequence[Wish], most: int) -> tuple[list[Allocated], bool]:
    """Bring a port's addresses to what is wished, keeping those that stay; whether any changed."""
    subnets = subnets_of(tx, place.network_id)
    store.lock_subnets(tx, (subnet.id for subnet in subnets))
    before = store.of_port(tx, place.port_id)
    left = list(before)
    kept: list[tuple[int, Allocated]] = []
    open_wishes: list[tuple[int, Wish]] = []
    for index, wish in enumerate(wishes):
        match = _match(wish, left) if wish.ip_address else None
        if match is None:
            open_wishes.append((index, wish))
        else:
            left.remove(match)
            kept.append((index, match))
    unanswered = []
    for index, wish in open_wishes:
        match = _match(wish, left) if not wish.ip_address else None
        if match is None:
            unanswered.append((index, wish))
        else:
            left.remove(match)
            kept.append((index, match))
    auto = {subnet.id for subnet in subnets if is_auto(subnet)} if not place.is_router else set()
    stay = [item for item in left if item.subnet_id in auto]
    store.release(tx, place.port_id, [item.ip_address for item in left if item not in stay])
    for index, wish in unanswered:
        found = _by_wish(tx, place, subnets, wish)
        store.take(tx, place.network_id, place.port_id, [found], index)
        kept.append((index, found))
    after = [item for _, item in sorted(kept, key=lambda pair: pair[0])] + stay
    if len(after) > most:
        raise InvalidInput(error_message="Exceeded maximum amount of fixed ips per port")
    return after, set(after) != set(before)


def _match(wish: Wish, items: Sequence[Allocated]) -> Allocated | None:
    for item in items:
        if wish.ip_address and item.ip_address != wish.ip_address:
            continue
        if wish.subnet_id and item.subnet_id != wish.subnet_id:
            continue
        return item
    return None


def _by_default(tx: Tx, place: Place, subnets: Sequence[sa.Row[Any]]) -> list[Allocated]:
    fitting = [s for s in subnets if not s.service_types or place.device_owner in s.service_types]
    if subnets and not fitting:
        raise IpAddressGenerationFailure(network_id=place.network_id)
    chosen: list[Allocated] = []
    for version in (4, 6):
        pooled = [
            s for s in fitting if s.ip_version == version and (place.is_router or not is_auto(s))
        ]
        if not pooled:
            continue
        specific = [s for s in pooled if s.service_types] or pooled
        for subnet in specific:
            address = store.next_free(tx, subnet)
            if address is not None:
                chosen.append(Allocated(subnet.id, address))
                break
        else:
            raise IpAddressGenerationFailure(network_id=place.network_id)
    store.take(tx, place.network_id, place.port_id, chosen)
    return _with_auto(tx, place, fitting, chosen)


def _with_auto(
    tx: Tx, place: Place, subnets: Sequence[sa.Row[Any]], chosen: list[Allocated]
) -> list[Allocated]:
    if place.is_router:
        return chosen
    have = {item.subnet_id for item in chosen}
    for subnet in subnets:
        if is_auto(subnet) and subnet.id not in have:
            address = Allocated(subnet.id, eui64(subnet.cidr, place.mac_address))
            store.take(tx, place.network_id, place.port_id, [address], len(chosen))
            chosen.append(address)
    return chosen


def _by_wish(tx: Tx, place: Place, subnets: Sequence[sa.Row[Any]], wish: Wish) -> Allocated:
    subnet = _subnet_of(place, subnets, wish)
    auto = is_auto(subnet) and not place.is_router
    if auto:
        own = eui64(subnet.cidr, place.mac_address)
        if wish.ip_address and wish.ip_address != own:
            raise AllocationOnAutoAddressSubnet(ip_address=wish.ip_address, subnet_id=subnet.id)
        return Allocated(subnet.id, own)
    if wish.ip_address is None:
        address = store.next_free(tx, subnet)
        if address is None:
            raise IpAddressGenerationFailure(network_id=place.network_id)
        return Allocated(subnet.id, address)
    if store.owner_of(tx, place.network_id, wish.ip_address) is not None:
        raise IpAddressAlreadyAllocated(ip_address=wish.ip_address, subnet_id=subnet.id)
    return Allocated(subnet.id, wish.ip_address)


def _subnet_of(place: Place, subnets: Sequence[sa.Row[Any]], wish: Wish) -> sa.Row[Any]:
    if wish.subnet_id:
        found = next((s for s in subnets if s.id == wish.subnet_id), None)
        if found is None:
            raise InvalidInput(
                error_message=f"Failed to create port on network {place.network_id}, because"
                f" fixed_ips included invalid subnet {wish.subnet_id}"
            )
        if wish.ip_address and not usable(found, wish.ip_address):
            raise InvalidIpForSubnet(ip_address=wish.ip_address)
        return found
    if not wish.ip_address:
        raise InvalidInput(error_message="IP allocation requires subnet_id or ip_address")
    for subnet in subnets:
        if usable(subnet, wish.ip_address):
            return subnet
    raise InvalidIpForNetwork(ip_address=wish.ip_address)


def usable(subnet: Any, address: str) -> bool:
    """Return whether a host of a subnet can have an address."""
    network = ipaddress.ip_network(subnet.cidr)
    parsed = ipaddress.ip_address(address)
    if parsed.version != network.version or parsed not in network:
        return False
    if network.version == 4 and network.prefixlen < 31:
        return parsed not in (network.network_address, network.broadcast_address)
    if network.version == 6 and network.prefixlen < 127:
        return parsed != network.network_address
    return True

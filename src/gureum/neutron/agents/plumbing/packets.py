"""The few packets the agents send themselves: neighbour announcements and lease releases.

Owns: their bytes and sending them from inside a namespace (the caller's thread is in it).
Follows: RFC 826 and RFC 5227 (ARP announcement), RFC 4861 section 7.2.6 (unsolicited advertisement),
RFC 2131 (DHCPRELEASE), RFC 8415 section 18.2.7 (Release). Must not: receive anything.
"""

import ipaddress
import os
import socket
import struct

_ETH_ARP = 0x0806
_IPV6_ICMP = 58


def mac_bytes(mac: str) -> bytes:
    """Return the six bytes of a MAC address. Raises: ValueError."""
    raw = bytes.fromhex(mac.replace(":", "").replace("-", ""))
    if len(raw) != 6:
        raise ValueError(f"not a MAC address: {mac}")
    return raw


def arp_announcement(mac: str, address: str) -> bytes:
    """Return the Ethernet frame that says on the link who has an IPv4 address now."""
    source = mac_bytes(mac)
    ip = ipaddress.IPv4Address(address).packed
    header = b"\xff" * 6 + source + struct.pack("!H", _ETH_ARP)
    return header + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + source + ip + b"\0" * 6 + ip


def neighbour_advertisement(mac: str, address: str) -> bytes:
    """Return the ICMPv6 body of an unsolicited advertisement (router, override); kernel adds the sum."""
    flags = 0xA0000000
    target = ipaddress.IPv6Address(address).packed
    return struct.pack("!BBHI", 136, 0, 0, flags) + target + b"\x02\x01" + mac_bytes(mac)


def announce(device: str, mac: str, address: str) -> None:
    """Tell the neighbours on a device's link that an address lives at this MAC."""
    if ipaddress.ip_address(address).version == 4:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_ARP)) as sock:
            sock.bind((device, _ETH_ARP))
            sock.send(arp_announcement(mac, address))
        return
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, _IPV6_ICMP) as sock:
        index = socket.if_nametoindex(device)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sock.bind((address, 0, 0, 0))
        sock.sendto(neighbour_advertisement(mac, address), ("ff02::1", 0, 0, index))


def dhcp_release(mac: str, address: str, server: str, client_id: str | None) -> bytes:
    """Return a DHCPRELEASE message; `client_id` is colon separated hex, as dnsmasq keeps it."""
    head = struct.pack("!BBBBIHH", 1, 1, 6, 0, int.from_bytes(os.urandom(4), "big"), 0, 0)
    addresses = ipaddress.IPv4Address(address).packed + b"\0" * 12
    chaddr = mac_bytes(mac) + b"\0" * 10
    options = b"\x35\x01\x07\x36\x04" + ipaddress.IPv4Address(server).packed
    if client_id:
        raw = bytes.fromhex(client_id.replace(":", ""))
        options += struct.pack("!BB", 61, len(raw)) + raw
    return head + addresses + chaddr + b"\0" * 192 + b"\x63\x82\x53\x63" + options + b"\xff"


def send_dhcp_release(
    device: str, mac: str, address: str, server: str, client_id: str | None
) -> None:
    """Give a lease back to the server that runs in this namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        sock.sendto(dhcp_release(mac, address, server, client_id), (server, 67))


def dhcp6_release(address: str, iaid: int, client_duid: str, server_duid: str) -> bytes:
    """Return a DHCPv6 Release message for one address."""

    def opt(code: int, data: bytes) -> bytes:
        return struct.pack("!HH", code, len(data)) + data

    client = bytes.fromhex(client_duid.replace(":", ""))
    server = bytes.fromhex(server_duid.replace(":", ""))
    lease = opt(5, ipaddress.IPv6Address(address).packed + struct.pack("!II", 0, 0))
    binding = opt(3, struct.pack("!III", iaid, 0, 0) + lease)
    transaction = b"\x08" + os.urandom(3)
    return transaction + opt(1, client) + opt(2, server) + opt(8, b"\0\0") + binding


def send_dhcp6_release(
    device: str, address: str, iaid: int, client_duid: str, server_duid: str
) -> None:
    """Give a DHCPv6 lease back to the server that runs in this namespace."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        index = socket.if_nametoindex(device)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
        message = dhcp6_release(address, iaid, client_duid, server_duid)
        sock.sendto(message, ("ff02::1:2", 547, 0, index))

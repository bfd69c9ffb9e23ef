"""Extra DHCP options of a port as typed values; nothing else reaches dnsmasq's files. Pure.

Owns: the names, numbers and types of options, and the line that stands for one. Must not: let through a
character that could end a line or a field (CVE-2021-40085: a newline in a value configured dnsmasq).
Follows: RFC 2132, RFC 3397, RFC 3442, RFC 4578, RFC 5859, RFC 8415; dnsmasq(8), --dhcp-option.
"""

import ipaddress
import re
from dataclasses import dataclass

from gureum.neutron.agents.contract import DhcpOption

_ADDRESS, _ADDRESSES, _TEXT, _NUMBER, _NAMES, _ROUTES = (
    "address",
    "addresses",
    "text",
    "number",
    "names",
    "routes",
)

_V4: dict[str, tuple[int, str]] = {
    "netmask": (1, _ADDRESS),
    "time-offset": (2, _NUMBER),
    "router": (3, _ADDRESSES),
    "time-server": (4, _ADDRESSES),
    "dns-server": (6, _ADDRESSES),
    "log-server": (7, _ADDRESSES),
    "lps-server": (9, _ADDRESSES),
    "hostname": (12, _TEXT),
    "boot-file-size": (13, _NUMBER),
    "domain-name": (15, _TEXT),
    "swap-server": (16, _ADDRESS),
    "root-path": (17, _TEXT),
    "extension-path": (18, _TEXT),
    "ip-forward-enable": (19, _NUMBER),
    "mtu": (26, _NUMBER),
    "broadcast": (28, _ADDRESS),
    "static-route": (33, _ADDRESSES),
    "arp-timeout": (35, _NUMBER),
    "default-ttl": (23, _NUMBER),
    "nis-domain": (40, _TEXT),
    "nis-server": (41, _ADDRESSES),
    "ntp-server": (42, _ADDRESSES),
    "vendor-encap": (43, _TEXT),
    "netbios-ns": (44, _ADDRESSES),
    "netbios-dd": (45, _ADDRESSES),
    "netbios-nodetype": (46, _NUMBER),
    "netbios-scope": (47, _TEXT),
    "x-windows-fs": (48, _ADDRESSES),
    "x-windows-dm": (49, _ADDRESSES),
    "lease-time": (51, _NUMBER),
    "T1": (58, _NUMBER),
    "T2": (59, _NUMBER),
    "vendor-class": (60, _TEXT),
    "nis+-domain": (64, _TEXT),
    "nis+-server": (65, _ADDRESSES),
    "tftp-server": (66, _TEXT),
    "tftp-server-name": (66, _TEXT),
    "bootfile-name": (67, _TEXT),
    "mobile-ip-home": (68, _ADDRESSES),
    "smtp-server": (69, _ADDRESSES),
    "pop3-server": (70, _ADDRESSES),
    "nntp-server": (71, _ADDRESSES),
    "irc-server": (74, _ADDRESSES),
    "user-class": (77, _TEXT),
    "fqdn": (81, _TEXT),
    "posix-timezone": (100, _TEXT),
    "tzdb-timezone": (101, _TEXT),
    "domain-search": (119, _NAMES),
    "sip-server": (120, _ADDRESSES),
    "classless-static-route": (121, _ROUTES),
    "tftp-server-address": (150, _ADDRESSES),
    "path-prefix": (210, _TEXT),
    "ms-classless-static-route": (249, _ROUTES),
    "wpad": (252, _TEXT),
    "server-ip-address": (255, _ADDRESS),
}

_V6: dict[str, tuple[int, str]] = {
    "sip-server-domain": (21, _NAMES),
    "sip-server": (22, _ADDRESSES),
    "dns-server": (23, _ADDRESSES),
    "domain-search": (24, _NAMES),
    "nis-server": (27, _ADDRESSES),
    "nis-domain": (29, _TEXT),
    "sntp-server": (31, _ADDRESSES),
    "information-refresh-time": (32, _NUMBER),
    "ntp-server": (56, _ADDRESSES),
    "bootfile-url": (59, _TEXT),
    "bootfile-param": (60, _TEXT),
}

_TYPE_BY_NUMBER = {
    4: dict(_V4.values()),
    6: dict(_V6.values()),
}
_NAME = re.compile(r"(?:tag:(!?[A-Za-z0-9_-]{1,40}),)?(?:option6?:)?([A-Za-z0-9_+-]{1,64})\Z")
_TEXT_OK = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]{1,255}\Z")  # printable, no quote, no backslash
_HOST_OK = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?\Z")


class BadOption(ValueError):
    """An option that is not what it should be; it is left out and told."""


@dataclass(frozen=True, slots=True)
class TypedOption:
    """A checked option: its number, its value as dnsmasq reads it, a tag it depends on."""

    number: int
    value: str
    ip_version: int
    tag: str | None = None

    def line(self, port_tag: str) -> str:
        """Return the line of the options file."""
        tags = f"tag:{port_tag}," + (f"tag:{self.tag}," if self.tag else "")
        kind = "option6:" if self.ip_version == 6 else ""
        return f"{tags}{kind}{self.number}" + (f",{self.value}" if self.value else "")


def typed(option: DhcpOption) -> TypedOption:
    """Check an option. Raises: BadOption."""
    match = _NAME.match(option.name)
    if match is None or option.ip_version not in (4, 6):
        raise BadOption(f"no DHCP option is called {option.name!r}")
    tag, name = match.groups()
    number, kind = _known(name, option.ip_version)
    return TypedOption(number, _value(kind, option), option.ip_version, tag)


def _known(name: str, version: int) -> tuple[int, str]:
    if name.isdigit():
        number = int(name)
        if not 1 <= number <= (254 if version == 4 else 65535) and number != 255:
            raise BadOption(f"DHCP option {number} does not exist")
        return number, _TYPE_BY_NUMBER[version].get(number, _TEXT)
    table = _V4 if version == 4 else _V6
    if name not in table:
        raise BadOption(f"no DHCP option is called {name!r}")
    return table[name]


def _value(kind: str, option: DhcpOption) -> str:
    value = option.value.strip(" ")
    if not value:
        return ""
    if not _TEXT_OK.match(value):
        raise BadOption(f"the value of {option.name} holds characters that DHCP options cannot")
    parts = [part.strip() for part in value.split(",")]
    try:
        if kind == _ADDRESS:
            return _address(value, option.ip_version)
        if kind == _ADDRESSES:
            return ",".join(_address(part, option.ip_version) for part in parts)
        if kind == _NUMBER:
            return str(int(value))
        if kind == _ROUTES:
            return _routes(parts)
    except ValueError as error:
        raise BadOption(f"{option.name}: {error}") from error
    if kind == _NAMES:
        if not all(_HOST_OK.match(part) for part in parts):
            raise BadOption(f"{option.name}: not a list of names")
        return ",".join(parts)
    return f'"{value}"'


def _address(text: str, version: int) -> str:
    if version == 4:
        return str(ipaddress.IPv4Address(text))
    return f"[{ipaddress.IPv6Address(text.strip('[]'))}]"


def _routes(parts: list[str]) -> str:
    if len(parts) % 2:
        raise BadOption("routes are pairs of destination and next hop")
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return ",".join(
        f"{ipaddress.IPv4Network(dst)},{ipaddress.IPv4Address(hop)}" for dst, hop in pairs
    )


def is_hostname(text: str) -> bool:
    """Return whether a text can stand as a host name in dnsmasq's files."""
    return bool(_HOST_OK.match(text))

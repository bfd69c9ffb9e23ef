"""Texts of a known format: addresses, networks, hardware addresses, base64."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from typing import Any

from gureum.core.spec.fields import Field, Invalid, Parse, short
from gureum.core.spec.versions import Version


class IpAddress(Field[str]):
    """An IPv4 or IPv6 address, shown in its shortest form."""

    json_type = "string"

    def __init__(self, text: str, *, version: int | None = None, **common: Any) -> None:
        super().__init__(text, **common)
        self.ip_version = version

    def parser(self, version: Version) -> Parse:
        def parse(value: Any, path: str) -> str:
            try:
                if not isinstance(value, str) or "%" in value:
                    raise ValueError
                address = ipaddress.ip_address(value)
            except ValueError:
                raise Invalid(path, f"{short(value)} is not a valid IP address", value) from None
            if self.ip_version and address.version != self.ip_version:
                raise Invalid(path, f"{short(value)} is not an IPv{self.ip_version} address", value)
            return str(address)

        return parse

    def inner_schema(self, version: Version) -> dict[str, Any]:
        return {"type": "string", "format": "ip"}


class Cidr(Field[str]):
    """A network in CIDR form; host bits are cleared, or refused with strict."""

    json_type = "string"

    def __init__(self, text: str, *, strict: bool = False, **common: Any) -> None:
        super().__init__(text, **common)
        self.strict = strict

    def parser(self, version: Version) -> Parse:
        def parse(value: Any, path: str) -> str:
            try:
                if not isinstance(value, str):
                    raise ValueError
                return str(ipaddress.ip_network(value, strict=self.strict))
            except ValueError:
                raise Invalid(path, f"{short(value)} is not a valid IP network", value) from None

        return parse

    def inner_schema(self, version: Version) -> dict[str, Any]:
        return {"type": "string", "format": "cidr"}


_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")


class Mac(Field[str]):
    """A unicast hardware address in lower case with colons."""

    json_type = "string"

    def parser(self, version: Version) -> Parse:
        def parse(value: Any, path: str) -> str:
            if isinstance(value, str):
                mac = value.lower().replace("-", ":")
                if _MAC.fullmatch(mac) and not int(mac[1], 16) & 1 and mac != "00:00:00:00:00:00":
                    return mac
            raise Invalid(path, f"{short(value)} is not a valid MAC address", value)

        return parse


class Base64(Field[str]):
    """Bytes in base64 text; kept as text. max counts the characters of the text."""

    json_type = "string"

    def __init__(self, text: str, *, max: int = 65535, **common: Any) -> None:
        super().__init__(text, **common)
        self.max = max

    def parser(self, version: Version) -> Parse:
        def parse(value: Any, path: str) -> str:
            if not isinstance(value, str):
                raise Invalid(path, f"{short(value)} is not of type 'string'", value)
            if len(value) > self.max:
                raise Invalid(path, f"the text is too long (at most {self.max} characters)", value)
            try:
                base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
            except (binascii.Error, ValueError):
                raise Invalid(path, f"{short(value)} is not base64", value) from None
            return value

        return parse

    def inner_schema(self, version: Version) -> dict[str, Any]:
        return {"type": "string", "format": "base64"}

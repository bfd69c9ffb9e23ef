"""Microversions as data: a version, a span of versions, and how a service negotiates one.

Only `core/spec` and `core/http` may compare versions; logic sees the newest shape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

_FORM = re.compile(r"^(\d+)\.(\d+)$")


class Version(NamedTuple):
    """One microversion, ordered."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


BASE = Version(0, 0)


@lru_cache(maxsize=1024)
def parse_version(text: str) -> Version:
    """Read "2.90". Raises: ValueError."""
    match = _FORM.match(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a version of the form MAJOR.MINOR")
    return Version(int(match[1]), int(match[2]))


def version_or_none(text: str | None) -> Version | None:
    """Read an optional version literal of a declaration."""
    return None if text is None else parse_version(text)


class VersionError(Exception):
    """The asked version is malformed (400) or outside the supported span (406)."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Microversions:
    """The span that a service speaks and the headers that choose one.

    service_type: the word in `OpenStack-API-Version: <service_type> 2.90`.
    legacy_header: an older header that carries only the number, lower case, or None.
    """

    service_type: str
    minimum: Version
    maximum: Version
    legacy_header: str | None = None

    def negotiate(self, headers: Mapping[str, str]) -> Version:
        """Choose the version of a request. Raises: VersionError."""
        asked = None
        for part in headers.get("openstack-api-version", "").split(","):
            words = part.split()
            if len(words) == 2 and words[0].lower() == self.service_type:
                asked = words[1]
            elif len(words) == 1 and words[0].lower() == self.service_type:
                raise VersionError(
                    400, f"API Version String {part.strip()!r} is of invalid format."
                )
        if asked is None and self.legacy_header:
            asked = headers.get(self.legacy_header)
        if asked is None:
            return self.minimum
        if asked.lower() == "latest":
            return self.maximum
        try:
            version = parse_version(asked)
        except ValueError:
            raise VersionError(
                400,
                f"API Version String {asked} is of invalid format."
                " Must be of format MajorNum.MinorNum.",
            ) from None
        if not self.minimum <= version <= self.maximum:
            raise VersionError(
                406,
                f"Version {version} is not supported by the API."
                f" Minimum is {self.minimum} and maximum is {self.maximum}.",
            )
        return version

    def response_headers(self, version: Version) -> list[tuple[str, str]]:
        """Return the headers that tell which version answered."""
        pairs = [("OpenStack-API-Version", f"{self.service_type} {version}")]
        vary = "OpenStack-API-Version"
        if self.legacy_header:
            pairs.append((self.legacy_header, str(version)))
            vary += f", {self.legacy_header}"
        pairs.append(("Vary", vary))
        return pairs


def active(version: Version, since: Version | None, until: Version | None) -> bool:
    """Whether a thing with this span (both ends included) exists at a version."""
    return (since is None or version >= since) and (until is None or version <= until)

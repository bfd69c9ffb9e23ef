"""Fetching what a user named: the only way in which Glance follows a URL that is not the operator's.

Scheme, host and port are checked against the operator's lists; the host is resolved once, every address
must be public (or in a network that the operator allows), and the connection goes to the checked address,
so that a second answer of the name server changes nothing. Redirects are followed one by one through the
same checks. Abuse case 12.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from gureum.glance.drivers.base import StoreFault

if TYPE_CHECKING:
    import httpx

CHUNK_BYTES = 1 << 20
_DEFAULT_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]


class Refused(Exception):
    """The URL may not be followed. The text is for the caller."""


class Unreachable(StoreFault):
    """The other side does not answer, or not with what was asked."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What may be followed. Empty allowed hosts mean any; a list of what is allowed beats one of what is not.

    networks: private address ranges that may be reached all the same.
    """

    allowed_schemes: Sequence[str] = ("http", "https")
    disallowed_schemes: Sequence[str] = ()
    allowed_hosts: Sequence[str] = ()
    disallowed_hosts: Sequence[str] = ()
    allowed_ports: Sequence[int] = (80, 443)
    disallowed_ports: Sequence[int] = ()
    networks: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL leads."""

    url: str
    scheme: str
    host: str
    port: int


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host. Raises: OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Fetcher:
    """Reads URLs under filters. Thread-safe."""

    def __init__(
        self,
        filters: Filters,
        *,
        timeout_s: float = 30.0,
        max_redirects: int = 5,
        resolver: Resolve = resolve,
        ca_file: str | None = None,
    ) -> None:
        self.filters = filters
        self._networks = [ipaddress.ip_network(text) for text in filters.networks]
        self._resolve = resolver
        self._max_redirects = max_redirects
        self._timeout_s = timeout_s
        self._ca_file = ca_file
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

    @property
    def _http(self) -> httpx.Client:
        """The connections, made when the first URL is asked for: most clouds never do."""
        import httpx

        with self._lock:
            if self._client is None:
                self._client = httpx.Client(
                    timeout=self._timeout_s,
                    trust_env=False,
                    follow_redirects=False,
                    verify=self._ca_file if self._ca_file else True,
                )
            return self._client

    def close(self) -> None:
        """Close idle connections."""
        if self._client is not None:
            self._client.close()

    def check(self, url: str) -> Place:
        """Return where a URL leads when the lists allow it; nothing is resolved yet. Raises: Refused."""
        filters = self.filters
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise Refused(f"URI does not pass filtering: {url[:200]}") from None
        scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
        port = port or _DEFAULT_PORTS.get(scheme)
        fine = (
            scheme in _DEFAULT_PORTS
            and bool(host)
            and parts.username is None
            and _passes(scheme, filters.allowed_schemes, filters.disallowed_schemes)
            and _passes(host, filters.allowed_hosts, filters.disallowed_hosts)
            and _passes(port, filters.allowed_ports, filters.disallowed_ports)
            and url.isprintable()
        )
        if not fine or port is None:
            raise Refused(f"URI does not pass filtering: {url[:200]}")
        literal = _literal(host)
        if literal is not None and not self._reachable(literal):
            raise Refused(f"URI does not pass filtering: {url[:200]}")
        return Place(url, scheme, host, port)

    def _pin(self, place: Place) -> str:
        """Resolve a host and return one address to connect to. Raises: Refused, Unreachable."""
        try:
            found = list(self._resolve(place.host, place.port))
        except OSError as error:
            raise Unreachable(f"{place.host} cannot be resolved: {error}") from error
        for text in found:
            address = _literal(text)
            if address is None or not self._reachable(address):
                raise Refused(f"URI does not pass filtering: {place.url[:200]}")
        if not found:
            raise Unreachable(f"{place.host} has no address")
        return found[0]

    def _reachable(self, address: Address) -> bool:
        if isinstance(address, ipaddress.IPv6Address):
            inner = address.ipv4_mapped or address.sixtofour
            if inner is not None:
                return self._reachable(inner)
            if address in _TRANSLATED:
                return self._reachable(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if any(address in network for network in self._networks):
            return True
        return address.is_global and not address.is_multicast

    def open(self, url: str, headers: Mapping[str, str] | None = None) -> Opened:
        """Begin to read a URL. Raises: Refused, Unreachable."""
        for _ in range(self._max_redirects + 1):
            answer, held = self._get(self.check(url), headers or {})
            if answer.status_code not in _REDIRECTS:
                return Opened(answer, held)
            held.close()
            url = urljoin(url, answer.headers.get("location", ""))
        raise Refused("URI does not pass filtering: too many redirects")

    def _get(self, place: Place, headers: Mapping[str, str]) -> tuple[httpx.Response, ExitStack]:
        import httpx

        address = self._pin(place)
        parts = urlsplit(place.url)
        path = parts.path or "/"
        shown = f"[{address}]" if ":" in address else address
        url = f"{place.scheme}://{shown}:{place.port}{path}"
        url += f"?{parts.query}" if parts.query else ""
        name = f"[{place.host}]" if ":" in place.host else place.host
        usual = place.port == _DEFAULT_PORTS[place.scheme]
        sent = {"host": name if usual else f"{name}:{place.port}", "accept-encoding": "identity"}
        sent.update(headers)
        held = ExitStack()
        try:
            answer = held.enter_context(
                self._http.stream("GET", url, headers=sent, extensions={"sni_hostname": place.host})
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            held.close()
            raise Unreachable(f"{place.url[:200]}: {error}") from error
        return answer, held

    def size(self, url: str) -> int | None:
        """Return how many bytes a URL has, if it says so. Raises: Refused, Unreachable."""
        with self.open(url, {"range": "bytes=0-0"}) as opened:
            opened.expect(200, 206)
            if opened.status == 206:
                total = opened.headers.get("content-range", "").rpartition("/")[2]
                return int(total) if total.isdecimal() else None
            return opened.length


class Opened:
    """An answer whose body has not been read. A context manager."""

    def __init__(self, answer: httpx.Response, held: ExitStack) -> None:
        self._answer = answer
        self._held = held

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._answer.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by names in any case."""
        return self._answer.headers

    @property
    def length(self) -> int | None:
        """The announced number of bytes."""
        text = self._answer.headers.get("content-length", "")
        return int(text) if text.isdecimal() else None

    def expect(self, *statuses: int) -> None:
        """Raises: Unreachable when the status is another."""
        if self.status not in statuses:
            raise Unreachable(f"the other side answered {self.status}")

    def chunks(self) -> Iterator[bytes]:
        """Yield the body. Raises: Unreachable."""
        import httpx

        try:
            yield from self._answer.iter_raw(CHUNK_BYTES)
        except httpx.HTTPError as error:
            raise Unreachable(f"the transfer broke: {error}") from error

    def close(self) -> None:
        """Let the connection go."""
        self._held.close()

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _passes(value: object, allowed: Sequence[object], disallowed: Sequence[object]) -> bool:
    if allowed:
        return value in allowed
    return value not in disallowed


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None

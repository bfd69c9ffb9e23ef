"""One metadata request: who asks, what Nova is told, what comes back.

Owns: reading the proxy's headers, the signature, the request to Nova. Must not: believe a header that a
guest could have sent, or log the secret or a body.
Follows: Nova's metadata service headers (X-Instance-ID, X-Tenant-ID, X-Forwarded-For, and
X-Instance-ID-Signature, the hex HMAC-SHA256 of the instance id under the shared secret).
"""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from gureum.core import log as logs
from gureum.neutron.agents.contract import MetadataTarget
from gureum.neutron.agents.metadata.targets import Asker, Targets
from gureum.neutron.agents.plumbing.proxy import NETWORK_HEADER, RESERVED_HEADERS, ROUTER_HEADER

log = logs.get(__name__)

MAX_BODY_BYTES = 64 * 1024
_METHODS = ("GET", "HEAD", "POST", "PUT")
_ID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\Z")
_PER_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "content-length",
        "expect",
        "accept-encoding",
    }
)
_NEVER_PASSED = frozenset(name.lower() for name in RESERVED_HEADERS) | _PER_HOP
_PASSED_BACK = ("content-type", "cache-control", "etag", "last-modified", "location")

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """What came through the Unix socket."""

    method: str
    path: str
    headers: Headers
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back."""

    status: int
    headers: Headers = ()
    body: bytes = b""


class Refused(Exception):
    """The request cannot be forwarded."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


def refusal(status: HTTPStatus) -> Response:
    """Return an answer that tells a guest no more than it must know."""
    text = f"{status.value} {status.phrase}\n".encode()
    return Response(status.value, (("Content-Type", "text/plain; charset=UTF-8"),), text)


def asker_of(headers: Headers) -> Asker:
    """Return who asks, from what the proxy says. Raises: Refused."""
    address = _single(headers, "X-Forwarded-For")
    network_id, router_id = _single(headers, NETWORK_HEADER), _single(headers, ROUTER_HEADER)
    if address is None or (network_id is None) == (router_id is None):
        raise Refused(HTTPStatus.BAD_REQUEST)
    if not _ID.match(network_id or router_id or ""):
        raise Refused(HTTPStatus.BAD_REQUEST)
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError as error:
        raise Refused(HTTPStatus.BAD_REQUEST) from error
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return Asker(str(mapped or ip), network_id, router_id)


def _single(headers: Headers, name: str) -> str | None:
    """The value of a header that may stand once. Twice means that somebody else wrote one of them."""
    values = [value.strip() for key, value in headers if key.lower() == name.lower()]
    if len(values) > 1:
        raise Refused(HTTPStatus.BAD_REQUEST)
    return values[0] if values else None


def signature(secret: str, instance_id: str) -> str:
    """Return the proof that this agent vouches for an instance id."""
    return hmac.new(secret.encode(), instance_id.encode(), hashlib.sha256).hexdigest()


def upstream_headers(
    headers: Iterable[tuple[str, str]], asker: Asker, target: MetadataTarget, secret: str
) -> list[tuple[str, str]]:
    """Return what Nova is sent: the guest's own headers, and ours in place of the reserved ones."""
    passed = [(key, value) for key, value in headers if key.lower() not in _NEVER_PASSED]
    return [
        *passed,
        ("X-Forwarded-For", asker.address),
        ("X-Instance-ID", target.instance_id),
        ("X-Tenant-ID", target.project_id),
        ("X-Instance-ID-Signature", signature(secret, target.instance_id)),
    ]


class Forwarder:
    """Forwards requests to Nova. Thread-safe; `close()` ends its connections."""

    def __init__(
        self, targets: Targets, base_url: str, secret: str, timeout_s: float, verify: bool = True
    ) -> None:
        self._targets = targets
        self._base_url = base_url
        self._secret = secret
        self._client = httpx.Client(
            timeout=timeout_s, follow_redirects=False, trust_env=False, verify=verify
        )

    def close(self) -> None:
        """End the connections to Nova."""
        self._client.close()

    def answer(self, request: Request) -> Response:
        """Answer one request; never raises."""
        try:
            return self._forward(request)
        except Refused as refused:
            return refusal(refused.status)
        except httpx.TimeoutException as error:
            log.warning("Nova's metadata service is too slow", error=type(error).__name__)
            return refusal(HTTPStatus.GATEWAY_TIMEOUT)
        except httpx.HTTPError as error:
            log.warning("Nova's metadata service does not answer", error=type(error).__name__)
            return refusal(HTTPStatus.BAD_GATEWAY)
        except Exception as error:  # border: an agent's worker
            log.warning("metadata request failed", error=f"{type(error).__name__}: {error}")
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE)

    def _forward(self, request: Request) -> Response:
        if request.method not in _METHODS:
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED)
        if not request.path.startswith("/"):
            raise Refused(HTTPStatus.BAD_REQUEST)
        asker = asker_of(request.headers)
        if not self._secret:
            log.error("metadata request refused: no metadata_proxy_shared_secret is set")
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE)
        target = self._targets.find(asker)
        if target is None:
            log.info(
                "metadata asked from an unknown address",
                address=asker.address,
                network_id=asker.network_id,
                router_id=asker.router_id,
            )
            raise Refused(HTTPStatus.NOT_FOUND)
        reply = self._client.request(
            request.method,
            self._base_url + request.path,
            headers=upstream_headers(request.headers, asker, target, self._secret),
            content=request.body or None,
        )
        passed = [(key, reply.headers[key]) for key in _PASSED_BACK if key in reply.headers]
        return Response(reply.status_code, passed, reply.content)

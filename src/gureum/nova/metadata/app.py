"""nova-metadata-api: answers guests' metadata requests that a metadata agent forwards.

Owns: the ASGI application on 8775: proof that the agent sent the request, routing, answers.
Must not: know a database; `Lookup` is handed in. Follows the Nova user guide, "Metadata", and the
headers of Neutron's metadata agent (X-Instance-ID, X-Tenant-ID, X-Forwarded-For,
X-Instance-ID-Signature = hex HMAC-SHA256 of the instance id under the shared secret).
"""

import asyncio
import hashlib
import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from gureum.core import log
from gureum.nova.metadata import ec2, openstack
from gureum.nova.metadata.config import MetadataOptions
from gureum.nova.metadata.model import MAX_PASSWORD_BYTES, InstanceMetadata

LOG = log.get(__name__)

Lookup = Callable[[str, str, str], InstanceMetadata | None]
"""(instance id, project id, the guest's address) -> its metadata, or None: no such server there."""

StorePassword = Callable[[str, str], bool]
"""(instance id, encrypted password) -> whether it was stored; False: one was stored before."""

_ID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
_MAX_CACHED = 4096


def sign(secret: str, instance_id: str) -> str:
    """Return the signature that a metadata agent sends for an instance id."""
    return hmac.new(secret.encode(), instance_id.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. Everything but listings and documents is empty of detail on purpose."""

    status: HTTPStatus
    body: bytes = b""
    content_type: str = "text/plain; charset=UTF-8"


def _refuse(status: HTTPStatus) -> Answer:
    return Answer(status, f"{status.value} {status.phrase}\n".encode())


class MetadataApp:
    """The ASGI application. `await close()` (or the lifespan's end) stops its threads."""

    def __init__(
        self, options: MetadataOptions, lookup: Lookup, store_password: StorePassword
    ) -> None:
        self._options = options
        self._lookup = lookup
        self._store_password = store_password
        self._pool = ThreadPoolExecutor(options.metadata_workers, thread_name_prefix="metadata")
        self._cache: OrderedDict[tuple[str, str, str], tuple[float, InstanceMetadata]] = (
            OrderedDict()
        )

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Serve one request, or the lifespan of the server."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        body = await _read(receive, MAX_PASSWORD_BYTES + 1)
        answer = await self._answer(scope, body)
        payload = b"" if scope["method"] == "HEAD" else answer.body
        await send(
            {
                "type": "http.response.start",
                "status": answer.status.value,
                "headers": [
                    (b"content-type", answer.content_type.encode()),
                    (b"content-length", str(len(answer.body)).encode()),
                ],
            }
        )
        await send({"type": "http.response.body", "body": payload})

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    def close(self) -> None:
        """Stop the lookup threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, scope: MutableMapping[str, Any], body: bytes | None) -> Answer:
        parts = [part for part in scope["path"].split("/") if part]
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return _refuse(HTTPStatus.METHOD_NOT_ALLOWED)
        if not parts and scope["method"] != "POST":
            return Answer(HTTPStatus.OK, "\n".join((*ec2.VERSIONS, "latest")).encode())
        headers = _headers(scope)
        who = self._caller(headers)
        if isinstance(who, Answer):
            return who
        instance = await self._find(who)
        if instance is None:
            return _refuse(HTTPStatus.NOT_FOUND)
        if scope["method"] == "POST":
            return await self._post(who, parts, body)
        return _get(instance, parts)

    def _caller(self, headers: dict[str, str]) -> tuple[str, str, str] | Answer:
        """Return (instance, project, address) as the agent proved them, or a refusal."""
        instance_id = headers.get("x-instance-id", "")
        project_id = headers.get("x-tenant-id", "")
        address = headers.get("x-forwarded-for", "").split(",")[0].strip()
        signature = headers.get("x-instance-id-signature", "")
        secret = self._options.metadata_proxy_shared_secret
        if not _ID.match(instance_id) or not project_id or not address:
            return _refuse(HTTPStatus.BAD_REQUEST)
        if not secret:
            LOG.error("metadata request refused: no metadata_proxy_shared_secret is set")
            return _refuse(HTTPStatus.FORBIDDEN)
        if not hmac.compare_digest(sign(secret, instance_id).encode(), signature.encode()):
            LOG.warning("metadata request with a wrong signature", server_id=instance_id)
            return _refuse(HTTPStatus.FORBIDDEN)
        return instance_id, project_id, address

    async def _find(self, who: tuple[str, str, str]) -> InstanceMetadata | None:
        now = time.monotonic()
        cached = self._cache.get(who)
        if cached is not None and cached[0] > now:
            return cached[1]
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._pool, self._lookup, *who)
        if found is None or found.server_id != who[0] or found.project_id != who[1]:
            return None
        self._cache[who] = (now + self._options.metadata_cache_expiration, found)
        self._cache.move_to_end(who)
        while len(self._cache) > _MAX_CACHED:
            self._cache.popitem(last=False)
        return found

    async def _post(
        self, who: tuple[str, str, str], parts: list[str], body: bytes | None
    ) -> Answer:
        password_path = (
            len(parts) == 3
            and parts[0] == "openstack"
            and openstack.known_version(parts[1])
            and parts[1] != openstack.FOLSOM
            and parts[2] == "password"
        )
        if not password_path:
            return _refuse(HTTPStatus.METHOD_NOT_ALLOWED)
        if body is None or len(body) > MAX_PASSWORD_BYTES:
            return _refuse(HTTPStatus.BAD_REQUEST)
        try:
            text = body.decode("ascii")
        except UnicodeDecodeError:
            return _refuse(HTTPStatus.BAD_REQUEST)
        loop = asyncio.get_running_loop()
        stored = await loop.run_in_executor(self._pool, self._store_password, who[0], text)
        self._cache.pop(who, None)
        return Answer(HTTPStatus.OK) if stored else _refuse(HTTPStatus.CONFLICT)


def _get(instance: InstanceMetadata, parts: list[str]) -> Answer:
    if parts[0] == "openstack":
        return _get_openstack(instance, parts[1:])
    version, rest = parts[0], parts[1:]
    if not ec2.known_version(version):
        return _refuse(HTTPStatus.NOT_FOUND)
    user_data = instance.user_data_bytes
    if not rest:
        listed = ["meta-data/"] + (["user-data"] if user_data is not None else [])
        return Answer(HTTPStatus.OK, "\n".join(listed).encode())
    if rest[0] == "user-data" and len(rest) == 1 and user_data is not None:
        return Answer(HTTPStatus.OK, user_data, "application/octet-stream")
    if rest[0] != "meta-data":
        return _refuse(HTTPStatus.NOT_FOUND)
    found = ec2.walk(ec2.tree(instance, version), rest[1:])
    return _refuse(HTTPStatus.NOT_FOUND) if found is None else Answer(HTTPStatus.OK, found.encode())


def _get_openstack(instance: InstanceMetadata, rest: list[str]) -> Answer:
    if not rest:
        versions = (*openstack.VERSIONS, openstack.LATEST)
        return Answer(HTTPStatus.OK, "\n".join(versions).encode())
    body: bytes | None
    if rest[0] == "content" and len(rest) == 2:
        body = openstack.content(instance, rest[1])
    elif len(rest) == 1 and openstack.known_version(rest[0]):
        return Answer(HTTPStatus.OK, "\n".join(openstack.names(instance, rest[0])).encode())
    elif len(rest) == 2:
        body = openstack.document(instance, rest[0], rest[1])
    else:
        body = None
    if body is None:
        return _refuse(HTTPStatus.NOT_FOUND)
    if rest[-1].endswith(".json"):
        return Answer(HTTPStatus.OK, body, "application/json")
    if rest[-1] == "password":
        return Answer(HTTPStatus.OK, body)
    return Answer(HTTPStatus.OK, body, "application/octet-stream")


def _headers(scope: MutableMapping[str, Any]) -> dict[str, str]:
    """Headers by lower-case name; one sent twice was tampered with and counts as not sent."""
    seen: dict[str, str] = {}
    doubled: set[str] = set()
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        if name in seen:
            doubled.add(name)
        seen[name] = raw_value.decode("latin-1")
    return {name: value for name, value in seen.items() if name not in doubled}


async def _read(receive: Callable[[], Awaitable[Any]], limit: int) -> bytes | None:
    """Return the body, or None when it is longer than `limit`."""
    body = b""
    too_long = False
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        if not too_long:
            body += message.get("body", b"")
            too_long = len(body) > limit
        if not message.get("more_body"):
            return None if too_long else body

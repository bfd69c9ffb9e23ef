"""The Swift store: one object an image, in a container of any Swift v1 end point, with Keystone v3.

Files above `swift_store_large_object_size` are sent as segments into a container of their own and bound by
a static large object, so that the image appears whole with its last request. Deleting removes both.
Follows: Object Storage API v1, "Large objects".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from gureum.glance.drivers.base import NoRoom, StoreFault
from gureum.glance.drivers.file import FileStore
from gureum.glance.drivers.spool import SpooledStore

_CHUNK_BYTES = 1 << 20
_RENEW_S = 1800.0


class SwiftStore(SpooledStore):
    """Bytes of images in a container. Thread-safe."""

    kind = "swift"

    def __init__(
        self,
        spool: FileStore,
        name: str = "swift",
        *,
        auth_address: str,
        user: str,
        key: str,
        container: str = "glance",
        user_domain_id: str = "default",
        project_domain_id: str = "default",
        region: str = "",
        interface: str = "publicURL",
        service_type: str = "object-store",
        endpoint: str = "",
        create_container: bool = False,
        large_object_size_mib: int = 5120,
        segment_size_mib: int = 200,
        ca_file: str = "",
        insecure: bool = False,
        description: str = "",
        weight: int = 0,
    ) -> None:
        super().__init__(spool, name, description, weight)
        self._auth = auth_address.rstrip("/")
        self._project, _, self._user = user.rpartition(":")
        self._password = key
        self._domains = (user_domain_id, project_domain_id)
        self._where = (region, interface.removesuffix("URL"), service_type)
        self._container = container
        self._endpoint = endpoint.rstrip("/")
        self._create = create_container
        self._large_bytes = large_object_size_mib << 20
        self._segment_bytes = segment_size_mib << 20
        self._http = httpx.Client(
            timeout=60.0, trust_env=False, verify=(ca_file or True) if not insecure else False
        )
        self._lock = threading.Lock()
        self._token: tuple[str, str, float] | None = None

    # -- Keystone -----------------------------------------------------------------------------

    def _session(self) -> tuple[str, str]:
        """Return (storage URL, token). Raises: StoreFault."""
        with self._lock:
            if self._token is None or self._token[2] < time.monotonic():
                url, token = self._log_in()
                self._token = (self._endpoint or url, token, time.monotonic() + _RENEW_S)
            return self._token[0], self._token[1]

    def _log_in(self) -> tuple[str, str]:
        user_domain, project_domain = self._domains
        user = {"name": self._user, "domain": {"id": user_domain}, "password": self._password}
        scope = {"project": {"name": self._project, "domain": {"id": project_domain}}}
        identity = {"methods": ["password"], "password": {"user": user}}
        body = {"auth": {"identity": identity, "scope": scope}}
        try:
            answer = self._http.post(f"{self._auth}/auth/tokens", json=body)
        except httpx.HTTPError as error:
            raise StoreFault(f"Swift: Keystone: {error}") from error
        if answer.status_code != 201:
            raise StoreFault(f"Swift: Keystone answered {answer.status_code}")
        token = answer.headers["x-subject-token"]
        return self._find(answer.json()["token"].get("catalog", [])), token

    def _find(self, catalog: list[dict[str, Any]]) -> str:
        region, interface, kind = self._where
        for service in catalog:
            for endpoint in service["endpoints"] if service["type"] == kind else ():
                if endpoint["interface"] == interface and region in ("", endpoint["region_id"]):
                    return str(endpoint["url"]).rstrip("/")
        if self._endpoint:
            return self._endpoint
        raise StoreFault(f"Swift: the catalogue has no {interface} endpoint of type {kind}")

    # -- requests -----------------------------------------------------------------------------

    def _call(
        self, method: str, path: str, *ok: int, renew: bool = True, **values: Any
    ) -> httpx.Response:
        """Raises: KeyError (404), NoRoom (413, 507), StoreFault."""
        base, token = self._session()
        headers = {"x-auth-token": token, **values.pop("headers", {})}
        content = values.pop("content", None)
        body = content() if callable(content) else content
        try:
            answer = self._http.request(
                method, f"{base}/{quote(path)}", headers=headers, content=body, **values
            )
        except httpx.HTTPError as error:
            raise StoreFault(f"Swift: {method} {path}: {error}") from error
        if answer.status_code == 401 and renew:
            self._forget(token)
            values |= {"headers": headers, "content": content}
            values["headers"].pop("x-auth-token")
            return self._call(method, path, *ok, renew=False, **values)
        self._judge(answer.status_code, method, path, ok)
        return answer

    def _forget(self, token: str) -> None:
        with self._lock:
            if self._token is not None and self._token[1] == token:
                self._token = None

    @staticmethod
    def _judge(status: int, method: str, path: str, ok: tuple[int, ...]) -> None:
        if status in ok:
            return
        if status == 404:
            raise KeyError(path)
        if status in (413, 507):
            raise NoRoom(f"Swift answered {status}")
        raise StoreFault(f"Swift: {method} {path}: {status}")

    # -- the store ----------------------------------------------------------------------------

    @property
    def _segments(self) -> str:
        return f"{self._container}_segments"

    def put(self, key: str, path: Path) -> None:
        size = path.stat().st_size
        large = size > self._large_bytes
        for container in (self._container, *((self._segments,) if large else ())):
            self._need(container)
        if not large:
            self._send(f"{self._container}/{key}", path, 0, size)
            return
        manifest = []
        for number, offset in enumerate(range(0, size, self._segment_bytes), 1):
            length = min(self._segment_bytes, size - offset)
            name = f"{self._segments}/{key}-{number:05d}"
            etag = self._send(name, path, offset, length)
            manifest.append({"path": f"/{name}", "etag": etag, "size_bytes": length})
        self._call(
            "PUT",
            f"{self._container}/{key}",
            200,
            201,
            params={"multipart-manifest": "put"},
            json=manifest,
        )

    def _need(self, container: str) -> None:
        # Some Swifts (2.30 on Debian 12) end the 204 with a chunk, which would begin the next answer.
        once = {"connection": "close"}
        try:
            self._call("HEAD", container, 200, 204, headers=once)
        except KeyError:
            if not self._create:
                raise StoreFault(f"Swift: there is no container {container}") from None
            self._call("PUT", container, 201, 202)

    def _send(self, name: str, path: Path, offset: int, length: int) -> str:
        answer = self._call(
            "PUT",
            name,
            200,
            201,
            headers={"content-length": str(length), "content-type": "application/octet-stream"},
            content=lambda: _slice(path, offset, length),
        )
        return answer.headers.get("etag", "").strip('"')

    def url(self, key: str) -> str:
        scheme, _, rest = self._auth.partition("://")
        prefix = "swift+https" if scheme == "https" else "swift+http"
        return f"{prefix}://{rest}/{self._container}/{key}"

    def size(self, key: str) -> int | None:
        try:
            answer = self._call("HEAD", f"{self._container}/{key}", 200, 204)
        except KeyError:
            return None
        return int(answer.headers["content-length"])

    def stream(self, key: str, offset: int, length: int | None) -> Iterator[bytes]:
        if length == 0:
            return iter(())
        chunks = self._read(f"{self._container}/{key}", offset, length)
        first = next(chunks, b"")  # errors come before the first byte is promised
        return _after(first, chunks)

    def _read(self, path: str, offset: int, length: int | None) -> Iterator[bytes]:
        base, token = self._session()
        headers = {"x-auth-token": token, "accept-encoding": "identity"}
        if offset or length is not None:
            last = "" if length is None else str(offset + length - 1)
            headers["range"] = f"bytes={offset}-{last}"
        try:
            with self._http.stream("GET", f"{base}/{quote(path)}", headers=headers) as answer:
                if answer.status_code == 401:
                    self._forget(token)
                self._judge(answer.status_code, "GET", path, (200, 206))
                yield from answer.iter_raw(_CHUNK_BYTES)
        except httpx.HTTPError as error:
            raise StoreFault(f"Swift: {path}: {error}") from error

    def delete(self, key: str) -> bool:
        name = f"{self._container}/{key}"
        try:
            answer = self._call("HEAD", name, 200, 204)
        except KeyError:
            self._drop_segments(key)
            return False
        if answer.headers.get("x-static-large-object", "").lower() == "true":
            self._call("DELETE", name, 200, 204, params={"multipart-manifest": "delete"})
        else:
            self._call("DELETE", name, 200, 204)
        self._drop_segments(key)
        return True

    def _drop_segments(self, key: str) -> None:
        """Remove segments of an upload that never became an object."""
        params = {"prefix": f"{key}-", "format": "json"}
        try:
            found = self._call("GET", self._segments, 200, 204, params=params)
        except KeyError:
            return
        names = [row["name"] for row in (found.json() if found.content else ())]
        for name in names:
            try:
                self._call("DELETE", f"{self._segments}/{name}", 200, 204)
            except KeyError:
                continue

    def close(self) -> None:
        self._http.close()

    def properties(self) -> dict[str, str]:
        return {"swift_store_auth_address": self._auth, "swift_store_container": self._container}


def _slice(path: Path, offset: int, length: int) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as source:
        source.seek(offset)
        while length > 0:
            chunk = source.read(min(length, _CHUNK_BYTES))
            if not chunk:
                return
            length -= len(chunk)
            yield chunk


def _after(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest

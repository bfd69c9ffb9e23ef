"""Reads images over the Image API with the token that came with the order.

Owns: that client. Must not: import the image service, or write a token anywhere.
Follows: OpenStack Image API v2, "Images" and "Image data".
"""

import functools
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from gureum.core import trace
from gureum.core.http.client import HttpClient, RemoteUnavailable
from gureum.nova.agent.contract import ImageAccess, ImageSpec, ImageUnavailable, ImageUnusable
from gureum.nova.drivers.base import ImageSource

if TYPE_CHECKING:
    import httpx

_CHUNK_BYTES = 1 << 20
_KEEP_S = 2.0
_KNOWN = frozenset(
    (
        *("id", "name", "status", "size", "min_disk", "min_ram", "disk_format"),
        *("container_format", "checksum", "os_hash_algo", "os_hash_value", "kernel_id"),
        *("ramdisk_id", "tags", "owner", "visibility", "protected", "os_hidden", "file", "schema"),
        *("self", "created_at", "updated_at", "virtual_size", "locations", "direct_url"),
    )
)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Return what endpoints are checked against, read once."""
    import httpx

    return httpx.create_ssl_context(trust_env=False)


class ImageApis:
    """The way to image endpoints; guests are made in bursts, so connections are kept for a moment.

    http: what images are described over; an image service of this process is asked without a socket.
    """

    def __init__(
        self,
        timeout_s: float,
        http: HttpClient | None = None,
        transport: "httpx.BaseTransport | None" = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._http = http or HttpClient(timeout_s)
        self._transport = transport
        self._lock = threading.Lock()
        self._clients: dict[bool, httpx.Client] = {}

    def open(self, access: ImageAccess) -> "ImageApi":
        """Return the images of an endpoint."""
        secure = access.endpoint.startswith("https:")
        return ImageApi(access, self._http, lambda: self._client(secure))

    def _client(self, secure: bool) -> "httpx.Client":
        with self._lock:
            client = self._clients.get(secure)
            if client is None:
                client = self._clients[secure] = self._connect(secure)
            return client

    def _connect(self, secure: bool) -> "httpx.Client":
        import httpx  # the fake driver reads no image

        return httpx.Client(
            timeout=self._timeout_s,
            follow_redirects=False,
            trust_env=False,
            # Reading the machine's certificates takes 35 ms.
            verify=_certificates() if secure else False,
            transport=self._transport,
            # no longer than servers keep one, and enough for the jobs of a host
            limits=httpx.Limits(keepalive_expiry=_KEEP_S),
        )


class ImageApi(ImageSource):
    """Images of one endpoint, as the token's owner sees them."""

    def __init__(
        self, access: ImageAccess, http: HttpClient, bytes_over: "Callable[[], httpx.Client]"
    ) -> None:
        self._http = http
        self._bytes_over = bytes_over
        self._base = f"{access.endpoint.rstrip('/').removesuffix('/v2')}/v2"
        self._headers = {"X-Auth-Token": access.token, "Accept-Encoding": "identity"}

    def show(self, image_id: str) -> ImageSpec:
        """Return what the image service says of an image. Raises: ImageUnavailable, ImageUnusable."""
        url = f"{self._base}/images/{image_id}"
        try:
            reply = self._http.request("GET", url, headers=self._headers, attempts=1)
        except RemoteUnavailable as error:
            raise ImageUnavailable(f"image {image_id}: {error}") from error
        _check(image_id, reply.status)
        return image_from_json(reply.json())

    def read(self, image_id: str) -> Iterator[bytes]:
        """Yield the image's bytes as they come."""
        import httpx

        try:
            url, headers = (
                f"{self._base}/images/{image_id}/file",
                {**self._headers, **trace.headers()},
            )
            with self._bytes_over().stream("GET", url, headers=headers) as response:
                _check(image_id, response.status_code)
                yield from response.iter_bytes(_CHUNK_BYTES)
        except httpx.HTTPError as error:
            raise ImageUnavailable(f"image {image_id}: {type(error).__name__}") from error


def _check(image_id: str, status: int) -> None:
    if status == 404:  # no other host, and no other try, would find it
        raise ImageUnusable(f"image {image_id} does not exist any more.")
    if status != 200:
        raise ImageUnavailable(f"image {image_id}: answered {status}")


def image_from_json(body: dict[str, Any]) -> ImageSpec:
    """Return an image as the Image API shows it."""
    properties = {
        name: str(value)
        for name, value in body.items()
        if name not in _KNOWN and isinstance(value, str | int | bool)
    }
    return ImageSpec(
        id=body["id"],
        name=body.get("name") or "",
        status=body.get("status", ""),
        size_bytes=body.get("size") or 0,
        min_disk_gib=body.get("min_disk") or 0,
        min_ram_mib=body.get("min_ram") or 0,
        disk_format=body.get("disk_format") or "",
        container_format=body.get("container_format") or "",
        checksum=body.get("checksum"),
        os_hash_algo=body.get("os_hash_algo"),
        os_hash_value=body.get("os_hash_value"),
        kernel_id=body.get("kernel_id"),
        ramdisk_id=body.get("ramdisk_id"),
        properties=properties,
    )

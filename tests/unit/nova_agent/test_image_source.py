"""Reading images over the Image API."""

import httpx
import pytest

from gureum.core.http.client import HttpClient
from gureum.nova.agent.contract import ImageAccess, ImageUnavailable, ImageUnusable
from gureum.nova.agent.image_source import ImageApi, ImageApis

ACCESS = ImageAccess("http://images.test:9292/", "t0ken")
BODY = {
    "id": "abc",
    "name": "guest",
    "status": "active",
    "size": 5,
    "min_disk": 1,
    "disk_format": "qcow2",
    "container_format": "bare",
    "os_hash_algo": "sha512",
    "os_hash_value": "00",
    "hw_disk_bus": "scsi",
    "kernel_id": None,
    "tags": ["x"],
}


def answer(request: httpx.Request) -> httpx.Response:
    if request.headers.get("X-Auth-Token") != "t0ken":
        return httpx.Response(401)
    if request.url.path == "/v2/images/abc":
        return httpx.Response(200, json=BODY)
    if request.url.path == "/v2/images/abc/file":
        return httpx.Response(200, content=b"bytes")
    if request.url.path == "/v2/images/moved/file":
        return httpx.Response(302, headers={"Location": "http://evil.test/"})
    if request.url.path.startswith("/v2/images/deleted"):
        return httpx.Response(404)
    if request.url.path == "/v2/images/empty/file":
        return httpx.Response(204)
    raise httpx.ConnectError("no route")


class Answers(HttpClient):
    """Asks `answer`."""

    @property
    def _remote(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(answer))


def api(access: ImageAccess = ACCESS) -> ImageApi:
    return ImageApis(5, Answers(), httpx.MockTransport(answer)).open(access)


def test_image_is_shown_with_its_properties() -> None:
    image = api().show("abc")
    assert (image.size_bytes, image.min_disk_gib, image.disk_format) == (5, 1, "qcow2")
    assert image.properties == {"hw_disk_bus": "scsi"}
    assert image.kernel_id is None


def test_image_is_read_in_pieces() -> None:
    assert b"".join(api().read("abc")) == b"bytes"
    with_version = ImageAccess("http://images.test:9292/v2/", "t0ken")
    assert b"".join(api(with_version).read("abc")) == b"bytes"


@pytest.mark.parametrize("image_id", ["moved", "empty", "nowhere"])
def test_whatever_is_no_image_is_unavailable(image_id: str) -> None:
    with pytest.raises(ImageUnavailable):
        list(api().read(image_id))


def test_image_that_is_gone_is_not_worth_another_try() -> None:
    for ask in (lambda: api().show("deleted"), lambda: list(api().read("deleted"))):
        with pytest.raises(ImageUnusable, match="does not exist any more"):
            ask()


def test_token_is_in_no_text() -> None:
    bad = ImageAccess(ACCESS.endpoint, "s3cret")
    with pytest.raises(ImageUnavailable) as caught:
        api(bad).show("abc")
    assert "s3cret" not in str(caught.value) + repr(bad)

"""The client that other services use, over a real port."""

import socket

import httpx
import pytest
from glance_port import served
from waiting import eventually

from gureum.core.http.client import HttpClient
from gureum.glance.client import GlanceClient, ImageMissing, ImageRefused


class FixedSession:
    """A session that is always logged in as a service."""

    def __init__(self, base):
        self.http = HttpClient()
        self._base = base

    def token(self):
        return "services:service"

    def endpoint(self, kind):
        return self._base

    def request(self, method, kind, path, *, json=None, user_token=None):
        headers = {"x-auth-token": user_token or self.token()}
        return self.http.request(method, self._base + path, json=json, headers=headers)


@pytest.fixture
def base(cloud):
    with served(cloud) as url:
        yield url


def test_client_shows_and_reads_an_image(cloud, base):
    content = bytes(range(256)) * 20_000
    image = cloud.active(content, name="a", os_distro="debian", kernel_id="k", visibility="private")
    client = GlanceClient(FixedSession(base))
    shown = client.show(image["id"])
    assert (shown.name, shown.status, shown.size) == ("a", "active", len(content))
    assert shown.kernel_id == "k" and shown.properties["os_distro"] == "debian"
    assert shown.os_hash_value == image["os_hash_value"] and shown.project_id == "mine"
    assert b"".join(client.read(image["id"])) == content
    with pytest.raises(ImageMissing):
        client.show(image["id"], user_token="other:member")
    with pytest.raises(ImageMissing):
        list(client.read(image["id"], user_token="other:member"))


def test_client_creates_and_deletes(cloud, base):
    client = GlanceClient(FixedSession(base))
    made = client.create({"name": "snapshot"}, user_token="mine:member")
    assert made.status == "queued"
    with pytest.raises(ImageRefused):
        client.create({"visibility": "public"}, user_token="mine:member")
    client.delete(made.id, user_token="mine:member")
    client.delete(made.id, user_token="mine:member")


def test_upload_and_download_stream_over_a_port(cloud, base):
    image = cloud.create()
    url, headers = f"{base}{image['file']}", {"x-auth-token": "mine:member"}
    chunks = [bytes([n]) * 300_000 for n in range(20)]
    octets = {**headers, "content-type": "application/octet-stream"}
    assert httpx.put(url, headers=octets, content=iter(chunks)).status_code == 204
    assert httpx.get(url, headers=headers).content == b"".join(chunks)
    part = httpx.get(url, headers={**headers, "range": "bytes=299999-300000"})
    assert (part.status_code, part.content) == (206, b"\x00\x01")
    head = httpx.head(url, headers=headers)
    assert head.headers["content-length"] == "6000000" and head.content == b""


def test_client_that_hangs_up_leaves_the_image_queued(cloud, base):
    image = cloud.create()
    host, _, port = base.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(
            f"PUT {image['file']} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: mine:member\r\n"
            "Content-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\nhalf".encode()
        )
        eventually(lambda: cloud.show(image["id"])["status"] == "saving")
    eventually(lambda: cloud.show(image["id"])["status"] == "queued")
    assert not cloud.kept() and cloud.unpublished() == 0

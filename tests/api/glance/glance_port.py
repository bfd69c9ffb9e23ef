"""The Image API of a test behind a real port."""

import contextlib
import socket

import httpx

from gureum.core.http.edge import App, Pools
from gureum.core.listen import HttpListeners
from gureum.core.metrics import Metrics
from gureum.glance.front import Front


@contextlib.contextmanager
def served(cloud):
    """Yield the URL at which a cloud answers."""
    pools = Pools(2, 4)
    listeners = HttpListeners(Metrics("test"), dict, drain_s=1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    listeners.mount("glance-api", "127.0.0.1", port, App(Front(cloud.dispatcher), pools))
    listeners.open()
    listeners.serve()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        listeners.drain()
        pools.close()


class Person:
    """Somebody who talks to the port with a token."""

    def __init__(self, base, token="mine:member", **headers):
        sent = {"x-auth-token": token, "accept": "application/json", **headers}
        self.http = httpx.Client(base_url=base, headers=sent, timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.http.close()

    def create(self, disk_format="raw", container_format="bare", **values):
        body = {"disk_format": disk_format, "container_format": container_format, **values}
        answer = self.http.post("/v2/images", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def send(self, id, content, verb="file", **headers):
        sent = {"content-type": "application/octet-stream", **headers}
        return self.http.put(f"/v2/images/{id}/{verb}", content=content, headers=sent)

    def show(self, id):
        answer = self.http.get(f"/v2/images/{id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def active(self, content, **values):
        id = self.create(**values)
        answer = self.send(id, content)
        assert answer.status_code == 204, answer.text
        return id

    def read(self, id):
        return self.http.get(f"/v2/images/{id}/file")

    def patch(self, id, *steps):
        media = {"content-type": "application/openstack-images-v2.1-json-patch"}
        return self.http.patch(f"/v2/images/{id}", json=list(steps), headers=media)

    def bring(self, id, method, **details):
        body = {"method": {"name": method, **details}}
        return self.http.post(f"/v2/images/{id}/import", json=body)

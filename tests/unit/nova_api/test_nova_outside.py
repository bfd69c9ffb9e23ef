"""What Nova makes of the image service's answers, and what Neutron tells Nova."""

import json
import queue

import pytest

from gureum.core.context import anonymous
from gureum.core.http.client import HttpReply, RemoteUnavailable
from gureum.core.spec.errors import ServiceUnavailable
from gureum.neutron.components import NovaNotifier
from gureum.nova.outside import GlanceImages, ImageFacts

IMAGE = {
    "id": "i1", "name": "disk", "status": "active", "visibility": "public", "owner": "p1",
    "size": 512, "virtual_size": None, "min_disk": 1, "min_ram": 64, "disk_format": "ami",
    "container_format": "ami", "checksum": "c", "os_hash_algo": "sha512", "os_hash_value": "h",
    "tags": ["a"], "protected": False, "os_hidden": False, "created_at": "x", "updated_at": "y",
    "self": "/v2", "file": "/v2", "schema": "/v2", "stores": "file", "locations": [],
    "direct_url": "file:///secret", "kernel_id": "k1", "ramdisk_id": "r1",
    "hw_disk_bus": "scsi", "os_admin_user": None,
}  # fmt: skip


class Session:
    """Answers every call alike and keeps what was asked."""

    def __init__(self, status, body=None, error=None):
        self.reply = HttpReply(status, {}, json.dumps(body).encode() if body is not None else b"")
        self.error = error
        self.asked = queue.SimpleQueue()

    def request(self, method, service, path, **more):
        self.asked.put((method, service, path, more.get("json")))
        if self.error is not None:
            raise self.error
        return self.reply


def test_image_is_read_as_facts_without_what_is_not_its_property():
    found = GlanceImages(Session(200, IMAGE)).get(anonymous(), "i1")
    assert found == ImageFacts(
        "i1", "disk", "active", 512, 0, 1, 64, "ami", "ami", "c", "sha512", "h", "k1", "r1",
        {"hw_disk_bus": "scsi"},
    )  # fmt: skip


@pytest.mark.parametrize("status", [400, 403, 404])
def test_image_that_the_caller_may_not_see_is_none(status):
    assert GlanceImages(Session(status, {"message": "no"})).get(anonymous(), "i1") is None


@pytest.mark.parametrize("status", [401, 500, 503])
def test_image_service_that_fails_is_503(status):
    with pytest.raises(ServiceUnavailable, match="does not answer as it should"):
        GlanceImages(Session(status, {"message": "no"})).get(anonymous(), "i1")


def test_image_service_that_is_away_is_503():
    with pytest.raises(ServiceUnavailable, match="cannot be reached"):
        GlanceImages(Session(0, error=RemoteUnavailable("away"))).get(anonymous(), "i1")


@pytest.mark.parametrize("status", [200, 207, 404, 500])
def test_ports_are_told_to_nova_and_the_next_ones_too_whatever_it_answers(status):
    session = Session(status, {"events": [{"code": 200}]} if status < 300 else {"error": "no"})
    notifier = NovaNotifier(session)
    try:
        for port_id in ("p1", ""):
            notifier.send("network-vif-plugged", "s1", port_id, "")
            method, service, path, body = session.asked.get(timeout=10)
            assert (method, service, path) == ("POST", "compute", "/os-server-external-events")
            event = {"name": "network-vif-plugged", "server_uuid": "s1", "status": "completed"}
            assert body == {"events": [event | ({"tag": port_id} if port_id else {})]}
    finally:
        notifier.close()

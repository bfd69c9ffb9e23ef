"""What a whole simulated cloud tells about its resources: the names and payloads that billing reads."""

import json
from pathlib import Path
from typing import Any

import pytest
from waiting import eventually

from gureum import components
from gureum.testing import Cloud

pytestmark = pytest.mark.timeout(120)


class Told:
    """The cloud, its administrator, and the file of events."""

    def __init__(self, cloud: Cloud, path: Path) -> None:
        self.cloud = cloud
        self.admin: Any = cloud.connect()
        self.path = path

    def events(self) -> list[dict[str, Any]]:
        text = self.path.read_text() if self.path.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def wait(self, event_type: str, *words: str) -> dict[str, Any]:
        """Return the event of a type whose payload names some words."""

        def found() -> dict[str, Any] | None:
            return next((event for event in self.events() if self._is(event, event_type, words)), None)

        event: dict[str, Any] = eventually(found, what=f"no {event_type} with {words}")
        return event

    @staticmethod
    def _is(event: dict[str, Any], event_type: str, words: tuple[str, ...]) -> bool:
        text = json.dumps(event["payload"])
        return event["event_type"] == event_type and all(word in text for word in words)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    path = tmp_path_factory.mktemp("told") / "events.jsonl"
    options = {"notifications": {"driver": ["log"], "file": str(path)}}
    with Cloud(options=options) as cloud:
        yield Told(cloud, path)


def test_network_nouns_are_told_whole(told):
    network = told.admin.network.create_network(name="net1")
    event = told.wait("network.create.end", network.id)
    assert event["publisher_id"].startswith("network.")
    assert event["payload"]["network"]["name"] == "net1"
    assert event["request_id"].startswith("req-") and event["project_id"]
    told.admin.network.update_network(network, name="net2")
    assert told.wait("network.update.end", "net2")["payload"]["network"]["id"] == network.id
    told.admin.network.delete_network(network)
    gone = told.wait("network.delete.end", network.id)["payload"]
    assert gone["network_id"] == network.id
    assert gone["network"]["id"] == network.id and gone["network"]["project_id"]


def test_bulk_tags_and_router_interfaces_are_told(told):
    network = told.admin.network
    made = network.post("/networks", json={"networks": [{"name": "b1"}, {"name": "b2"}]}).json()
    event = told.wait("network.create.end", "b1", "b2")
    assert len(event["payload"]["networks"]) == 2
    net_id = made["networks"][0]["id"]
    subnet = network.create_subnet(network_id=net_id, ip_version=4, cidr="10.7.0.0/24")
    router = network.create_router(name="r1")
    network.add_interface_to_router(router, subnet_id=subnet.id)
    told.wait("router.interface.create", router.id, subnet.id)
    network.remove_interface_from_router(router, subnet_id=subnet.id)
    told.wait("router.interface.delete", router.id, subnet.id)
    network.set_tags(router, ["red"])
    tags = told.wait("tag.update.end", router.id)["payload"]
    assert tags == {"parent_resource": "router", "parent_resource_id": router.id, "tags": ["red"]}


def test_refused_operation_is_not_told(told):
    answer = told.admin.network.post("/networks", json={"network": {"name": "no", "mtu": -7}})
    assert answer.status_code == 400
    marker = told.admin.network.create_network(name="after-no")
    told.wait("network.create.end", marker.id)
    assert not [e for e in told.events() if (e["payload"].get("network") or {}).get("name") == "no"]


def test_identity_nouns_are_audit_records_without_secrets(told):
    identity = told.admin.identity
    project = identity.create_project(name="billed", domain_id="default")
    event = told.wait("identity.project.created", project.id)
    payload = event["payload"]
    assert payload["resource_info"] == payload["target"]["id"] == project.id
    assert payload["target"]["typeURI"] == "data/security/project"
    assert (payload["action"], payload["outcome"]) == ("created.project", "success")
    assert payload["initiator"]["id"]
    user = identity.create_user(name="ann", password="hush-hush", domain_id="default")
    told.wait("identity.user.created", user.id)
    member = identity.find_role("member", ignore_missing=False)
    identity.assign_project_role_to_user(project, user, member)
    grant = told.wait("identity.role_assignment.created", user.id)["payload"]
    assert (grant["role"], grant["project"], grant["user"]) == (member.id, project.id, user.id)
    group = identity.create_group(name="g", domain_id="default")
    identity.add_user_to_group(user, group)
    told.wait("identity.group.updated", group.id, user.id, "added")
    credential = identity.create_application_credential(
        told.admin.current_user_id, "app", secret="very-secret"
    )
    told.wait("identity.application_credential.created", credential.id)
    identity.delete_user(user)
    told.wait("identity.user.deleted", user.id)
    assert "hush-hush" not in told.path.read_text()
    assert "very-secret" not in told.path.read_text()


def test_images_are_told_from_record_to_bytes(told):
    image = told.admin.image.create_image(
        name="disk", data=b"\0" * 512, disk_format="raw", container_format="bare"
    )
    told.wait("image.create", image.id)
    uploaded = told.wait("image.upload", image.id)["payload"]
    assert (uploaded["size"], uploaded["status"]) == (512, "active")
    told.wait("image.activate", image.id)
    told.admin.image.update_image(image, name="disc")
    told.wait("image.update", "disc")
    told.admin.image.add_tag(image, "red")
    told.wait("image.update", image.id, "red")
    told.admin.image.delete_image(image)
    assert told.wait("image.delete", image.id)["payload"]["deleted"] is True


def test_imported_image_is_told_when_it_has_its_bytes(told):
    api = told.admin.image
    image = api.post("/images", json={
        "name": "imp", "disk_format": "raw", "container_format": "bare"}).json()  # fmt: skip
    api.put(f"/images/{image['id']}/stage", data=b"\0" * 512,
            headers={"Content-Type": "application/octet-stream"})  # fmt: skip
    body = {"method": {"name": "glance-direct"}}
    assert api.post(f"/images/{image['id']}/import", json=body).status_code == 202
    assert told.wait("image.activate", image["id"])["payload"]["size"] == 512


def test_server_verbs_are_told_from_start_to_end(told):
    compute = told.admin.compute
    network = told.admin.network.create_network(name="cards")
    told.admin.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.9.0.0/24")
    image = told.admin.image.find_image("gureum-guest", ignore_missing=False)
    flavor = compute.find_flavor("g1", ignore_missing=False)
    server = compute.create_server(
        name="billed", image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}],
        metadata={"team": "blue"}, admin_password="pass-word",
    )  # fmt: skip
    told.wait("compute.instance.create.start", server.id)
    event = told.wait("compute.instance.create.end", server.id)
    assert event["publisher_id"].startswith("compute.")
    payload = event["payload"]
    assert payload["state"] == "active" and payload["host"] and payload["launched_at"]
    assert (payload["instance_type"], payload["memory_mb"]) == (flavor.name, flavor.ram)
    assert payload["metadata"] == {"team": "blue"}
    compute.stop_server(server)
    assert told.wait("compute.instance.power_off.end", server.id)["payload"]["state"] == "stopped"
    compute.update_server(server, name="renamed")
    told.wait("compute.instance.update", "renamed")
    compute.delete_server(server)
    told.wait("compute.instance.delete.start", server.id)
    assert told.wait("compute.instance.delete.end", server.id)["payload"]["deleted_at"]
    assert "pass-word" not in told.path.read_text()


def test_build_without_a_host_is_told_as_an_error(told):
    compute = told.admin.compute
    flavor = compute.create_flavor(name="huge", ram=1024, vcpus=1, disk=9999)
    image = told.admin.image.find_image("gureum-guest", ignore_missing=False)
    server = compute.create_server(
        name="none", image_id=image.id, flavor_id=flavor.id, networks="none"
    )
    event = told.wait("compute.instance.create.error", server.id)
    assert (event["priority"], event["payload"]["state"]) == ("ERROR", "error")
    compute.delete_server(server)


def test_key_pairs_groups_and_aggregates_are_told_without_keys(told):
    compute = told.admin.compute
    key = compute.create_keypair(name="k1")
    told.wait("keypair.create.end", "k1")
    assert key.private_key.splitlines()[1] not in told.path.read_text()
    compute.delete_keypair("k1")
    told.wait("keypair.delete.end", "k1")
    group = compute.create_server_group(name="sg", policy="affinity")
    told.wait("servergroup.create", group.id)
    compute.delete_server_group(group)
    told.wait("servergroup.delete", group.id)
    aggregate = compute.create_aggregate(name="rack1")
    told.wait("aggregate.create.end", "rack1")
    compute.set_aggregate_metadata(aggregate, {"ssd": "true"})
    told.wait("aggregate.updatemetadata.end", "ssd")
    compute.delete_aggregate(aggregate)
    told.wait("aggregate.delete.end", str(aggregate.id))


@pytest.mark.parametrize("service", [s for s in components.services() if s.notices is not None],
                         ids=lambda s: s.name)  # fmt: skip
def test_every_noun_that_can_be_made_is_told_when_it_is_made(service):
    """A new noun must be announced, or be named here with its reason."""
    silent = {
        # tokens, assertions and keys for others: what is made is a secret, not a resource
        "create_token", "create_saml_assertion", "create_ecp_assertion", "create_request_token",
        "create_access_token", "create_oauth2_token", "create_ec2_token", "create_s3_token",
        "create_ec2_credential", "create_implied_role", "create_domain_config",
        # what a saga tells when it is done
        "create_server",
        # the older names of an upload; the cache
        "create_task",
        # no unversioned event is known for them
        "create_flavor", "create_extra_specs", "create_remote_console", "create_external_events",
    }  # fmt: skip
    assert service.notices is not None
    making = [op for op in service.operations if op.name.startswith("create_")]
    missing = {op.name for op in making if service.notices.of(op) is None}
    assert missing <= silent, missing - silent

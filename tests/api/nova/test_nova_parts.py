"""Metadata, tags, addresses, ports, security groups, passwords and counters of servers."""

import pytest
from nova_cloud import GROUP, NET, SECOND_NET

from gureum.nova.guest_metadata import GuestMetadata
from gureum.nova.metadata.config import MetadataOptions
from gureum.nova.outside import GroupFacts, NetworkFacts


def test_metadata_is_read_and_written(cloud):
    server_id = cloud.up(metadata={"a": "1"})
    path = f"/servers/{server_id}/metadata"
    assert cloud("GET", path).body == {"metadata": {"a": "1"}}
    assert cloud("POST", path, {"metadata": {"b": "2"}}).body == {"metadata": {"a": "1", "b": "2"}}
    assert cloud("PUT", path, {"metadata": {"c": "3"}}).body == {"metadata": {"c": "3"}}
    assert cloud("PUT", f"{path}/d", {"meta": {"d": "4"}}).body == {"meta": {"d": "4"}}
    assert cloud("GET", f"{path}/d").body == {"meta": {"d": "4"}}
    assert cloud("DELETE", f"{path}/d").status == 204
    assert cloud("DELETE", f"{path}/d").status == 404
    assert cloud("GET", f"{path}/d").status == 404
    assert cloud("PUT", f"{path}/d", {"meta": {"e": "4"}}).status == 400
    assert cloud("PUT", f"{path}/d", {"meta": {"d": "4", "e": "5"}}).status == 400
    assert cloud("POST", path, {"metadata": {"x" * 256: "1"}}).status == 400
    assert cloud("POST", path, {"metadata": None}).status == 400
    assert cloud("PUT", path, {"metadata": {"a": "1"}}, token="reader").status == 403
    many = {str(number): "v" for number in range(129)}
    assert cloud("PUT", path, {"metadata": many}).status == 403


def test_metadata_of_a_building_server_is_409(cloud):
    server_id = cloud.create()
    path = f"/servers/{server_id}/metadata"
    assert cloud("POST", path, {"metadata": {"a": "1"}}).status == 409
    assert cloud("GET", path).status == 200


def test_tags_are_read_and_written(cloud):
    cloud.version = "2.26"
    server_id = cloud.up()
    path = f"/servers/{server_id}/tags"
    assert cloud("GET", path).body == {"tags": []}
    assert cloud("PUT", path, {"tags": ["b", "a"]}).body == {"tags": ["a", "b"]}
    added = cloud("PUT", f"{path}/c")
    assert (added.status, added.headers["location"].endswith("/tags/c")) == (201, True)
    assert cloud("PUT", f"{path}/c").status == 204
    assert cloud("GET", f"{path}/c").status == 204
    assert cloud("GET", f"{path}/d").status == 404
    assert cloud("DELETE", f"{path}/c").status == 204
    assert cloud("DELETE", f"{path}/c").status == 404
    for bad in ("x" * 61, "a,b"):
        assert cloud("PUT", f"{path}/{bad}").status == 400
        assert cloud("PUT", path, {"tags": [bad]}).status == 400
    assert cloud("PUT", path, {"tags": [str(number) for number in range(51)]}).status == 400
    assert cloud("PUT", path, {"tags": [str(number) for number in range(50)]}).status == 200
    assert cloud("PUT", f"{path}/more").status == 400
    assert cloud("DELETE", path).status == 204
    assert cloud("GET", path).body == {"tags": []}
    assert cloud("GET", path, version="2.25").status == 404


def test_addresses_by_network(cloud):
    server_id = cloud.up()
    cloud.plug(server_id, floating="172.24.4.9")
    path = f"/servers/{server_id}/ips"
    shown = [{"version": 4, "addr": "10.1.0.5"}, {"version": 4, "addr": "172.24.4.9"}]
    assert cloud("GET", path).body == {"addresses": {"private": shown}}
    assert cloud("GET", f"{path}/private").body == {"private": shown}
    assert cloud("GET", f"{path}/other").status == 404


def test_ports_are_listed_and_shown(cloud):
    server_id = cloud.up()
    port_id = cloud.plug(server_id)
    path = f"/servers/{server_id}/os-interface"
    [shown] = cloud("GET", path)["interfaceAttachments"]
    assert shown == {
        "port_id": port_id,
        "net_id": NET,
        "mac_addr": "fa:16:3e:00:00:01",
        "port_state": "ACTIVE",
        "fixed_ips": [{"subnet_id": "s", "ip_address": "10.1.0.5"}],
    }
    one = cloud("GET", f"{path}/{port_id}", version="2.70")["interfaceAttachment"]
    assert one["tag"] == "nic1"
    assert cloud("GET", f"{path}/{SECOND_NET}").status == 404


def test_port_is_unplugged_by_a_saga(cloud):
    server_id = cloud.up()
    port_id = cloud.plug(server_id)
    path = f"/servers/{server_id}/os-interface"
    assert cloud("DELETE", f"{path}/{SECOND_NET}").status == 404
    assert cloud("DELETE", f"{path}/{port_id}").status == 202
    saga = cloud.sagas(server_id)[-1]
    assert saga.name == "nova.server.interface-detach"
    assert port_id.encode() in saga.params
    assert cloud("DELETE", f"{path}/{port_id}").status == 409


def test_plugging_is_answered_when_it_is_done(cloud, monkeypatch):
    from gureum.nova.logic import interfaces

    server_id = cloud.up()
    path = f"/servers/{server_id}/os-interface"

    def run(deps, server, saga_id):
        [saga] = [saga for saga in cloud.sagas(server_id) if saga.id == saga_id]
        assert saga.name == "nova.server.interface-attach"
        assert NET.encode() in saga.params
        cloud.finish(server_id)
        return cloud.plug(server_id)

    monkeypatch.setattr(interfaces, "_wait", run)
    answer = cloud("POST", path, {"interfaceAttachment": {"net_id": NET}})
    assert answer.status == 200
    assert answer["interfaceAttachment"]["net_id"] == NET
    assert cloud("POST", path).status == 200, "without a body: the only network"
    for bad in (
        {"net_id": NET, "port_id": NET},
        {"fixed_ips": [{"ip_address": "10.1.0.9"}]},
        {"net_id": SECOND_NET},
        {"port_id": SECOND_NET},
        {"net_id": "x"},
    ):
        assert cloud("POST", path, {"interfaceAttachment": bad}).status == 400, bad


def test_tag_of_a_plugged_port_since_2_49(cloud, monkeypatch):
    from gureum.nova.logic import interfaces

    server_id = cloud.up()

    def run(deps, server, saga_id):
        assert b'"tag":"t"' in cloud.sagas(server_id)[-1].params
        cloud.finish(server_id)
        return cloud.plug(server_id)

    monkeypatch.setattr(interfaces, "_wait", run)
    body = {"interfaceAttachment": {"net_id": NET, "tag": "t"}}
    path = f"/servers/{server_id}/os-interface"
    assert cloud("POST", path, body, version="2.48").status == 400
    assert cloud("POST", path, body, version="2.49").status == 200


def test_failed_plugging_says_so(cloud, monkeypatch):
    from gureum.nova.logic import interfaces

    server_id = cloud.up()
    monkeypatch.setattr(
        interfaces.time, "sleep", lambda seconds: cloud.finish(server_id, state="failed")
    )
    answer = cloud("POST", f"/servers/{server_id}/os-interface",
                   {"interfaceAttachment": {"net_id": NET}})  # fmt: skip
    assert answer.status == 500
    assert "Failed to attach" in answer["computeFault"]["message"]


def test_security_groups_of_a_server(cloud):
    server_id = cloud.up()
    cloud.plug(server_id)
    other = SECOND_NET
    cloud.networks.known_groups[other] = GroupFacts(
        other, "db", "a" * 32, "", ({"id": "r", "direction": "ingress", "protocol": "tcp",
                                     "port_range_min": 22, "port_range_max": 22,
                                     "remote_ip_prefix": "0.0.0.0/0"},),
    )  # fmt: skip
    path = f"/servers/{server_id}"
    add = {"addSecurityGroup": {"name": "db"}}
    assert cloud("POST", f"{path}/action", add).status == 202
    found = cloud("GET", f"{path}/os-security-groups")["security_groups"]
    assert {group["name"] for group in found} == {"web", "db"}
    rule = next(group for group in found if group["name"] == "db")["rules"][0]
    assert (rule["from_port"], rule["ip_range"]) == (22, {"cidr": "0.0.0.0/0"})
    remove = {"removeSecurityGroup": {"name": GROUP}}
    assert cloud("POST", f"{path}/action", remove).status == 202
    assert cloud("POST", f"{path}/action", remove).status == 404
    shown = cloud("GET", path)["server"]["security_groups"]
    assert shown == [{"name": "db"}]
    assert cloud("POST", f"{path}/action", {"addSecurityGroup": {"name": "no"}}).status == 404


def test_password_is_shown_and_cleared(cloud):
    server_id = cloud.up()
    path = f"/servers/{server_id}/os-server-password"
    assert cloud("GET", path).body == {"password": ""}
    guests = GuestMetadata(cloud.deps.api, cloud.deps.cells, MetadataOptions(), "nova")
    assert guests.store_password(server_id, "encrypted")
    assert not guests.store_password(server_id, "again")
    assert cloud("GET", path).body == {"password": "encrypted"}
    assert cloud("DELETE", path, token="reader").status == 403
    assert cloud("DELETE", path).status == 204
    assert cloud("GET", path).body == {"password": ""}


def test_counters_in_both_shapes(cloud):
    server_id = cloud.up()
    path = f"/servers/{server_id}/diagnostics"
    assert cloud("GET", path).status == 403
    assert cloud("GET", path, token="admin")["vcpu.0.time"] == 17
    shown = cloud("GET", path, token="admin", version="2.48").body
    assert shown["cpu_details"] == [{"id": 0, "time": 17, "utilisation": None}]
    assert shown["memory_details"] == {"maximum": 512, "used": 128}
    assert shown["nic_details"][0]["rx_octets"] == 5
    assert shown["state"] == "running"


def test_events_of_the_network_service_are_hints(cloud):
    server_id = cloud.up()
    building = cloud.create()
    missing = SECOND_NET
    events = [
        {"name": "network-changed", "server_uuid": server_id, "tag": "p"},
        {"name": "network-vif-plugged", "server_uuid": building},
        {"name": "network-changed", "server_uuid": missing},
    ]
    path = "/os-server-external-events"
    assert cloud("POST", path, {"events": events}).status == 403
    answer = cloud("POST", path, {"events": events}, token="service")
    assert answer.status == 207
    assert [event["code"] for event in answer["events"]] == [200, 422, 404]
    assert cloud.refreshed == [server_id]
    assert cloud("POST", path, {"events": events[:1]}, token="service").status == 200
    for bad in ([], [{"name": "other", "server_uuid": server_id}], [{"name": "network-changed"}]):
        assert cloud("POST", path, {"events": bad}, token="service").status == 400


# -- what a guest reads ----------------------------------------------------------------------------


@pytest.fixture
def guests(cloud):
    return GuestMetadata(cloud.deps.api, cloud.deps.cells, MetadataOptions(), "nova")


def test_guest_reads_its_own_metadata(cloud, guests):
    server_id = cloud.up(metadata={"role": "web"}, user_data="aGk=")
    cloud.plug(server_id, "10.1.0.7")
    found = guests.lookup(server_id, "a" * 32, "10.1.0.7")
    assert found is not None
    assert (found.server_id, found.metadata, found.user_data) == (
        server_id,
        {"role": "web"},
        "aGk=",
    )
    assert found.availability_zone == "nova"


def test_guessed_id_opens_nothing(cloud, guests):
    """Abuse case 37."""
    server_id = cloud.up()
    cloud.plug(server_id, "10.1.0.7")
    assert guests.lookup(server_id, "b" * 32, "10.1.0.7") is None
    assert guests.lookup(server_id, "a" * 32, "10.1.0.8") is None
    assert guests.lookup(SECOND_NET, "a" * 32, "10.1.0.7") is None
    cloud.gone(server_id)
    assert guests.lookup(server_id, "a" * 32, "10.1.0.7") is None


def test_server_and_its_groups_are_shown_without_asking_the_network_service(cloud):
    bare, plugged = cloud.up(), cloud.up()
    cloud.plug(plugged)
    before = cloud.networks.questions
    assert "security_groups" not in cloud("GET", f"/servers/{bare}")["server"]
    assert cloud("GET", f"/servers/{plugged}")["server"]["security_groups"] == [{"name": "web"}]
    shown = {s["id"]: s for s in cloud("GET", "/servers/detail")["servers"]}
    assert shown[plugged]["security_groups"] == [{"name": "web"}]
    assert cloud.networks.questions == before


def test_network_of_nobody_is_not_found(cloud):
    cloud.networks.nets[SECOND_NET] = NetworkFacts(SECOND_NET, "x", "b" * 32, subnets=("t",))
    server = {"name": "a", "flavorRef": "1", "imageRef": "1" * 8 + "-1111-4111-8111-" + "1" * 12}
    body = {"server": {**server, "networks": [{"uuid": SECOND_NET}]}}
    assert cloud("POST", "/servers", body).status == 400

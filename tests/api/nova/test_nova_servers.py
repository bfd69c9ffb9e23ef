"""Servers through the API: creating, listing, showing, updating, deleting."""

import pytest
from nova_cloud import BIG_IMAGE, GROUP, IMAGE, KEY, NET, QUEUED_IMAGE, SECOND_NET

from gureum.nova.outside import NetworkFacts, PortFacts


def body(**values):
    return {"server": {"name": "a", "flavorRef": "1", "imageRef": IMAGE, **values}}


def test_create_answers_at_once_and_submits_a_saga(cloud):
    answer = cloud("POST", "/servers", body(adminPass="secret"))
    assert answer.status == 202
    server = answer["server"]
    assert set(server) == {"id", "links", "adminPass", "OS-DCF:diskConfig", "security_groups"}
    assert server["adminPass"] == "secret"
    assert answer.headers["location"] == f"http://cloud:8774/v2.1/servers/{server['id']}"
    assert {link["rel"] for link in server["links"]} == {"self", "bookmark"}
    [saga] = cloud.sagas(server["id"])
    assert (saga.name, saga.state) == ("nova.server.create", "running")
    shown = cloud("GET", f"/servers/{server['id']}")["server"]
    assert shown["status"] == "BUILD"
    assert shown["OS-EXT-STS:vm_state"] == "building"
    assert shown["OS-EXT-STS:task_state"] == "scheduling"
    assert shown["hostId"] == ""


def test_server_that_is_up_is_active(cloud):
    server_id = cloud.up(metadata={"k": "v"})
    cloud.plug(server_id, floating="172.24.4.9")
    server = cloud("GET", f"/servers/{server_id}")["server"]
    assert server["status"] == "ACTIVE"
    assert server["OS-EXT-STS:task_state"] is None
    assert server["metadata"] == {"k": "v"}
    assert server["OS-EXT-AZ:availability_zone"] == "nova"
    assert server["image"]["id"] == IMAGE
    assert server["flavor"]["id"] == "1"
    assert server["security_groups"] == [{"name": "web"}]
    assert len(server["hostId"]) == 56
    assert [(a["addr"], a["OS-EXT-IPS:type"]) for a in server["addresses"]["private"]] == [
        ("10.1.0.5", "fixed"),
        ("172.24.4.9", "floating"),
    ]
    assert "OS-EXT-SRV-ATTR:host" not in server
    shown = cloud("GET", f"/servers/{server_id}", token="admin")["server"]
    assert shown["OS-EXT-SRV-ATTR:host"] == "one"
    assert shown["OS-EXT-SRV-ATTR:instance_name"].startswith("instance-0000")


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"flavorRef": "nope"}, 400, "Flavor nope could not be found"),
        ({"imageRef": "nope"}, 400, "Invalid imageRef"),
        ({"imageRef": ""}, 400, "Invalid imageRef"),
        ({"imageRef": "99999999-9999-4999-8999-999999999999"}, 400, "Can not find"),
        ({"imageRef": QUEUED_IMAGE}, 400, "not active"),
        ({"imageRef": BIG_IMAGE}, 400, "memory is too small"),
        ({"name": ""}, 400, "too short"),
        ({"name": "x" * 256}, 400, "too long"),
        ({"name": " a"}, 400, "blank"),
        ({"key_name": "nope"}, 400, "Invalid key_name"),
        ({"user_data": "not base64!"}, 400, "base64"),
        ({"user_data": "QUJD" * 20000}, 400, "User data too large"),
        ({"metadata": {"k": 5}}, 400, "metadata"),
        ({"metadata": {"": "v"}}, 400, "metadata"),
        ({"metadata": {"k" * 300: "v"}}, 400, "metadata"),
        ({"min_count": 3, "max_count": 2}, 400, "min_count"),
        ({"min_count": 0}, 400, "min_count"),
        ({"availability_zone": "nowhere"}, 400, "availability zone"),
        ({"availability_zone": "nova:one"}, 403, "Policy doesn't allow"),
        ({"networks": [{"uuid": SECOND_NET}]}, 400, "could not be found"),
        ({"networks": [{"port": SECOND_NET}]}, 400, "could not be found"),
        ({"networks": [{}]}, 400, "networks"),
        ({"networks": [{"uuid": NET, "fixed_ip": "999"}]}, 400, "IP address"),
        ({"security_groups": [{"name": "nope"}]}, 400, "Security group nope not found"),
        ({"accessIPv4": "x"}, 400, "accessIPv4"),
        ({"OS-DCF:diskConfig": "other"}, 400, "diskConfig"),
        ({"block_device_mapping": [{"volume_id": "v"}]}, 400, "Block storage"),
        (
            {"block_device_mapping_v2": [
                {"boot_index": 0, "uuid": IMAGE, "source_type": "volume",
                 "destination_type": "volume"}]},
            400,
            "Block storage",
        ),
        ({"personality": [{"path": "/a", "contents": "%%"}]}, 400, "base64"),
        ({"unknown": 1}, 400, "unknown"),
        ({"description": "d"}, 400, "description"),
    ],
)  # fmt: skip
def test_bad_create_is_refused_and_leaves_nothing(cloud, change, status, text):
    answer = cloud("POST", "/servers", body(**change))
    assert answer.status == status, answer.body
    [(name, fault)] = answer.body.items()
    assert name == {400: "badRequest", 403: "forbidden"}[status]
    assert fault["code"] == status
    assert text in fault["message"]
    assert cloud("GET", "/servers").body == {"servers": []}
    assert cloud("GET", "/limits")["limits"]["absolute"]["totalInstancesUsed"] == 0


def test_names_of_two_megabytes_are_refused(cloud):
    assert cloud("POST", "/servers", body(name="x" * 2_000_000)).status == 413
    assert cloud("POST", "/servers", raw=b"{").status == 400


def test_personas_may_create_or_not(cloud):
    assert cloud("POST", "/servers", body(), token="reader").status == 403
    assert cloud("POST", "/servers", body(), token="nobody").status == 403
    assert cloud("POST", "/servers", body(), token=None).status == 401
    assert cloud("POST", "/servers", body(), token="wrong").status == 401


def test_several_networks_are_ambiguous(cloud):
    cloud.networks.nets[SECOND_NET] = NetworkFacts(SECOND_NET, "second", "a" * 32, subnets=("t",))
    answer = cloud("POST", "/servers", body())
    assert answer.status == 409
    assert "Multiple possible networks" in answer["conflictingRequest"]["message"]
    assert cloud("POST", "/servers", body(networks=[{"uuid": SECOND_NET}])).status == 202


def test_networks_are_required_since_2_37(cloud):
    assert cloud("POST", "/servers", body(), version="2.37").status == 400
    for wanted in ("auto", "none", [{"uuid": NET}]):
        assert cloud("POST", "/servers", body(networks=wanted), version="2.37").status == 202
    assert cloud("POST", "/servers", body(networks="auto"), version="2.36").status == 400


def test_port_of_another_server_is_409(cloud):
    port = "88888888-8888-4888-8888-888888888888"
    fixed = ({"subnet_id": "s", "ip_address": "10.1.0.9"},)
    cloud.networks.known_ports[port] = PortFacts(port, NET, "somebody", fixed_ips=fixed)
    assert cloud("POST", "/servers", body(networks=[{"port": port}])).status == 409
    cloud.networks.known_ports[port] = PortFacts(port, NET, fixed_ips=fixed)
    assert cloud("POST", "/servers", body(networks=[{"port": port}])).status == 202


def test_external_network_is_for_administrators(cloud):
    external = NetworkFacts(SECOND_NET, "public", "c" * 32, external=True, subnets=("x",))
    cloud.networks.nets[SECOND_NET] = external
    wanted = body(networks=[{"uuid": SECOND_NET}])
    assert cloud("POST", "/servers", wanted).status == 403
    assert cloud("POST", "/servers", wanted, token="admin").status == 202
    assert cloud("POST", "/servers", body()).status == 202, "it is not chosen by itself"


def test_many_servers_get_numbers_and_one_reservation(cloud):
    answer = cloud("POST", "/servers", body(min_count=2, max_count=3, return_reservation_id=True))
    reservation = answer["reservation_id"]
    found = cloud("GET", f"/servers?reservation_id={reservation}")["servers"]
    assert sorted(server["name"] for server in found) == ["a-1", "a-2", "a-3"]


def test_key_pair_is_copied_into_the_server(cloud):

    cloud("POST", "/os-keypairs", {"keypair": {"name": "mine", "public_key": KEY}})
    server_id = cloud.up(key_name="mine")
    assert cloud("DELETE", "/os-keypairs/mine").status == 202
    assert cloud("GET", f"/servers/{server_id}")["server"]["key_name"] == "mine"


def test_requested_destination_needs_an_administrator_and_a_known_host(cloud):
    wanted = body(networks="none", host="one")
    assert cloud("POST", "/servers", wanted, version="2.74").status == 403
    assert cloud("POST", "/servers", wanted, version="2.74", token="admin").status == 202
    wanted = body(networks="none", host="nowhere")
    assert cloud("POST", "/servers", wanted, version="2.74", token="admin").status == 400
    both = body(networks="none", host="one", availability_zone="nova:one")
    assert cloud("POST", "/servers", both, version="2.74", token="admin").status == 400


def test_another_project_sees_nothing(cloud):
    server_id = cloud.up()
    for method, path, data in (
        ("GET", "", None),
        ("PUT", "", {"server": {"name": "b"}}),
        ("DELETE", "", None),
        ("GET", "/ips", None),
        ("GET", "/metadata", None),
        ("GET", "/os-instance-actions", None),
        ("GET", "/os-interface", None),
        ("POST", "/action", {"os-stop": None}),
        ("POST", "/action", {"os-getConsoleOutput": {}}),
    ):
        answer = cloud(method, f"/servers/{server_id}{path}", data, token="other")
        assert answer.status == 404, (method, path)
        assert answer["itemNotFound"]["message"] == f"Instance {server_id} could not be found."
    assert cloud("GET", "/servers", token="other")["servers"] == []
    assert cloud("GET", f"/servers/{server_id}", token="admin").status == 200


def test_update_changes_what_may_change(cloud):
    server_id = cloud.up()
    answer = cloud("PUT", f"/servers/{server_id}", {"server": {
        "name": "new", "accessIPv4": "1.2.3.4", "OS-DCF:diskConfig": "AUTO"}})  # fmt: skip
    assert answer.status == 200
    server = answer["server"]
    assert (server["name"], server["accessIPv4"], server["OS-DCF:diskConfig"]) == (
        "new",
        "1.2.3.4",
        "AUTO",
    )
    assert "OS-EXT-STS:vm_state" not in server
    newest = cloud("PUT", f"/servers/{server_id}", {"server": {"hostname": "h-1"}}, version="2.90")
    assert newest["server"]["OS-EXT-SRV-ATTR:hostname"] == "h-1"
    assert "OS-EXT-STS:vm_state" in newest["server"]
    bad = {"server": {"hostname": "a.b"}}
    assert cloud("PUT", f"/servers/{server_id}", bad, version="2.93").status == 400
    assert cloud("PUT", f"/servers/{server_id}", bad, version="2.94").status == 200
    assert cloud("PUT", f"/servers/{server_id}", bad, token="reader").status in (400, 403)


def test_pinned_zone_follows_its_rules(cloud):
    server_id = cloud.up()

    def pin(zone):
        path, new = f"/servers/{server_id}", {"server": {"pinned_availability_zone": zone}}
        return cloud("PUT", path, new, version="2.104")

    assert pin("elsewhere").status == 409
    assert pin("nova")["server"]["pinned_availability_zone"] == "nova"
    assert pin("nova").status == 200
    assert pin("other").status == 409
    assert pin(None)["server"]["pinned_availability_zone"] is None


def test_delete_cancels_what_is_being_done(cloud):
    server_id = cloud.create()
    assert cloud("DELETE", f"/servers/{server_id}").status == 204
    create, delete = cloud.sagas(server_id)
    assert (create.cancel, delete.name, delete.state) == (True, "nova.server.delete", "queued")
    shown = cloud("GET", f"/servers/{server_id}")["server"]
    assert shown["OS-EXT-STS:task_state"] == "deleting"
    assert cloud("DELETE", f"/servers/{server_id}").status == 204, "asked twice is fine"
    assert len(cloud.sagas(server_id)) == 2


def test_deleted_server_is_404_and_not_counted(cloud):
    server_id = cloud.up()
    cloud("DELETE", f"/servers/{server_id}")
    cloud.gone(server_id)
    assert cloud("GET", f"/servers/{server_id}").status == 404
    assert cloud("DELETE", f"/servers/{server_id}").status == 404
    assert cloud("GET", "/limits")["limits"]["absolute"]["totalInstancesUsed"] == 0
    since = "changes-since=2020-01-01T00:00:00Z"
    [server] = cloud("GET", f"/servers/detail?{since}")["servers"]
    assert server["status"] == "DELETED"
    assert cloud("GET", "/servers?deleted=true")["servers"] == []
    assert len(cloud("GET", "/servers?deleted=true", token="admin")["servers"]) == 1


def test_server_without_host_is_in_error_with_a_safe_fault(cloud):
    server_id = cloud.create()
    cloud.to_cell0(server_id)
    server = cloud("GET", f"/servers/{server_id}")["server"]
    assert server["status"] == "ERROR"
    assert server["fault"]["message"] == "No valid host was found."
    assert "details" not in server["fault"], "users see no internals (abuse case 29)"
    shown = cloud("GET", f"/servers/{server_id}", token="admin")["server"]
    assert shown["fault"]["details"] == "secret"
    assert [s["id"] for s in cloud("GET", "/servers")["servers"]] == [server_id]
    assert cloud("DELETE", f"/servers/{server_id}").status == 204
    assert cloud("GET", f"/servers/{server_id}").status == 404
    assert cloud("GET", "/limits")["limits"]["absolute"]["totalInstancesUsed"] == 0


def test_scheduler_hints_are_kept_and_groups_checked(cloud):
    answer = cloud("POST", "/os-server-groups", {"server_group": {
        "name": "g", "policies": ["anti-affinity"]}})  # fmt: skip
    group_id = answer["server_group"]["id"]
    made = cloud("POST", "/servers", {**body(), "os:scheduler_hints": {"group": group_id}})
    server_id = made["server"]["id"]
    shown = cloud("GET", f"/servers/{server_id}", version="2.100")["server"]
    assert shown["scheduler_hints"] == {"group": group_id}
    assert shown["server_groups"] == [group_id]
    group = cloud("GET", f"/os-server-groups/{group_id}")["server_group"]
    assert group["members"] == [server_id]
    for bad in ("nope", GROUP):
        wrong = {**body(), "os:scheduler_hints": {"group": bad}}
        assert cloud("POST", "/servers", wrong).status == 400

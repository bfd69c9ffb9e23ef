"""Networks: attributes, sharing, segments, refusals."""

import pytest


def test_create_show_update_delete(cloud):
    network = cloud.make("/networks", name="n", description="d")
    assert network["status"] == "ACTIVE" and network["tenant_id"] == network["project_id"]
    assert network["mtu"] == 1450 and network["revision_number"] == 1
    assert "provider:network_type" not in network
    changed = cloud.change(f"/networks/{network['id']}", name="m", admin_state_up=False)
    assert (changed["name"], changed["admin_state_up"]) == ("m", False)
    assert changed["revision_number"] > network["revision_number"]
    cloud.delete(f"/networks/{network['id']}")
    answer = cloud.call("GET", f"/networks/{network['id']}", status=404)
    assert answer.kind == "NetworkNotFound"


def test_admin_sees_and_sets_provider_attributes(cloud):
    values = {"provider:network_type": "vlan", "provider:physical_network": "physnet1"}
    network = cloud.make("/networks", by="admin", **values)
    assert network["provider:segmentation_id"] == 100 and network["mtu"] == 1500
    assert cloud.make("/networks", by="admin", **values)["provider:segmentation_id"] == 101
    full = cloud.call("POST", "/networks", {"network": values}, by="admin", status=409)
    assert full.kind == "NoNetworkFoundInMaximumAllowedAttempts"
    values["provider:segmentation_id"] = 101
    taken = cloud.call("POST", "/networks", {"network": values}, by="admin", status=409)
    assert taken.kind == "VlanIdInUse"
    cloud.delete(f"/networks/{network['id']}", by="admin")
    values.pop("provider:segmentation_id")
    assert cloud.make("/networks", by="admin", **values)["provider:segmentation_id"] == 100
    refused = cloud.call("POST", "/networks", {"network": values}, status=403)
    assert refused.kind == "PolicyNotAuthorized"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"provider:network_type": "none"}, "not supported"),
        ({"provider:network_type": "flat"}, "physical_network required"),
        ({"provider:network_type": "vlan", "provider:physical_network": "x"}, "unknown"),
        ({"provider:network_type": "vxlan", "provider:segmentation_id": 2**24}, "out of range"),
        ({"provider:network_type": "local", "provider:segmentation_id": 5}, "prohibited"),
        ({"mtu": 9000}, "too big"),
        ({"wrong": 1}, "Unrecognized attribute(s) 'wrong'"),
        ({"name": "x" * 256}, "name"),
        ({"admin_state_up": "perhaps"}, "admin_state_up"),
    ],
)
def test_bad_values_are_400(cloud, values, text):
    answer = cloud.call("POST", "/networks", {"network": values}, by="admin", status=400)
    assert text in answer["NeutronError"]["message"]
    assert cloud.get("/networks", by="admin") == []


def test_flat_network_takes_its_physical_network(cloud):
    values = {"provider:network_type": "flat", "provider:physical_network": "p"}
    made = cloud.make("/networks", by="admin", **values)
    assert made["provider:segmentation_id"] is None
    assert cloud.call("POST", "/networks", {"network": values}, by="admin").kind == (
        "FlatNetworkInUse"
    )


def test_other_projects_network_is_404_and_shared_one_is_visible(cloud):
    private = cloud.make("/networks")
    shared = cloud.make("/networks", by="admin", shared=True)
    assert cloud.call("GET", f"/networks/{private['id']}", by="other").status == 404
    assert cloud.call("DELETE", f"/networks/{private['id']}", by="other").status == 404
    assert [n["id"] for n in cloud.get("/networks", by="other")] == [shared["id"]]
    assert cloud.get("/networks?shared=True", by="other")[0]["shared"] is True
    body = {"network": {"name": "mine"}}
    assert cloud.call("PUT", f"/networks/{shared['id']}", body, by="other").status == 404


def test_personas(cloud):
    body = {"network": {}}
    assert cloud.call("POST", "/networks", body, by="reader").status == 403
    assert cloud.call("GET", "/networks", by="reader").status == 200
    assert cloud.call("GET", "/networks", by="nobody").status == 403
    assert cloud.call("POST", "/networks", {"network": {"shared": True}}).status == 403
    assert cloud.call("POST", "/networks", {"network": {"shared": False}}).status == 201
    foreign = {"network": {"project_id": "b" * 32}}
    assert cloud.call("POST", "/networks", foreign).status == 400
    assert cloud.make("/networks", by="admin", tenant_id="b" * 32)["project_id"] == "b" * 32


def test_bulk_is_all_or_none(cloud):
    made = cloud.call("POST", "/networks", {"networks": [{"name": "a"}, {"name": "b"}]}, status=201)
    assert [n["name"] for n in made["networks"]] == ["a", "b"]
    bad = {"networks": [{"name": "c"}, {"mtu": 100000}]}
    assert cloud.call("POST", "/networks", bad).status == 400
    assert len(cloud.get("/networks")) == 2
    assert cloud.call("POST", "/networks", {"foo": {}}).status == 400
    assert cloud.call("POST", "/networks", {"networks": []}).status == 400


def test_write_at_another_revision_is_412(cloud):
    network = cloud.make("/networks")
    path, body = f"/networks/{network['id']}", {"network": {"name": "x"}}
    stale = {"if-match": "revision_number=99"}
    assert cloud.call("PUT", path, body, headers=stale).status == 412
    assert cloud.call("DELETE", path, headers=stale).status == 412
    good = {"if-match": f"revision_number={network['revision_number']}"}
    assert cloud.call("PUT", path, body, headers=good).status == 200


def test_quota_is_409_and_counts_what_exists(cloud):
    cloud.call("PUT", f"/quotas/{'a' * 32}", {"quota": {"network": 1}}, by="admin", status=200)
    network = cloud.make("/networks")
    assert cloud.call("POST", "/networks", {"network": {}}).kind == "OverQuota"
    cloud.delete(f"/networks/{network['id']}")
    cloud.make("/networks")


def test_network_with_ports_is_409_and_subnets_go_with_it(cloud):
    network, _subnet = cloud.network()
    port = cloud.make("/ports", network_id=network["id"])
    answer = cloud.call("DELETE", f"/networks/{network['id']}", status=409)
    assert answer.kind == "NetworkInUse"
    cloud.delete(f"/ports/{port['id']}")
    cloud.delete(f"/networks/{network['id']}")
    assert cloud.get("/subnets") == []


def test_sharing_cannot_end_while_others_use_it(cloud):
    network = cloud.make("/networks", by="admin", shared=True)
    cloud.make("/ports", by="other", network_id=network["id"])
    path, body = f"/networks/{network['id']}", {"network": {"shared": False}}
    assert cloud.call("PUT", path, body, by="admin").kind == "InvalidSharedSetting"


def test_segment_ids_set_aside_for_a_project(cloud):
    values = {"network_type": "vxlan", "minimum": 2500, "maximum": 2501}
    body = {"shared": False, "project_id": "a" * 32, **values}
    made = cloud.make("/network_segment_ranges", by="admin", **body)
    assert made["available"] == [2500, 2501] and made["used"] == {}
    ids = []
    for _ in range(3):
        network = cloud.make("/networks")
        seen = cloud.get(f"/networks/{network['id']}", by="admin")
        ids.append(seen["provider:segmentation_id"])
    assert ids == [2500, 2501, 1]
    path = f"/network_segment_ranges/{made['id']}"
    change = {"network_segment_range": {"minimum": 2501}}
    assert cloud.call("PUT", path, change, by="admin").status == 409
    assert cloud.call("DELETE", path, by="admin").status == 409
    assert (
        cloud.call("POST", "/network_segment_ranges", {"network_segment_range": body}).status == 403
    )
    overlapping = {"network_segment_range": body}
    assert cloud.call("POST", "/network_segment_ranges", overlapping, by="admin").status == 409

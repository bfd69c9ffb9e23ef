"""Services, hypervisors, zones, aggregates, usage, versions: the cloud's own machinery."""

from datetime import timedelta

import pytest
from nova_cloud import MAIN, OTHER

from gureum.core.db.types import utc_now
from gureum.nova.store import hosts, tables


def admin(cloud, method, path, body=None, **how):
    return cloud(method, path, body, token="admin", **how)


@pytest.mark.parametrize(
    "path",
    [
        "/os-services",
        "/os-hypervisors",
        "/os-hypervisors/detail",
        "/os-hypervisors/statistics",
        "/os-hypervisors/1",
        "/os-aggregates",
        "/os-availability-zone/detail",
        "/os-simple-tenant-usage",
        "/os-quota-class-sets/default",
    ],
)
def test_machinery_is_for_administrators(cloud, path):
    assert cloud("GET", path).status == 403
    assert cloud("GET", path, token="reader").status == 403
    assert admin(cloud, "GET", path).status == 200


def test_service_goes_down_when_it_is_silent(cloud):
    [service] = admin(cloud, "GET", "/os-services")["services"]
    assert (service["state"], service["status"], service["zone"]) == ("up", "enabled", "nova")
    with cloud.deps.cell1.write() as tx:
        old = utc_now() - timedelta(seconds=61)
        tx.update(tables.services, tables.services.c.host == "one", last_seen_at=old)
        hosts.heard_of(tx, "control", "nova-conductor")
    shown = admin(cloud, "GET", "/os-services")["services"]
    assert [(s["binary"], s["state"], s["zone"]) for s in shown] == [
        ("nova-compute", "down", "nova"),
        ("nova-conductor", "up", "internal"),
    ]
    assert len(admin(cloud, "GET", "/os-services?host=control")["services"]) == 1
    assert len(admin(cloud, "GET", "/os-services?binary=nova-compute")["services"]) == 1


def test_old_service_verbs_until_2_52(cloud):
    who = {"host": "one", "binary": "nova-compute"}
    answer = admin(cloud, "PUT", "/os-services/disable-log-reason", {
        **who, "disabled_reason": "work"})  # fmt: skip
    assert answer["service"] == {**who, "status": "disabled", "disabled_reason": "work"}
    assert admin(cloud, "GET", "/os-services")["services"][0]["disabled_reason"] == "work"
    assert admin(cloud, "PUT", "/os-services/enable", who)["service"]["status"] == "enabled"
    assert admin(cloud, "PUT", "/os-services/disable", who)["service"]["status"] == "disabled"
    down = {**who, "forced_down": True}
    assert admin(cloud, "PUT", "/os-services/force-down", down, version="2.11").status == 200
    assert admin(cloud, "GET", "/os-services")["services"][0]["state"] == "down"
    assert admin(cloud, "PUT", "/os-services/enable", {**who, "host": "no"}).status == 404
    assert admin(cloud, "PUT", "/os-services/enable", {"host": "one"}).status == 400
    assert admin(cloud, "PUT", "/os-services/enable", who, version="2.53").status == 404


def test_service_update_since_2_53(cloud):
    service_id = admin(cloud, "GET", "/os-services", version="2.53")["services"][0]["id"]
    path = f"/os-services/{service_id}"

    def put(body):
        return admin(cloud, "PUT", path, body, version="2.53")

    shown = put({"status": "disabled", "disabled_reason": "work"})["service"]
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", "work")
    assert put({"forced_down": True})["service"]["state"] == "down"
    assert put({"status": "enabled"})["service"]["disabled_reason"] is None
    assert put({}).status == 400
    assert put({"status": "enabled", "disabled_reason": "x"}).status == 400
    assert put({"status": "sleepy"}).status == 400
    missing = "/os-services/99999999-9999-4999-8999-999999999999"
    assert admin(cloud, "PUT", missing, {"status": "enabled"}, version="2.53").status == 404
    assert (
        admin(cloud, "PUT", "/os-services/1", {"status": "enabled"}, version="2.53").status == 400
    )


def test_service_with_servers_is_not_deleted(cloud):
    server_id = cloud.up()
    service_id = admin(cloud, "GET", "/os-services", version="2.53")["services"][0]["id"]
    path = f"/os-services/{service_id}"
    assert admin(cloud, "DELETE", path, version="2.53").status == 409
    cloud.gone(server_id)
    assert cloud("DELETE", path, version="2.53").status == 403
    assert admin(cloud, "DELETE", path, version="2.53").status == 204
    assert admin(cloud, "GET", "/os-hypervisors")["hypervisors"] == []
    assert admin(cloud, "DELETE", path, version="2.53").status == 404


# -- hypervisors -----------------------------------------------------------------------------------


def test_hypervisor_says_what_the_host_said(cloud):
    server_id = cloud.up()
    [shown] = admin(cloud, "GET", "/os-hypervisors/detail")["hypervisors"]
    assert shown["vcpus"] == 8
    assert shown["free_ram_mb"] == 16000 - 512
    assert shown["service"]["host"] == "one"
    total = admin(cloud, "GET", "/os-hypervisors/statistics")["hypervisor_statistics"]
    assert (total["count"], total["memory_mb"]) == (1, 16000)
    [found] = admin(cloud, "GET", "/os-hypervisors/one/servers")["hypervisors"]
    assert [server["uuid"] for server in found["servers"]] == [server_id]
    assert len(admin(cloud, "GET", "/os-hypervisors/ONE/search")["hypervisors"]) == 1
    assert admin(cloud, "GET", "/os-hypervisors/none/search").status == 404
    assert "up 93 days" in admin(cloud, "GET", "/os-hypervisors/1/uptime")["hypervisor"]["uptime"]
    assert admin(cloud, "GET", "/os-hypervisors/99").status == 404


def test_hypervisors_by_uuid_since_2_53(cloud):
    cloud.host("two")
    cloud.up()
    found = admin(cloud, "GET", "/os-hypervisors", version="2.53")["hypervisors"]
    first = found[0]["id"]
    path = f"/os-hypervisors/{first}"
    assert admin(cloud, "GET", f"{path}?with_servers=1", version="2.53")["hypervisor"]["servers"]
    assert "servers" not in admin(cloud, "GET", path, version="2.75")["hypervisor"]
    assert admin(cloud, "GET", "/os-hypervisors/1", version="2.53").status == 400
    page = admin(cloud, "GET", "/os-hypervisors?limit=1", version="2.53")
    assert page["hypervisors_links"][0]["href"].endswith(f"limit=1&marker={first}")
    rest = admin(cloud, "GET", f"/os-hypervisors?marker={first}", version="2.53")
    assert [item["hypervisor_hostname"] for item in rest["hypervisors"]] == ["two.example"]
    named = "/os-hypervisors?hypervisor_hostname_pattern="
    assert len(admin(cloud, "GET", f"{named}two", version="2.53")["hypervisors"]) == 1
    assert admin(cloud, "GET", f"{named}none", version="2.53").status == 404
    assert admin(cloud, "GET", f"{named}two&limit=1", version="2.53").status == 400
    assert admin(cloud, "GET", "/os-hypervisors?marker=none", version="2.53").status == 400


def test_hosts_of_old_until_2_42(cloud):
    cloud.up()
    assert cloud("GET", "/os-hosts").status == 403
    shown = admin(cloud, "GET", "/os-hosts")["hosts"]
    assert shown == [{"host_name": "one", "service": "compute", "zone": "nova"}]
    assert admin(cloud, "GET", "/os-hosts?zone=other")["hosts"] == []
    lines = [line["resource"] for line in admin(cloud, "GET", "/os-hosts/one")["host"]]
    assert [line["project"] for line in lines] == ["(total)", "(used_now)", "(used_max)", MAIN]
    assert lines[3] == {
        "host": "one", "project": MAIN, "cpu": 1, "memory_mb": 512, "disk_gb": 5,
    }  # fmt: skip
    assert admin(cloud, "GET", "/os-hosts/none").status == 404
    answer = admin(cloud, "PUT", "/os-hosts/one", {"status": "disable"})
    assert answer.body == {"host": "one", "status": "disabled"}
    assert admin(cloud, "GET", "/os-services")["services"][0]["status"] == "disabled"
    assert admin(cloud, "PUT", "/os-hosts/one", {"status": "sleepy"}).status == 400
    assert admin(cloud, "PUT", "/os-hosts/one", {}).status == 400
    assert admin(cloud, "PUT", "/os-hosts/none", {"status": "enable"}).status == 404
    for verb in ("reboot", "shutdown", "startup"):
        assert admin(cloud, "GET", f"/os-hosts/one/{verb}").status == 501
        assert admin(cloud, "GET", f"/os-hosts/none/{verb}").status == 404
        assert cloud("GET", f"/os-hosts/one/{verb}").status == 403
    assert admin(cloud, "GET", "/os-hosts", version="2.43").status == 404


# -- zones and aggregates --------------------------------------------------------------------------


def aggregate(cloud, name="a", zone=None):
    body = {"aggregate": {"name": name, "availability_zone": zone}}
    answer = admin(cloud, "POST", "/os-aggregates", body)
    assert answer.status == 200, answer.body
    return answer["aggregate"]["id"]


def act(cloud, number, name, value):
    return admin(cloud, "POST", f"/os-aggregates/{number}/action", {name: value})


def test_aggregate_with_a_zone_moves_its_hosts(cloud):
    number = aggregate(cloud, zone="east")
    added = act(cloud, number, "add_host", {"host": "one"})
    assert added["aggregate"]["hosts"] == ["one"]
    assert added["aggregate"]["metadata"] == {"availability_zone": "east"}
    server_id = cloud.up()
    assert cloud("GET", f"/servers/{server_id}")["server"]["OS-EXT-AZ:availability_zone"] == "east"
    zones = cloud("GET", "/os-availability-zone")["availabilityZoneInfo"]
    assert zones == [{"zoneName": "east", "zoneState": {"available": True}, "hosts": None}]
    [zone] = admin(cloud, "GET", "/os-availability-zone/detail")["availabilityZoneInfo"]
    assert zone["hosts"]["one"]["nova-compute"]["active"] is True
    cloud.up(availability_zone="east")
    second = aggregate(cloud, "b", "west")
    assert act(cloud, second, "add_host", {"host": "one"}).status == 409
    assert act(cloud, number, "add_host", {"host": "one"}).status == 409
    assert act(cloud, number, "add_host", {"host": "none"}).status == 404
    assert admin(cloud, "DELETE", f"/os-aggregates/{number}").status == 400
    removed = act(cloud, number, "remove_host", {"host": "one"})
    assert removed["aggregate"]["hosts"] == []
    assert act(cloud, number, "remove_host", {"host": "one"}).status == 404
    assert admin(cloud, "DELETE", f"/os-aggregates/{number}").status == 200
    assert admin(cloud, "GET", f"/os-aggregates/{number}").status == 404


def test_aggregate_is_changed(cloud):
    number = aggregate(cloud)
    path = f"/os-aggregates/{number}"
    assert admin(cloud, "GET", path)["aggregate"]["availability_zone"] is None
    new = {"aggregate": {"name": "b", "availability_zone": "x"}}
    shown = admin(cloud, "PUT", path, new)["aggregate"]
    assert (shown["name"], shown["availability_zone"]) == ("b", "x")
    metadata = {"metadata": {"ssd": "true", "availability_zone": None}}
    shown = act(cloud, number, "set_metadata", metadata)["aggregate"]
    assert shown["metadata"] == {"ssd": "true"}
    aggregate(cloud, "c")
    assert admin(cloud, "PUT", path, {"aggregate": {"name": "c"}}).status == 409
    assert admin(cloud, "PUT", path, {"aggregate": {}}).status == 400
    assert admin(cloud, "POST", "/os-aggregates", {"aggregate": {"name": "c"}}).status == 409
    assert admin(cloud, "POST", "/os-aggregates", {"aggregate": {"name": ""}}).status == 400
    assert admin(cloud, "GET", "/os-aggregates/x").status == 404
    assert cloud("DELETE", path).status == 403


# -- usage -----------------------------------------------------------------------------------------


def test_usage_is_counted_from_the_servers(cloud):
    server_id = cloud.up()
    with cloud.deps.cell1.write() as tx:
        begun = utc_now() - timedelta(hours=2)
        tx.update(tables.servers, tables.servers.c.id == server_id, launched_at=begun)
    end = utc_now().strftime("%Y-%m-%dT%H:%M:%S")
    span = f"start=2020-01-01T00:00:00&end={end}"
    usage = cloud("GET", f"/os-simple-tenant-usage/{MAIN}?{span}")["tenant_usage"]
    assert usage["total_hours"] == pytest.approx(2, abs=0.01)
    assert usage["total_memory_mb_usage"] == pytest.approx(1024, abs=5)
    assert usage["server_usages"][0]["instance_id"] == server_id
    assert cloud("GET", f"/os-simple-tenant-usage/{OTHER}?{span}").status == 403
    [shown] = admin(cloud, "GET", f"/os-simple-tenant-usage?{span}")["tenant_usages"]
    assert (shown["tenant_id"], "server_usages" in shown) == (MAIN, False)
    [shown] = admin(cloud, "GET", f"/os-simple-tenant-usage?{span}&detailed=1")["tenant_usages"]
    assert len(shown["server_usages"]) == 1
    early = "start=2020-01-01T00:00:00&end=2020-01-02T00:00:00"
    assert cloud("GET", f"/os-simple-tenant-usage/{MAIN}?{early}")["tenant_usage"] == {}
    backwards = "start=2021-01-01T00:00:00&end=2020-01-02T00:00:00"
    assert cloud("GET", f"/os-simple-tenant-usage/{MAIN}?{backwards}").status == 400
    assert cloud("GET", f"/os-simple-tenant-usage/{MAIN}?start=x").status == 400


def test_usage_pages_since_2_40(cloud):
    for _ in range(3):
        cloud.up()
    end = (utc_now() + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")
    path = f"/os-simple-tenant-usage/{MAIN}?start=2020-01-01T00:00:00&end={end}&limit=2"
    assert len(cloud("GET", path)["tenant_usage"]["server_usages"]) == 3
    page = cloud("GET", path, version="2.40")
    assert len(page["tenant_usage"]["server_usages"]) == 2
    href = page["tenant_usage_links"][0]["href"].removeprefix("http://cloud:8774/v2.1")
    rest = cloud("GET", href, version="2.40")
    assert len(rest["tenant_usage"]["server_usages"]) == 1
    assert "tenant_usage_links" not in rest.body
    assert cloud("GET", f"{path}&marker=none", version="2.40").status == 400


# -- versions --------------------------------------------------------------------------------------


def test_versions_need_no_token(cloud):
    shown = cloud("GET", "/", token=None)["versions"]
    assert [(v["id"], v["version"], v["min_version"]) for v in shown] == [
        ("v2.0", "", ""),
        ("v2.1", "2.104", "2.1"),
    ]
    assert cloud("GET", "/", token=None)["versions"][1]["links"][0]["href"] == (
        "http://cloud:8774/v2.1/"
    )
    assert cloud("GET", "", token=None)["version"]["id"] == "v2.1"
    assert cloud("GET", "/v2", token=None)["version"]["id"] == "v2.0"


def test_extensions_of_old(cloud):
    found = cloud("GET", "/extensions")["extensions"]
    assert {"os-keypairs", "os-server-start-stop"} <= {item["alias"] for item in found}
    assert cloud("GET", "/extensions/os-keypairs")["extension"]["name"] == "Keypairs"
    assert cloud("GET", "/extensions/none").status == 404


@pytest.mark.parametrize(
    "path", ["/images", "/os-networks", "/os-floating-ips", "/os-volumes",
             "/os-security-groups", "/os-cells", "/os-fping", "/os-migrations"],
)  # fmt: skip
def test_proxies_and_what_is_not_here_are_404(cloud, path):
    assert cloud("GET", path).status == 404
    assert cloud("GET", path, version="2.36").status == 404


def test_project_in_the_path_must_be_the_tokens(cloud):
    assert cloud("GET", f"/{MAIN}/servers").status == 200
    assert cloud("GET", f"/{OTHER}/servers").status == 400
    assert cloud("GET", f"/{MAIN}/servers/detail.json").status == 200

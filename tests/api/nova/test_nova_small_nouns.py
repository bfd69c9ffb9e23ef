"""Flavors, key pairs, quotas, server groups: what belongs to users and projects."""

import threading

import pytest
from databases import fresh
from nova_cloud import IMAGE, KEY, MAIN, OTHER, serve

from gureum.nova.config import QuotaOptions
from gureum.nova.store import tables

BIG = {"name": "big", "id": "2", "ram": 4096, "vcpus": 2, "disk": 20}


def flavor(cloud, **values):
    return cloud("POST", "/flavors", {"flavor": {**BIG, **values}}, token="admin")


# -- flavors ---------------------------------------------------------------------------------------


def test_flavor_is_created_shown_and_deleted(cloud):
    made = flavor(cloud, swap=64)
    assert made.status == 200
    assert made["flavor"] == {
        **BIG,
        "swap": 64,
        "OS-FLV-EXT-DATA:ephemeral": 0,
        "OS-FLV-DISABLED:disabled": False,
        "os-flavor-access:is_public": True,
        "rxtx_factor": 1.0,
        "links": made["flavor"]["links"],
    }
    assert cloud("GET", "/flavors/2")["flavor"] == made["flavor"]
    assert [f["id"] for f in cloud("GET", "/flavors")["flavors"]] == ["1", "2"]
    assert cloud("DELETE", "/flavors/2").status == 403
    assert cloud("DELETE", "/flavors/2", token="admin").status == 202
    assert cloud("GET", "/flavors/2").status == 404
    assert cloud("GET", "/flavors/2")["itemNotFound"]["message"] == "Flavor 2 could not be found."


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"id": "1"}, 409),
        ({"name": "small"}, 409),
        ({"name": ""}, 400),
        ({"name": "x" * 256}, 400),
        ({"ram": 0}, 400),
        ({"ram": -1}, 400),
        ({"ram": "many"}, 400),
        ({"ram": 2**31}, 400),
        ({"vcpus": 0}, 400),
        ({"disk": -1}, 400),
        ({"swap": -1}, 400),
        ({"id": "a/b"}, 400),
        ({"rxtx_factor": 0}, 400),
        ({"os-flavor-access:is_public": "maybe"}, 400),
        ({"other": 1}, 400),
    ],
)
def test_bad_flavor_is_refused(cloud, values, status):
    assert flavor(cloud, **values).status == status


def test_flavor_is_for_administrators_to_make(cloud):
    assert cloud("POST", "/flavors", {"flavor": BIG}).status == 403


def test_private_flavor_is_for_those_who_were_let_in(cloud):
    flavor(cloud, **{"os-flavor-access:is_public": False})
    assert cloud("GET", "/flavors/2").status == 404
    assert len(cloud("GET", "/flavors")["flavors"]) == 1
    assert len(cloud("GET", "/flavors?is_public=none", token="admin")["flavors"]) == 2
    assert len(cloud("GET", "/flavors?is_public=false", token="admin")["flavors"]) == 1
    assert cloud("GET", "/flavors?is_public=maybe", token="admin").status == 400
    add = {"addTenantAccess": {"tenant": MAIN}}
    answer = cloud("POST", "/flavors/2/action", add, token="admin")
    assert answer.body == {"flavor_access": [{"flavor_id": "2", "tenant_id": MAIN}]}
    assert cloud("POST", "/flavors/2/action", add, token="admin").status == 409
    assert cloud("POST", "/flavors/2/action", add, token="other").status == 403
    assert cloud("GET", "/flavors/2").status == 200
    assert cloud("GET", "/flavors/2", token="other").status == 404
    access = cloud("GET", "/flavors/2/os-flavor-access", token="admin")
    assert access["flavor_access"] == [{"flavor_id": "2", "tenant_id": MAIN}]
    assert cloud("GET", "/flavors/1/os-flavor-access", token="admin").status == 404
    remove = {"removeTenantAccess": {"tenant": MAIN}}
    assert cloud("POST", "/flavors/2/action", remove, token="admin").status == 200
    assert cloud("POST", "/flavors/2/action", remove, token="admin").status == 404


def test_flavors_are_filtered_sorted_and_paged(cloud):
    flavor(cloud)
    flavor(cloud, name="mid", id="3", ram=1024, disk=10)

    def ids(query):
        return [f["id"] for f in cloud("GET", f"/flavors?{query}")["flavors"]]

    assert ids("minRam=1024") == ["2", "3"]
    assert ids("minDisk=20") == ["2"]
    assert ids("sort_key=memory_mb&sort_dir=desc") == ["2", "3", "1"]
    assert ids("limit=2") == ["1", "2"]
    assert ids("limit=2&marker=2") == ["3"]
    assert cloud("GET", "/flavors?limit=1")["flavors_links"][0]["href"].endswith(
        "/flavors?limit=1&marker=1"
    )
    assert cloud("GET", "/flavors?marker=none").status == 400
    assert cloud("GET", "/flavors?minRam=x").status == 400
    assert cloud("GET", "/flavors?sort_key=x").status == 400


def test_extra_specs(cloud):
    path = "/flavors/1/os-extra_specs"
    specs = {"extra_specs": {"hw:cpu_policy": "shared", "own": 5}}
    assert cloud("POST", path, specs, token="admin").status == 200
    assert cloud("POST", path, specs).status == 403
    assert cloud("GET", path)["extra_specs"] == {"hw:cpu_policy": "shared", "own": "5"}
    assert cloud("GET", f"{path}/own").body == {"own": "5"}
    assert cloud("PUT", f"{path}/own", {"own": "6"}, token="admin").body == {"own": "6"}
    assert cloud("PUT", f"{path}/own", {"other": "6"}, token="admin").status == 400
    assert cloud("PUT", f"{path}/own", {"own": "6", "b": "7"}, token="admin").status == 400
    assert cloud("DELETE", f"{path}/own", token="admin").status == 200
    assert cloud("DELETE", f"{path}/own", token="admin").status == 404
    assert cloud("GET", f"{path}/own").status == 404
    for bad in ({"a/b": "1"}, {"k": None}, {"k": "x" * 256}, {"k" * 256: "1"}):
        assert cloud("POST", path, {"extra_specs": bad}, token="admin").status == 400


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("hw:cpu_policy", "dedicated", 200),
        ("hw:cpu_policy", "wrong", 400),
        ("hw:numa_cpus.0", "1-3", 200),
        ("trait:HW_CPU_X86_VMX", "required", 200),
        ("trait:HW_CPU_X86_VMX", "wanted", 400),
        ("resources:VCPU", "2", 200),
        ("quota:nonsense", "2", 400),
        ("mine:anything", "x", 200),
        ("plain", "x", 200),
    ],
)
def test_known_extra_specs_are_checked_since_2_86(cloud, name, value, status):
    path, body = "/flavors/1/os-extra_specs", {"extra_specs": {name: value}}
    assert cloud("POST", path, body, token="admin", version="2.85").status == 200
    assert cloud("POST", path, body, token="admin", version="2.86").status == status


def test_server_keeps_its_flavor(cloud):
    server_id = cloud.up()
    cloud("DELETE", "/flavors/1", token="admin")
    shown = cloud("GET", f"/servers/{server_id}", version="2.47")["server"]["flavor"]
    assert (shown["original_name"], shown["ram"]) == ("small", 512)


# -- key pairs -------------------------------------------------------------------------------------


def keypair(cloud, name="k", version="2.2", token="member", **values):
    return cloud("POST", "/os-keypairs", {"keypair": {"name": name, **values}}, version=version,
                 token=token)  # fmt: skip


def test_imported_key_pair(cloud):
    made = keypair(cloud, public_key=KEY)
    assert made.status == 201
    assert set(made["keypair"]) == {"name", "public_key", "fingerprint", "user_id", "type"}
    shown = cloud("GET", "/os-keypairs/k")["keypair"]
    assert (shown["public_key"], shown["deleted"], shown["id"]) == (KEY, False, 1)
    [item] = cloud("GET", "/os-keypairs")["keypairs"]
    assert set(item["keypair"]) == {"name", "public_key", "fingerprint"}
    assert keypair(cloud, public_key=KEY).status == 409
    assert cloud("GET", "/os-keypairs/k", token="second").status == 404, "it is the user's"
    assert cloud("DELETE", "/os-keypairs/k", version="2.2").status == 204
    assert cloud("DELETE", "/os-keypairs/k", version="2.2").status == 404


@pytest.mark.parametrize("kind", ["ssh", "x509"])
def test_generated_key_pair_until_2_91(cloud, kind):
    made = keypair(cloud, version="2.91", type=kind)
    assert made.status == 201
    assert "PRIVATE KEY" in made["keypair"]["private_key"]
    assert "private_key" not in cloud("GET", "/os-keypairs/k", version="2.91")["keypair"]
    assert cloud.deps.api is not None
    assert keypair(cloud, "l", version="2.92").status == 400


def test_certificate_is_imported(cloud):
    public = keypair(cloud, type="x509")["keypair"]["public_key"]
    assert keypair(cloud, "copy", type="x509", public_key=public).status == 201
    assert keypair(cloud, "wrong", type="ssh", public_key=public).status == 400


@pytest.mark.parametrize(
    "values",
    [
        {"name": ""},
        {"name": "x" * 256},
        {"name": "a/b"},
        {"name": "a@b"},
        {"public_key": "ssh-rsa nonsense"},
        {"public_key": ""},
        {"public_key": KEY[:40]},
        {"public_key": "ssh-rsa " + KEY.split()[1]},
        {"type": "other"},
        {"type": "x509"},
        {"other": 1},
    ],
)
def test_bad_key_pair_is_400(cloud, values):
    body = {"keypair": {"name": "k", "public_key": KEY, **values}}
    assert cloud("POST", "/os-keypairs", body, version="2.2").status == 400


def test_administrator_manages_key_pairs_of_others(cloud):
    made = keypair(cloud, version="2.10", token="admin", user_id="user-second", public_key=KEY)
    assert made["keypair"]["user_id"] == "user-second"
    assert cloud("GET", "/os-keypairs/k", token="second").status == 200
    path = "/os-keypairs/k?user_id=user-second"
    assert cloud("GET", path, version="2.10", token="admin").status == 200
    assert cloud("GET", path, version="2.10").status == 403
    assert keypair(cloud, version="2.10", user_id="user-second", public_key=KEY).status == 403
    assert cloud("DELETE", path, version="2.10").status == 403
    assert cloud("DELETE", path, version="2.10", token="admin").status == 204


def test_key_pairs_have_pages_since_2_35(cloud):
    for name in "abc":
        keypair(cloud, name, public_key=KEY)

    def found(query, version="2.35"):
        answer = cloud("GET", f"/os-keypairs?{query}", version=version)
        return [item["keypair"]["name"] for item in answer["keypairs"]]

    assert found("limit=2") == ["a", "b"]
    assert found("limit=2&marker=b") == ["c"]
    assert found("limit=2", "2.34") == ["a", "b", "c"]
    assert cloud("GET", "/os-keypairs?marker=none", version="2.35").status == 400


def test_quota_of_key_pairs(make):
    cloud = make(QuotaOptions(key_pairs=1))
    assert keypair(cloud, "a", public_key=KEY).status == 201
    answer = keypair(cloud, "b", public_key=KEY)
    assert answer.status == 403
    assert "too many key pairs" in answer["forbidden"]["message"]


# -- quotas ----------------------------------------------------------------------------------------


def test_quota_sets_are_shown_changed_and_reset(cloud):
    path = f"/os-quota-sets/{MAIN}"
    assert cloud("GET", path)["quota_set"]["cores"] == 20
    assert cloud("GET", path)["quota_set"]["id"] == MAIN
    assert cloud("GET", path, token="other").status == 403
    assert cloud("PUT", path, {"quota_set": {"cores": 5}}).status == 403
    answer = cloud("PUT", path, {"quota_set": {"cores": 5}}, token="admin")
    assert answer["quota_set"]["cores"] == 5
    assert "id" not in answer["quota_set"]
    assert cloud("GET", f"{path}/defaults")["quota_set"]["cores"] == 20
    cloud.up()
    detail = cloud("GET", f"{path}/detail")["quota_set"]["cores"]
    assert detail == {"limit": 5, "in_use": 1, "reserved": 0}
    assert cloud("PUT", path, {"quota_set": {"cores": 0}}, token="admin").status == 400
    forced = {"quota_set": {"cores": 0, "force": True}}
    assert cloud("PUT", path, forced, token="admin").status == 200
    for bad in ({"cores": -2}, {"cores": "x"}, {"wheels": 1}, {"cores": 2**31}):
        assert cloud("PUT", path, {"quota_set": bad}, token="admin").status == 400
    assert cloud("DELETE", path, token="admin").status == 202
    assert cloud("GET", path)["quota_set"]["cores"] == 20


def test_quota_of_a_user_within_the_project(cloud):
    path = f"/os-quota-sets/{MAIN}"
    one = f"{path}?user_id=user-member"
    assert cloud("PUT", one, {"quota_set": {"instances": 1}}, token="admin").status == 200
    assert cloud("PUT", one, {"quota_set": {"instances": 11}}, token="admin").status == 400
    cloud.up()
    body = {"server": {"name": "a", "flavorRef": "1", "imageRef": IMAGE}}
    assert cloud("POST", "/servers", body).status == 403
    assert cloud("POST", "/servers", body, token="second").status == 202
    assert cloud("GET", one)["quota_set"]["instances"] == 1
    assert cloud("GET", path)["quota_set"]["instances"] == 10


def test_quota_class_is_everybodys_default(cloud):
    path = "/os-quota-class-sets/default"
    assert cloud("GET", path).status == 403
    assert cloud("GET", path, token="admin")["quota_class_set"]["cores"] == 20
    changed = cloud("PUT", path, {"quota_class_set": {"cores": 3}}, token="admin")
    assert changed["quota_class_set"]["cores"] == 3
    assert cloud("GET", f"/os-quota-sets/{OTHER}", token="other")["quota_set"]["cores"] == 3
    assert cloud("GET", "/limits")["limits"]["absolute"]["maxTotalCores"] == 3


def test_limits_of_another_project_are_for_administrators(cloud):
    assert cloud("GET", f"/limits?tenant_id={OTHER}").status == 403
    assert cloud("GET", f"/limits?tenant_id={OTHER}", token="admin").status == 200
    assert cloud("GET", "/limits")["limits"]["rate"] == []


def test_quota_refusal_says_what_and_how_much(cloud):
    cloud("PUT", f"/os-quota-sets/{MAIN}", {"quota_set": {"instances": 1}}, token="admin")
    cloud.up()
    body = {"server": {"name": "a", "flavorRef": "1", "imageRef": IMAGE}}
    answer = cloud("POST", "/servers", body)
    assert answer.status == 403
    assert answer["forbidden"]["message"] == (
        "Quota exceeded for instances: Requested 1, but already used 1 of 1 instances"
    )


def test_as_many_as_fit_between_min_and_max(cloud):
    cloud("PUT", f"/os-quota-sets/{MAIN}", {"quota_set": {"instances": 3}}, token="admin")
    body = {"name": "a", "flavorRef": "1", "imageRef": IMAGE, "min_count": 2, "max_count": 9}
    assert cloud("POST", "/servers", {"server": body}).status == 202
    assert len(cloud("GET", "/servers")["servers"]) == 3
    assert cloud("POST", "/servers", {"server": body}).status == 403


@pytest.mark.parametrize("limit", [20])
def test_parallel_creates_give_exactly_the_quota(tmp_path, limit):
    databases = {
        name: fresh(name, f"sqlite:///{tmp_path}/{name}.sqlite")
        for name in ("nova_api", "nova_cell0", "nova_cell1")
    }
    for name, database in databases.items():
        with database.write() as tx:
            (tables.API if name == "nova_api" else tables.CELL).create_all(tx.connection)
    cloud = serve(databases, QuotaOptions(instances=limit, cores=-1, ram=-1))
    tiny = {"name": "t", "id": "1", "ram": 64, "vcpus": 1, "disk": 1}
    assert cloud("POST", "/flavors", {"flavor": tiny}, token="admin").status == 200
    body = {"server": {"name": "a", "flavorRef": "1", "imageRef": IMAGE}}
    found: list[int] = []

    def work():
        for _ in range(5):
            found.append(cloud("POST", "/servers", body).status)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [202] * limit + [403] * (40 - limit)
    assert cloud.count(tables.server_mappings) == limit
    assert cloud.count(tables.servers, databases["nova_cell1"]) == limit


# -- server groups ---------------------------------------------------------------------------------


def group(cloud, version="2.64", token="member", **values):
    wanted = {"name": "g", "policy": "anti-affinity", **values}
    return cloud("POST", "/os-server-groups", {"server_group": wanted}, version=version,
                 token=token)  # fmt: skip


def test_server_groups(cloud):
    made = group(cloud, rules={"max_server_per_host": "2"})
    assert made.status == 200
    shown = made["server_group"]
    assert shown["rules"] == {"max_server_per_host": 2}
    path = f"/os-server-groups/{shown['id']}"
    assert cloud("GET", path, version="2.64")["server_group"] == shown
    old = cloud("GET", path)["server_group"]
    assert (old["policies"], old["metadata"]) == (["anti-affinity"], {})
    assert cloud("GET", path, token="other").status == 404
    group(cloud, token="other")
    assert len(cloud("GET", "/os-server-groups")["server_groups"]) == 1
    everything = cloud("GET", "/os-server-groups?all_projects=1", token="admin")
    assert len(everything["server_groups"]) == 2
    assert len(cloud("GET", "/os-server-groups?all_projects=1")["server_groups"]) == 1
    assert cloud("GET", "/os-server-groups?limit=0")["server_groups"] == []
    assert cloud("GET", "/os-server-groups?offset=1")["server_groups"] == []
    assert cloud("DELETE", path, token="reader").status == 403
    assert cloud("DELETE", path).status == 204
    assert cloud("DELETE", path).status == 404


@pytest.mark.parametrize(
    "values",
    [
        {"policy": "other"},
        {"name": ""},
        {"policy": "affinity", "rules": {"max_server_per_host": 2}},
        {"rules": {"max_server_per_host": 0}},
        {"rules": {"other": 1}},
        {"policies": ["affinity"]},
    ],
)
def test_bad_server_group_is_400(cloud, values):
    assert group(cloud, **values).status == 400


def test_quota_of_server_groups_and_members(make):
    cloud = make(QuotaOptions(server_groups=1, server_group_members=1))
    flavor(cloud)
    group_id = group(cloud)["server_group"]["id"]
    assert group(cloud).status == 403
    body = {
        "server": {"name": "a", "flavorRef": "2", "imageRef": IMAGE},
        "os:scheduler_hints": {"group": group_id},
    }
    assert cloud("POST", "/servers", body).status == 202
    assert cloud("POST", "/servers", body).status == 403
    assert cloud.count(tables.server_mappings) == 1, "the refusal left nothing"

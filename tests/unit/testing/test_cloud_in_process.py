"""`gureum.testing` as somebody's tests use it: its plugin, its presets, its faults."""

import glob
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from gureum import presets
from gureum.__main__ import main
from gureum.provision.api import Api
from gureum.testing import Cloud, CloudFailed
from gureum.testing.folders import Folder, sweep
from gureum.testing.points import POINTS

pytest_plugins = ["gureum.testing.plugin"]
pytestmark = pytest.mark.timeout(120)

PRESET = """
roles: [auditor]
projects:
  - name: web
    quotas: {compute: {instances: 7}, network: {port: 70}}
users:
  - name: alice
    password: wonderland
    default_project: web
    roles: [{role: member, project: web}, {role: auditor, project: web}]
flavors:
  - {name: c1, vcpus: 1, ram_mib: 512, disk_gib: 1, extra_specs: {"quota:cpu_shares": "5"}}
images:
  - {name: empty, size_mib: 1, properties: {os_distro: none}}
networks:
  - name: front
    project: web
    subnets:
      - name: front-v4
        cidr: 10.1.0.0/24
        dns: [192.0.2.53]
        pools: [{start: 10.1.0.10, end: 10.1.0.99}]
      - {name: front-v6, cidr: "2001:db8:1::/64", ipv6_mode: slaac}
routers:
  - {name: edge, project: web, external_network: public, subnets: [front-v4]}
security_groups:
  - name: ssh
    project: web
    rules: [{protocol: tcp, ports: 22, remote_cidr: 0.0.0.0/0}, {protocol: icmp}]
  - name: default
    project: web
    rules: [{protocol: tcp, ports: 80-90, remote_group: ssh}]
key_pairs:
  - name: alice-key
    user: alice
    public_key: >-
      ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3LkzTd3fWfZb1yUMEPsPB5GzJzVj0H3zJ6Ff7cQx5K alice
"""


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    path = tmp_path_factory.mktemp("preset") / "web.yaml"
    path.write_text(PRESET)
    return presets.read(path)


@pytest.fixture
def api(gureum_cloud):
    api = Api(gureum_cloud.auth_url, gureum_cloud.environ()["OS_PASSWORD"])
    api.login()
    yield api
    api.close()


def boot(connection, name, network):
    image = connection.image.find_image("gureum-guest", ignore_missing=False)
    flavor = connection.compute.find_flavor("g1.small", ignore_missing=False)
    return connection.compute.create_server(
        name=name, image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}]
    )


@pytest.fixture
def network(gureum_project):
    network = gureum_project.network.create_network(name="n")
    subnet = gureum_project.network.create_subnet(
        network_id=network.id, ip_version=4, cidr="10.9.0.0/24"
    )
    yield network
    for server in gureum_project.compute.servers():
        gureum_project.compute.delete_server(server)
        gureum_project.compute.wait_for_delete(server, interval=0.1, wait=30)
    gureum_project.network.delete_subnet(subnet)
    gureum_project.network.delete_network(network)


def state(connection, server, wanted):
    return connection.compute.wait_for_server(
        server, status=wanted, failures=[], interval=0.1, wait=30
    )


def test_the_third_spawn_fails(gureum_project, network, gureum_faults):
    gureum_faults.fail("spawn", nth=3, text="the disk is on fire")
    found = []
    for number in range(1, 5):
        server = boot(gureum_project, f"s{number}", network)
        server = state(gureum_project, server, "ERROR" if number == 3 else "ACTIVE")
        found.append(server.status)
    assert found == ["ACTIVE", "ACTIVE", "ERROR", "ACTIVE"]


def test_a_slow_spawn_keeps_the_server_in_build(gureum_project, network, gureum_faults):
    rule = gureum_faults.delay("spawn", 60)
    server = boot(gureum_project, "slow", network)
    deadline = time.monotonic() + 10
    while gureum_faults.rules()[0].hits == 0:
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
    assert gureum_project.compute.get_server(server.id).status == "BUILD"
    gureum_faults.clear(rule.id)
    assert state(gureum_project, server, "ACTIVE")


def test_a_port_that_cannot_be_plugged_is_tried_again(gureum_project, network, gureum_faults):
    gureum_faults.fail("plug", component="neutron-openvswitch-agent")
    server = state(gureum_project, boot(gureum_project, "s", network), "ACTIVE")
    deadline = time.monotonic() + 20
    while [p.status for p in gureum_project.network.ports(device_id=server.id)] != ["ACTIVE"]:
        assert time.monotonic() < deadline
        threading.Event().wait(0.1)
    assert gureum_faults.rules() == []


def test_fault_command_reaches_the_running_cloud(gureum_cloud, gureum_faults, capsys):
    where = ["--state-dir", str(gureum_cloud.state_dir)]
    assert main(["fault", "silence", "neutron-l3-agent", "60", *where]) == 0
    assert main(["fault", "list", *where]) == 0
    assert "silence neutron-l3-agent (60 s left)" in capsys.readouterr().out
    assert main(["fault", "fail", "spwan", *where]) == 1
    assert "did you mean spawn?" in capsys.readouterr().err
    assert main(["fault", "clear", *where]) == 0
    assert gureum_faults.rules() == []
    assert (gureum_cloud.state_dir / "faults.json").stat().st_mode & 0o777 == 0o600


def test_every_point_of_the_compute_driver_is_asked():
    from gureum.nova.drivers import fake

    asked: set[str] = set()
    text = inspect.getsource(fake)
    for verb in POINTS["nova-compute"]:
        if f'_act("{verb}")' in text or f'"{verb}": {{' in text:
            asked.add(verb)
    assert asked == set(POINTS["nova-compute"])


def test_preset_is_made_once_and_then_left_alone(gureum_cloud, api, preset):
    made = presets.apply(preset, api)
    assert made == {
        "roles": 1, "projects": 1, "users": 1, "flavors": 1, "images": 1, "networks": 1,
        "subnets": 2, "routers": 1, "router interfaces": 1, "security groups": 1,
        "security group rules": 3, "key pairs": 1,
    }  # fmt: skip
    assert presets.apply(preset, api) == {}
    with gureum_cloud.connect("alice", "wonderland", "web") as alice:
        assert [n.name for n in alice.network.networks(project_id=alice.current_project_id)] == ["front"]
        assert alice.compute.find_keypair("alice-key") is not None
        assert alice.get_compute_quotas(alice.current_project_id).instances == 7
        assert alice.image.find_image("empty").status == "active"
        router = alice.network.find_router("edge", ignore_missing=False)
        assert router.external_gateway_info["external_fixed_ips"]


def test_settings_of_another_cloud_beside_it(gureum_cloud):
    with Cloud(admin_password="known", options={"gureum": {"region": "Moon"}}, seeded=False) as two:
        assert two.auth_url != gureum_cloud.auth_url
        with two.connect() as connection:
            assert [r.id for r in connection.identity.regions()] == ["Moon"]
            assert list(connection.image.images()) == []
        folder = two.state_dir
    assert not folder.exists() and not folder.parent.exists()


def test_a_cloud_that_was_not_started_says_so():
    with pytest.raises(CloudFailed, match="call start"):
        _ = Cloud().auth_url


def test_an_ephemeral_cloud_takes_no_old_folder(tmp_path):
    with pytest.raises(CloudFailed, match="is there already"):
        Cloud(state_dir=tmp_path).start()
    assert tmp_path.exists()


def test_what_a_killed_process_left_is_swept_up(tmp_path):
    code = "import sys, time, pathlib; from gureum.testing.folders import Folder\n"
    code += f"print(Folder(pathlib.Path({str(tmp_path)!r})).path, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        left = other.stdout.readline().strip()
        mine = Folder(tmp_path)
        assert sweep(tmp_path) == 0 and os.path.isdir(left)
        other.kill()
        other.wait()
        assert sweep(tmp_path) == 1
    assert not os.path.exists(left) and mine.path.exists()
    mine.remove()
    assert glob.glob(str(tmp_path / "*")) == []


def test_up_ephemeral_runs_in_the_foreground_and_leaves_nothing(tmp_path, preset):
    folder, rc = tmp_path / "cloud", tmp_path / "rc"
    words = [sys.executable, "-m", "gureum", "up", "--simulated", "--ephemeral", "--openrc", str(rc)]
    words += ["--port-offset", "auto", "--state-dir", str(folder), "--preset"]
    words += [str(preset.folder / "web.yaml")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        first = run.stdout.readline()
        assert first.startswith("The cloud is up"), first
        values = dict(
            line.removeprefix("export ").split("=", 1)
            for line in (_until(rc)).splitlines()
            if line.startswith("export ")
        )
        api = Api(values["OS_AUTH_URL"].strip("'"), values["OS_PASSWORD"].strip("'"))
        api.login()
        assert "web" in {p["name"] for p in api.get("identity", "/projects")["projects"]}
        api.close()
        run.send_signal(signal.SIGINT)
        rest = run.stdout.read()
        assert run.wait(30) == 0
    assert rest.rstrip().endswith("The cloud is gone.")
    assert not folder.exists() and not rc.exists()


def _until(path):
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
    return path.read_text()


def test_up_refuses_a_bad_preset_before_anything_starts(tmp_path, capsys):
    (tmp_path / "p.yaml").write_text("projekts: []\n")
    words = ["up", "--simulated", "--ephemeral", "--preset", str(tmp_path / "p.yaml")]
    assert main(words) == 1
    assert "projekts: unknown key (value []); did you mean projects?" in capsys.readouterr().err


@pytest.mark.slow
def test_a_silent_compute_host_is_down_until_it_speaks_again():
    options = {"nova.compute": {"report_interval": 0.2}, "nova": {"service_down_time": 2}}
    with Cloud(options=options, seeded=False) as cloud, cloud.connect() as connection:
        compute: Any = connection.compute

        def wait_for(state: str) -> None:
            deadline = time.monotonic() + 30
            while [s.state for s in compute.services(binary="nova-compute")] != [state]:
                assert time.monotonic() < deadline
                threading.Event().wait(0.1)

        wait_for("up")
        rule = cloud.faults.silence("nova-compute", 60)
        wait_for("down")
        cloud.faults.clear(rule.id)
        wait_for("up")

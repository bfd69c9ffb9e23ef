"""`gureum up --simulated` from nothing to a server, and back to nothing; through the real SDK."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openstack
import pytest

from gureum.cli import place as places
from gureum.cli import status
from gureum.core.config import CloudOptions
from gureum.provision.options import InstallOptions
from gureum.testing.ports import free_offset

pytestmark = pytest.mark.timeout(240)


class Cloud:
    """A simulated cloud in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config")}

    def gureum(self, command: str, *words: str, code: int = 0) -> str:
        line = [sys.executable, "-m", "gureum", command, *words]
        done = subprocess.run(
            [*line, "--state-dir", str(self.folder / "cloud")],
            capture_output=True,
            text=True,
            timeout=150,
            env=self.env,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    def connect(self) -> openstack.connection.Connection:
        config = places.read_config(places.under(self.folder / "cloud"))
        options = config.get(CloudOptions)
        return openstack.connect(
            auth_url=f"http://127.0.0.1:{5000 + options.port_offset}/v3",
            username="admin",
            password=config.get(InstallOptions).admin_password,
            project_name="admin",
            user_domain_name="Default",
            project_domain_name="Default",
            region_name="RegionOne",
            load_yaml_config=False,  # the user's own clouds are none of a test's business
            load_envvars=False,
        )


@contextmanager
def stranger_at_port_of_keystone(cloud: Cloud) -> Iterator[None]:
    """Let a program that knows nothing of clouds answer there."""
    options = places.read_config(places.under(cloud.folder / "cloud")).get(CloudOptions)
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 5000 + options.port_offset), http.server.BaseHTTPRequestHandler
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    made = Cloud(tmp_path_factory.mktemp("sim"))
    text = made.gureum("up", "--simulated", "--port-offset", str(free_offset()))
    assert "The cloud is up" in text
    yield made
    assert "Nothing is wrong" in made.gureum("audit", "--grace", "0")
    made.gureum("down", "--purge", "--yes")
    assert not (made.folder / "cloud").exists()
    assert not (made.folder / "config/openstack/clouds.yaml").exists()


def test_every_component_is_well(cloud: Cloud):
    seen = json.loads(cloud.gureum("status", "--json"))
    assert seen["ok"], seen
    assert {agent["name"] for agent in seen["agents"]} >= {"nova-compute", "neutron-l3-agent"}
    assert sum(process["memory_mib"] for process in seen["processes"]) < 300


def test_server_becomes_active_and_goes_without_a_trace(cloud: Cloud):
    with cloud.connect() as sdk:
        image = sdk.image.find_image("gureum-guest", ignore_missing=False)
        flavor = sdk.compute.find_flavor("g1.small", ignore_missing=False)
        network = sdk.network.create_network(name="net1")
        sdk.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.9.0.0/24")
        server = sdk.compute.create_server(
            name="s1", image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}]
        )
        server = sdk.compute.wait_for_server(server, wait=60, interval=0.2)
        assert server.status == "ACTIVE"
        ports = list(sdk.network.ports(device_id=server.id))
        assert [port.fixed_ips[0]["ip_address"].rsplit(".", 1)[0] for port in ports] == ["10.9.0"]
        sdk.compute.delete_server(server)
        sdk.compute.wait_for_delete(server, interval=0.2, wait=60)
        assert list(sdk.network.ports(device_id=server.id)) == []
        for provider in sdk.placement.resource_providers():
            answer = sdk.placement.get(f"/resource_providers/{provider.id}/allocations")
            assert answer.json()["allocations"] == {}


def test_clouds_yaml_and_openrc_are_for_the_ordinary_client(cloud: Cloud):
    assert "gureum:" in (cloud.folder / "config/openstack/clouds.yaml").read_text()
    assert "export OS_AUTH_URL='http://127.0.0.1:" in cloud.gureum("openrc")


def test_logs_tell_of_a_request_by_its_id(cloud: Cloud):
    with cloud.connect() as sdk:
        answer = sdk.compute.post("/servers", json={"server": {"name": "x"}})
    request_id = answer.headers["x-openstack-request-id"]
    assert answer.status_code == 400
    assert request_id.startswith("req-")
    assert "component starts" in cloud.gureum("logs", "-n", "100000")


def test_no_secret_is_in_the_logs(cloud: Cloud):
    secrets = (cloud.folder / "cloud/etc/secrets.toml").read_text()
    values = [line.split('"')[1] for line in secrets.splitlines() if '"' in line]
    log = (cloud.folder / "cloud/log/simulated.log").read_text()
    assert [value for value in values if value in log] == []


def test_state_is_kept_over_down_and_up(cloud: Cloud):
    with cloud.connect() as sdk:
        made = sdk.identity.create_project(name="kept")
    assert "The cloud is down" in cloud.gureum("down")
    cloud.gureum("status", code=3)
    with stranger_at_port_of_keystone(cloud):
        place = places.under(cloud.folder / "cloud")
        keystone = status.look(place, places.read_config(place))["apis"][0]
        assert keystone["name"] == "keystone" and not keystone["ready"]
        assert "another program answers" in keystone["text"]
    cloud.gureum("up", "--simulated")
    with cloud.connect() as sdk:
        assert sdk.identity.find_project("kept", ignore_missing=False).id == made.id


def test_real_cloud_in_the_folder_of_a_simulated_one_is_refused(cloud: Cloud):
    if os.geteuid() != 0:
        pytest.skip("asks for root first")
    assert "is a simulated one" in cloud.gureum("up", code=1)

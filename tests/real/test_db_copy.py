"""A simulated cloud with servers moves from SQLite to a database server, is killed on the way, goes on."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dblab
import openstack
import pytest

from gureum.cli import place as places
from gureum.core.config import CloudOptions
from gureum.provision import settings
from gureum.provision.databases import names
from gureum.provision.options import InstallOptions
from gureum.testing.ports import free_offset

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


class Cloud:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = places.under(folder / "cloud")
        self.env = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config")}

    def words(self, *words: str) -> list[str]:
        line = [sys.executable, "-m", "gureum", *words]
        return [*line, "--state-dir", str(self.place.state_dir)]

    def gureum(self, *words: str, code: int | None = 0) -> str:
        done = subprocess.run(
            self.words(*words), capture_output=True, text=True, timeout=200, env=self.env,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def connect(self) -> openstack.connection.Connection:
        config = places.read_config(self.place)
        offset = config.get(CloudOptions).port_offset
        return openstack.connect(
            auth_url=f"http://127.0.0.1:{5000 + offset}/v3",
            username="admin",
            password=config.get(InstallOptions).admin_password,
            project_name="admin",
            user_domain_name="Default",
            project_domain_name="Default",
            region_name="RegionOne",
            load_yaml_config=False,
            load_envvars=False,
        )


@pytest.fixture(params=["mariadb", "postgresql"])
def server(request) -> Iterator[dblab.Server]:
    lacking = dblab.missing(request.param)
    if lacking:
        pytest.skip(lacking)
    with dblab.running(request.param) as server:
        for name in names():
            if server.kind == "mariadb":
                server.admin(f"CREATE DATABASE gureum_{name} CHARACTER SET utf8mb4")
            else:
                server.admin(f"CREATE DATABASE gureum_{name}")
        yield server


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path)
    made.gureum("up", "--simulated", "--port-offset", str(free_offset()))
    yield made
    made.gureum("down", "--purge", "--yes", code=None)


def boot(sdk: openstack.connection.Connection, name: str) -> str:
    server = sdk.compute.create_server(
        name=name,
        image_id=sdk.image.find_image("gureum-guest").id,
        flavor_id=sdk.compute.find_flavor("g1.small").id,
        networks=[{"uuid": sdk.network.find_network("n1").id}],
    )
    assert sdk.compute.wait_for_server(server, wait=90, interval=0.3).status == "ACTIVE"
    return str(server.id)


def test_cloud_with_servers_goes_on_at_the_new_database(server: dblab.Server, cloud: Cloud):
    with cloud.connect() as sdk:
        network = sdk.network.create_network(name="n1", description="구름 \U0001f600 ")
        sdk.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.9.0.0/24")
        before = [boot(sdk, f"s{number}") for number in (1, 2)]
        addresses = {one: sdk.compute.get_server(one).addresses for one in before}
    to = server.url("gureum_{service}")
    assert "stop it first" in cloud.gureum("db", "copy", "--to", to, code=1)
    cloud.gureum("down")

    # killed where it hurts: in the middle of a database
    words = cloud.words("db", "copy", "--to", to, "--batch", "1")
    with subprocess.Popen(words, env=cloud.env, stdout=subprocess.PIPE, text=True) as copying:
        assert copying.stdout is not None
        assert copying.stdout.readline().startswith("keystone")
        threading.Event().wait(0.05)
        copying.send_signal(signal.SIGKILL)
    assert "--resume" in cloud.gureum("db", "copy", "--to", to, code=1)
    said = cloud.gureum("db", "copy", "--to", to, "--resume")
    assert said.count("counts and checksums agree") == len(names())
    assert "are not of a copy" in cloud.gureum("db", "copy", "--to", to, "--resume", code=1)

    settings.complete_secrets(cloud.place.secrets_file, {"database": {"connection": to}}, None)
    (cloud.place.state_dir / "db").rename(cloud.folder / "old-db")  # nobody looks there any more
    cloud.gureum("up", "--simulated")
    with cloud.connect() as sdk:
        assert sdk.network.find_network("n1").description == "구름 \U0001f600 "
        for one in before:
            found = sdk.compute.get_server(one)
            assert found.status == "ACTIVE" and found.addresses == addresses[one]
        sdk.compute.stop_server(before[0])
        stopped = sdk.compute.get_server(before[0])
        sdk.compute.wait_for_server(stopped, status="SHUTOFF", wait=60, interval=0.3)
        boot(sdk, "s3")  # numbers go on where they were
        for one in before:
            sdk.compute.delete_server(one)
        deadline = time.monotonic() + 60
        while {s.id for s in sdk.compute.servers()} & set(before):
            assert time.monotonic() < deadline
            threading.Event().wait(0.3)
    assert list((cloud.place.state_dir / "db").iterdir()) == []

"""`gureum up --distributed` with fake drivers: a process for each component on real servers.

Slow: some twenty processes start on the machine of the test.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openstack
import pytest

from gureum.cli import place as places
from gureum.cli import process
from gureum.core.config import CloudOptions, loads
from gureum.provision import daemons
from gureum.provision.daemons import Daemons
from gureum.provision.options import InstallOptions
from gureum.testing.ports import free_offset

WAIT_S = 120.0


class Cloud:
    """A distributed cloud in a folder."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        self.env = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config")}

    def gureum(self, command: str, *words: str, code: int | None = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "gureum", command, *words, "--state-dir", str(self.place.state_dir)],
            capture_output=True, text=True, timeout=280, env=self.env, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def place(self) -> places.Place:
        return places.under(self.folder / "cloud")

    def status(self) -> dict:
        return json.loads(self.gureum("status", "--json", code=None))

    def pids(self) -> dict[str, int]:
        return {p["name"]: p["pid"] for p in self.status()["processes"]}

    def until_well(self) -> None:
        deadline = time.monotonic() + WAIT_S
        while not (seen := self.status())["ok"]:
            assert time.monotonic() < deadline, seen
            threading.Event().wait(0.5)

    def url(self, port: int) -> str:
        config = places.read_config(self.place)
        return f"http://127.0.0.1:{port + config.get(CloudOptions).port_offset}"

    def connect(self) -> openstack.connection.Connection:
        config = places.read_config(self.place)
        return openstack.connect(
            auth_url=self.url(5000) + "/v3",
            username="admin",
            password=config.get(InstallOptions).admin_password,
            project_name="admin",
            user_domain_name="Default",
            project_domain_name="Default",
            region_name="RegionOne",
            load_yaml_config=False,
            load_envvars=False,
        )


@pytest.fixture(scope="module", params=daemons.KINDS)
def cloud(request) -> Iterator[Cloud]:
    lacking = daemons.missing(request.param)
    if lacking:
        pytest.skip(f"Debian packages are missing: {', '.join(lacking)}")
    base = Path(tempfile.mkdtemp(prefix="gureum-d-"))
    os.chmod(base, 0o711)  # as root, the daemons run as users of their own and pass through
    made = Cloud(base, request.param)
    try:
        words = ("--simulated", "--distributed", "--processes", "2", "--database", request.param)
        text = made.gureum("up", *words, "--port-offset", str(free_offset()))
        assert "The cloud is up" in text
        yield made
    finally:
        made.gureum("down", "--purge", "--yes", code=None)
    assert not made.place.state_dir.exists()
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(base) not in listed.stdout
    shutil.rmtree(base)


def boot(sdk: openstack.connection.Connection, name: str) -> None:
    network = sdk.network.find_network("net1") or sdk.network.create_network(name="net1")
    if not network.subnet_ids:
        sdk.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.9.0.0/24")
    server = sdk.compute.create_server(
        name=name,
        image_id=sdk.image.find_image("gureum-guest").id,
        flavor_id=sdk.compute.find_flavor("g1.small").id,
        networks=[{"uuid": network.id}],
    )
    server = sdk.compute.wait_for_server(server, wait=WAIT_S, interval=0.3)
    assert server.status == "ACTIVE"
    sdk.compute.delete_server(server)
    sdk.compute.wait_for_delete(server, interval=0.3, wait=WAIT_S)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_distributed_cloud_works_and_survives_the_death_of_its_parts(cloud: Cloud):
    cloud.until_well()
    seen = cloud.status()
    names = {p["name"] for p in seen["processes"]}
    assert {cloud.kind, "rabbitmq", "memcached", "nova-api-1", "nova-api-2", "nova-conductor-2"} <= names
    assert seen["distributed"] and seen["simulated"]
    with cloud.connect() as sdk:
        boot(sdk, "first")

    # one of two API processes is gone: the other answers
    pids = cloud.pids()
    os.kill(pids["keystone-1"], signal.SIGSTOP)
    os.kill(pids["keystone-1"], signal.SIGKILL)
    os.kill(pids["nova-conductor-1"], signal.SIGKILL)
    deadline = time.monotonic() + 30
    while httpx.get(cloud.url(5000) + "/healthcheck", trust_env=False).text != "OK":
        assert time.monotonic() < deadline

    # memcached and the database die under it, and are back
    os.kill(pids["memcached"], signal.SIGKILL)
    with cloud.connect() as sdk:
        boot(sdk, "second")
    os.killpg(pids[cloud.kind], signal.SIGKILL)
    cloud.until_well()
    with cloud.connect() as sdk:
        boot(sdk, "third")
    after = cloud.pids()
    for name in ("keystone-1", "nova-conductor-1", "memcached", cloud.kind):
        assert after[name] != pids[name]
    assert after["nova-api-1"] == pids["nova-api-1"]

    # what is written down is refused to change under the cloud, and doctor and logs know it
    assert "runs with processes = 2" in cloud.gureum("up", "--simulated", "--processes", "3", code=1)
    assert f"process {cloud.kind}: running" in cloud.gureum("doctor", code=None)
    assert "component starts" in cloud.gureum("logs", "nova-api-2", "-n", "100000")
    assert cloud.gureum("logs", "nova-api")  # the lines of a component, whatever its processes


def test_daemons_have_ports_folders_and_passwords_of_their_own(tmp_path):
    ours = Daemons(places.under(tmp_path), daemons.MARIADB, 20000, "s3cret")
    found = {child.name: child for child in daemons.children(ours)}
    assert list(found) == ["mariadb", "rabbitmq", "memcached"]
    assert {child.port for child in found.values()} == {23316, 25682, 29311}
    assert all(child.stage == 0 and not child.own for child in found.values())
    assert not any("s3cret" in word for child in found.values() for word in child.argv)
    assert "s3cret" not in repr(ours)
    assert found["mariadb"].argv[:4] == ["setpriv", "--pdeathsig", "TERM", "--"]


def test_every_component_is_a_process_and_waits_for_the_databases(tmp_path):
    place = places.under(tmp_path)
    ours = Daemons(place, daemons.POSTGRESQL, 0, "x")
    plan = process.plan(
        place, process.Makeup(True, ours, 3), user=None, python=Path("/py"), source=tmp_path, stamp=""
    )
    found = {child.name: child for child in plan.children}
    assert found["bootstrap"].after == ["postgresql", "rabbitmq", "memcached"]
    assert found["bootstrap"].once
    assert {"nova-api-1", "nova-api-3", "neutron-server-2", "nova-metadata-api"} <= set(found)
    assert "nova-metadata-api-1" not in found and "neutron-l3-agent" not in found
    assert found["nova-api-2"].after == ["bootstrap"]
    assert "--share-ports" in found["nova-api-2"].argv
    assert "--share-ports" not in found["nova-compute"].argv
    assert found["nova-compute"].stage > found["nova-api-2"].stage > found["postgresql"].stage


def test_a_second_process_of_one_name_is_refused(tmp_path):
    from gureum import components
    from gureum.cli.run import take_name

    config = loads(f'[gureum]\nrun_dir = "{tmp_path}"\n', components.sections())
    assert take_name(config, None) == "gureum"
    assert take_name(config, None) == "gureum-2"
    assert take_name(config, "nova-api-1") == "nova-api-1"
    with pytest.raises(places.Unusable, match="runs already"):
        take_name(config, "nova-api-1")

"""Two machines that give themselves one host name: the second does nothing, and says why.

The second has a state folder of its own, so its hypervisor knows none of the first one's guests: if its word
counted, every server of the host would look as if it had vanished.
"""

import contextlib
import json
import threading
import time

import pytest

from gureum.core.config import loads
from gureum.core.machine import FILE, machine_id
from gureum.core.run import CORE_SECTIONS, Runtime
from gureum.neutron.agents.simulated import SimulatedAgents
from gureum.nova.agent import config as agent_config
from gureum.nova.agent.component import NovaCompute
from gureum.testing import Cloud

WAIT_S = 60.0
SECTIONS = (*CORE_SECTIONS, agent_config.ComputeOptions, agent_config.LibvirtOptions)
EAGER = {"report_interval": 0.2, "sync_power_state_interval": 0.2}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def until(fact, what):
    deadline = time.monotonic() + WAIT_S
    while not (seen := fact()):
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.05)
    return seen


class Machine:
    """A compute host and its network agents, with a state folder of its own."""

    def __init__(self, folder, socket, host):
        self.folder, self.socket, self.host = folder, socket, host
        folder.mkdir(exist_ok=True)

    def __enter__(self):
        text = f"""
[gureum]
state_dir = "{self.folder}"
run_dir = "{self.folder}"
host = "{self.host}"
[bus]
transport_url = "local://{self.socket}?role=leaf"
[nova.compute]
compute_driver = "fake"
report_interval = {EAGER["report_interval"]}
sync_power_state_interval = {EAGER["sync_power_state_interval"]}
"""
        self.runtime = Runtime(loads(text, SECTIONS))
        self.parts = [NovaCompute(), SimulatedAgents()]
        for part in self.parts:
            part.start(self.runtime)
        return self

    def __exit__(self, *_):
        for part in self.parts:
            part.stop()
        self.runtime.close()

    def said(self):
        return [part.health().text for part in self.parts]

    def guests(self):
        with contextlib.suppress(FileNotFoundError):
            return json.loads((self.folder / "nova" / "fake-guests.json").read_text())
        return {}


@pytest.fixture
def machines():
    """Holds machines that are to outlive the cloud, which asks them when it ends."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def cloud(tmp_path, machines):
    url = f"local://{tmp_path}/bus.sock?role=hub"
    with Cloud(options={"bus": {"transport_url": url}, "nova.compute": EAGER}) as made:
        yield made


def booted(sdk, network, count):
    image, flavor = next(sdk.image.images()), next(sdk.compute.flavors())
    made = [sdk.compute.create_server(name=f"s{number}", image_id=image.id, flavor_id=flavor.id,
                                      networks=[{"uuid": network.id}]) for number in range(count)]
    return [sdk.compute.wait_for_server(one, interval=0.1, wait=WAIT_S) for one in made]


def test_second_machine_of_a_host_name_is_refused_and_damages_nothing(cloud, tmp_path):
    host = cloud._process.runtime.host
    with cloud.connect() as sdk:
        network = sdk.network.create_network(name="n")
        sdk.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.6.0.0/24")
        old = booted(sdk, network, 3)
        with Machine(tmp_path / "twin", tmp_path / "bus.sock", host) as twin:
            until(lambda: all("belongs to another machine" in text for text in twin.said()),
                  twin.said)
            assert not any(part.health().ok for part in twin.parts)
            own = machine_id(cloud.cloud.place.state_dir)
            assert all(own in text and f"the file {FILE}" in text for text in twin.said())

            # orders, hints and reports go to the first one as before
            new = booted(sdk, network, 6)
            assert {sdk.compute.get_server(one.id).status for one in old} == {"ACTIVE"}
            ports = list(sdk.network.ports(network_id=network.id, device_owner="compute:nova"))
            assert len(ports) == 9 and {port.status for port in ports} == {"ACTIVE"}
            for one in (*old, *new[:3]):
                sdk.compute.delete_server(one)
            for one in (*old, *new[:3]):
                sdk.compute.wait_for_delete(one, interval=0.1, wait=WAIT_S)
            assert not twin.guests()
            assert all("belongs to another machine" in text for text in twin.said())
        assert {one.status for one in sdk.compute.servers()} == {"ACTIVE"}
        assert len(list(sdk.compute.services(binary="nova-compute"))) == 1
        for one in new[3:]:
            sdk.compute.delete_server(one)
            sdk.compute.wait_for_delete(one, interval=0.1, wait=WAIT_S)


def test_name_of_a_machine_that_was_removed_is_free_again(cloud, machines, tmp_path):
    """The first one is gone for good and its service deleted: the next one may have its name."""
    host = cloud._process.runtime.host
    with cloud.connect() as sdk:
        process = cloud._process
        gone = [part for part in process.components
                if part.name in ("nova-compute", "neutron-simulated-agents")]
        for part in gone:
            part.stop()
        twin = machines.enter_context(Machine(tmp_path / "twin", tmp_path / "bus.sock", host))
        until(lambda: all("belongs to another machine" in text for text in twin.said()), twin.said)
        for service in sdk.compute.services(binary="nova-compute"):
            sdk.compute.delete_service(service)
        for agent in sdk.network.agents():
            sdk.network.delete_agent(agent)
        until(lambda: [one.state for one in sdk.compute.services(binary="nova-compute")] == ["up"],
              twin.said)
        until(lambda: len([one for one in sdk.network.agents() if one.is_alive]) == 4, twin.said)
        network = sdk.network.create_network(name="n")
        sdk.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.6.0.0/24")
        (server,) = booted(sdk, network, 1)
        assert twin.guests()
        sdk.compute.delete_server(server)
        sdk.compute.wait_for_delete(server, interval=0.1, wait=WAIT_S)

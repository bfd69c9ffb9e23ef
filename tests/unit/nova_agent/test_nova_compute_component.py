"""The component nova-compute in a process, with the fake driver."""

import threading
from pathlib import Path

from nova_guests import guest

from gureum.core.config import loads
from gureum.core.run import CORE_SECTIONS, Runtime
from gureum.nova.agent import config as agent_config
from gureum.nova.agent.component import NovaCompute
from gureum.nova.agent.contract import (
    ComputeAgent,
    ComputeState,
    ExpectedGuests,
    GuestState,
    HostReport,
)

SECTIONS = (*CORE_SECTIONS, agent_config.ComputeOptions, agent_config.LibvirtOptions)


class Conductor(ComputeState):
    """Takes one heartbeat."""

    def __init__(self) -> None:
        self.heard = threading.Event()

    def report(self, report: HostReport) -> None:
        assert report.host == "node-7"
        self.heard.set()

    def guest_states(self, host: str, states: list[GuestState]) -> None:
        return None

    def expected_guests(self, host: str, seen: list[str]) -> ExpectedGuests:
        return ExpectedGuests()


def test_component_reports_and_serves_and_its_guests_outlive_it(tmp_path: Path) -> None:
    text = f"""
[gureum]
state_dir = "{tmp_path}"
host = "node-7"
[nova.compute]
compute_driver = "fake"
"""
    order = guest()
    for expected in ([], [order.server_id]):
        runtime = Runtime(loads(text, SECTIONS))
        conductor = Conductor()
        runtime.bus.serve(ComputeState, conductor)
        component = NovaCompute()
        component.start(runtime)
        agent = runtime.bus.client(ComputeAgent, "node-7", timeout_s=10)
        assert conductor.heard.wait(10)
        assert component.health().ok
        assert [state.guest_id for state in agent.power_states()] == expected
        agent.spawn("s1/spawn", 1, order)
        component.stop()
        runtime.close()


def test_compute_host_starts_while_libvirt_and_conductor_are_away(tmp_path: Path) -> None:
    text = f"""
[gureum]
state_dir = "{tmp_path}"
[nova.compute]
report_interval = 0.1
[nova.libvirt]
connection_uri = "qemu+unix:///system?socket={tmp_path}/nobody"
virt_type = "qemu"
"""
    runtime = Runtime(loads(text, SECTIONS))
    component = NovaCompute()
    component.start(runtime)
    assert component.health().ok
    component.stop()
    runtime.close()

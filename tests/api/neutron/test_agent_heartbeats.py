"""Heartbeats that say nothing new are written together, and nothing that somebody waits for is lost."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from gureum.core.machine import HostNameTaken
from gureum.neutron.agents.contract import L2_AGENT, AgentReport, StatusUpdate
from gureum.neutron.logic import heartbeats
from gureum.neutron.store import tables as t

KIND = "Open vSwitch agent"
LONG_AGO = sa.literal("2026-01-01T00:00:00.000000")


def said(number, **more):
    configurations = {"tunnel_types": ["vxlan"], "tunneling_ip": f"192.0.2.{number}"}
    return AgentReport(
        L2_AGENT, KIND, f"h{number}", "t", "2026-01-01T00:00:00+00:00",
        configurations=configurations, **more,
    )  # fmt: skip


def rows(cloud):
    with cloud.db.read() as tx:
        return {row.host: row for row in tx.all(sa.select(t.agents))}


@pytest.fixture
def fleet(cloud):
    """Five hosts that were written in full."""
    for number in range(5):
        cloud.state.report(said(number))
    return cloud


@pytest.fixture
def at_once(monkeypatch):
    """Let the next heartbeat write what waits."""
    return lambda: monkeypatch.setattr(heartbeats, "TOGETHER_S", 0.0)


def test_heartbeats_of_many_hosts_are_written_by_one_of_them(fleet, at_once):
    before = rows(fleet)
    fleet.state.report(said(0))  # the first writes, since nobody did
    with fleet.db.write() as tx:
        tx.update(t.agents, sa.true(), heartbeat_at=before["h0"].heartbeat_at)
    for number in range(1, 5):
        fleet.state.report(said(number, revision=7))
    assert {row.revision for row in rows(fleet).values()} == {0}
    at_once()
    fleet.state.report(said(0))
    after = rows(fleet)
    assert all(after[host].heartbeat_at > row.heartbeat_at for host, row in before.items())
    assert [after[f"h{number}"].revision for number in range(5)] == [0, 7, 7, 7, 7]


def test_news_are_written_at_once(fleet):
    fleet.state.report(said(0))
    fleet.state.report(said(1, problems=("port p: no bridge",)))
    assert rows(fleet)["h1"].configurations["problems"] == ["port p: no bridge"]
    varying = said(2)
    fleet.state.report(
        replace(varying, configurations={**varying.configurations, "converge_seconds": 0.2})
    )
    assert "converge_seconds" not in rows(fleet)["h2"].configurations, "no news"


def test_agent_that_was_deleted_comes_back(fleet, at_once):
    at_once()
    with fleet.db.write() as tx:
        tx.delete(t.agents, t.agents.c.host == "h3")
    fleet.state.report(said(3))
    fleet.state.report(said(3))
    assert "h3" in rows(fleet)


def test_agent_learns_that_it_was_switched_off(fleet, at_once):
    at_once()
    with fleet.db.write() as tx:
        tx.update(t.agents, t.agents.c.host == "h2", admin_state_up=False)
    assert fleet.state.report(said(2)).admin_state_up is False
    assert fleet.state.report(said(1)).admin_state_up is True


def test_agent_that_was_silent_is_welcomed(fleet, monkeypatch):
    network, _ = fleet.network()
    values = {"device_id": "srv", "device_owner": "compute:nova", "binding:host_id": "h1"}
    with fleet.db.write() as tx:
        tx.update(t.agents, t.agents.c.host == "h1", heartbeat_at=LONG_AGO)
    port = fleet.make("/ports", by="nova", network_id=network["id"], **values)
    assert port["binding:vif_type"] == "binding_failed"
    real = heartbeats.time.monotonic
    monkeypatch.setattr(heartbeats.time, "monotonic", lambda: real() + 100)
    fleet.state.report(said(1))
    assert fleet.get(f"/ports/{port['id']}", by="nova")["binding:vif_type"] == "ovs"


def test_name_that_another_machine_has_now_is_not_kept_alive(fleet, at_once):
    fleet.state.report(said(4, machine_id="a"))
    at_once()
    with fleet.db.write() as tx:
        tx.update(t.agents, t.agents.c.host == "h4", machine_id="b", heartbeat_at=LONG_AGO)
    fleet.state.report(said(4, machine_id="a"))
    assert rows(fleet)["h4"].heartbeat_at.month == 1
    with pytest.raises(HostNameTaken):
        fleet.state.report(said(4, machine_id="a"))


def test_port_that_waited_for_dhcp_is_settled_with_the_heartbeats(fleet, at_once):
    dhcp = replace(said(0), binary="dhcp", agent_type="DHCP agent")
    fleet.state.report(dhcp)
    network, _ = fleet.network()
    values = {"device_id": "srv", "device_owner": "compute:nova", "binding:host_id": "h1"}
    port = fleet.make("/ports", by="nova", network_id=network["id"], **values)
    fleet.state.port_statuses("h1", [StatusUpdate(port["id"], "ACTIVE")])
    at_once()
    fleet.state.report(said(1))
    assert fleet.get(f"/ports/{port['id']}", by="nova")["status"] == "DOWN"
    with fleet.db.write() as tx:
        tx.update(t.agents, t.agents.c.agent_type == "DHCP agent", heartbeat_at=LONG_AGO)
    fleet.state.report(said(1))
    assert fleet.get(f"/ports/{port['id']}", by="nova")["status"] == "ACTIVE"

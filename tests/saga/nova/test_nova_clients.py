"""Nova's ports and placement speak to the real services, in-process, as the service user does."""

import contextlib

import pytest
from nova_services import OWNER, make_network, real_services, user
from nova_world import NovaWorld, nic

from gureum.nova.model import RequestedNic
from gureum.nova.placement import PlacementConflict, PlacementUnavailable, Stock
from gureum.nova.placement_client import ClientPlacement
from gureum.nova.ports import PortRefused, PortsUnavailable, nic_of
from gureum.nova.ports_rest import RestServerPorts
from gureum.placement.client import PlacementClient


@pytest.fixture
def session(tmp_path):
    return real_services(tmp_path)


@pytest.fixture
def network(session):
    return make_network(session)


def create(ports, network, *, server="11111111-2222-4333-8444-555555555555", **options):
    given = {"nic_id": "card-1", "network_id": network, "project_id": OWNER, "server_id": server,
             "owner": "compute:nova", "host": "h1", "fixed_ip": None, "security_groups": ()}
    return ports.create(**{**given, **options})


def test_made_port_is_bound_found_again_and_deleted(session, network):
    session.report("h1")
    ports = RestServerPorts(session)
    made = create(ports, network, fixed_ip="10.9.0.4")
    assert (made.host, made.vif_type, made.project_id) == ("h1", "ovs", OWNER)
    assert (made.nic_id, made.keep, made.device_owner) == ("card-1", False, "compute:nova")
    assert [address for _, address in made.fixed_ips] == ["10.9.0.4"]
    assert [port.id for port in ports.of_servers([made.device_id])] == [made.id]
    kept = nic_of(made, ports.surroundings([made]), "front")
    assert kept.network_label == "private"
    (subnet,) = kept.spec["subnets"]
    assert (subnet["gateway"], subnet["dns"], subnet["addresses"]) == (
        "10.9.0.1", ["9.9.9.9"], ["10.9.0.4"]
    )
    assert subnet["routes"] == [{"destination": "10.8.0.0/16", "gateway": "10.9.0.5"}]
    assert kept.spec["bridge"] == "br-int" and kept.spec["mtu"] == 1450
    ports.delete(made.id)
    ports.delete(made.id)
    assert ports.get(made.id) is None and ports.of_servers([made.device_id]) == []


def test_given_port_is_bound_and_given_back(session, network):
    session.report("h1")
    ports = RestServerPorts(session)
    theirs = user(session, "POST", "/ports", {"port": {"network_id": network, "name": "mine"}})
    given = ports.bind(ports.get(theirs["id"]), nic_id="card-2", server_id="server-1",
                       owner="compute:nova", host="h1")
    assert (given.vif_type, given.keep, given.nic_id) == ("ovs", True, "card-2")
    ports.unbind(given)
    ports.unbind(given)
    free = ports.get(theirs["id"])
    assert (free.device_id, free.device_owner, free.host, free.profile) == ("", "", "", {})
    assert (free.vif_type, free.name) == ("unbound", "mine")


def test_host_without_an_agent_cannot_bind(session, network):
    assert create(RestServerPorts(session), network).vif_type == "binding_failed"


def test_refusals_and_absence_are_told_apart(session, network):
    session.report("h1")
    ports = RestServerPorts(session)
    for number in range(4):  # .2 to .6 of a /29; one stays for DHCP or nobody
        create(ports, network, nic_id=f"card-{number}")
    with pytest.raises(PortRefused) as refused:
        for number in range(4):
            create(ports, network, nic_id=f"more-{number}")
    assert refused.value.status == 409 and refused.value.text
    session.down.add("network")
    with pytest.raises(PortsUnavailable):
        ports.of_servers(["x"])


STOCKS = {"VCPU": Stock(8, 0, 4.0), "MEMORY_MB": Stock(4096, 512), "DISK_GB": Stock(0)}
ASKED = {"VCPU": 2, "MEMORY_MB": 1024}
P1 = "aaaaaaaa-0000-4000-8000-000000000001"
C1 = "cccccccc-0000-4000-8000-000000000001"


def test_placement_round(session):
    placement = ClientPlacement(PlacementClient(session))
    assert placement.usages(P1) is None and placement.candidates(ASKED) == []
    for _ in range(2):
        placement.put_provider(P1, "n1", STOCKS, ["COMPUTE_NODE", "CUSTOM_GOLD"])
    (candidate,) = placement.candidates(ASKED, required=["CUSTOM_GOLD"])
    assert candidate.provider_id == P1 and candidate.resources == ASKED
    assert (candidate.usages["VCPU"].capacity, candidate.usages["MEMORY_MB"].capacity) == (32, 3584)
    assert placement.candidates(ASKED, forbidden=["CUSTOM_GOLD"]) == []
    for _ in range(2):
        placement.allocate(C1, P1, ASKED, project_id=OWNER, user_id="u")
    assert placement.allocation(C1).by_provider == {P1: ASKED}
    assert placement.usages(P1)["VCPU"].used == 2 and placement.consumers(P1) == [C1]
    with pytest.raises(PlacementConflict):
        placement.allocate(C1[:-1] + "2", P1, {"MEMORY_MB": 3000}, project_id=OWNER, user_id="u")
    with pytest.raises(PlacementConflict):
        placement.remove_provider(P1)
    for _ in range(2):
        placement.release(C1)
    placement.remove_provider(P1)
    assert placement.consumers(P1) == []


def test_operators_traits_stay_and_own_ones_go(session):
    client = PlacementClient(session)
    placement = ClientPlacement(client)
    placement.put_provider(P1, "n1", STOCKS, ["COMPUTE_NODE", "COMPUTE_DEVICE_TAGGING"])
    client.set_traits(P1, [*client.traits(P1), "CUSTOM_GOLD"])
    placement.put_provider(P1, "n1", STOCKS, ["COMPUTE_NODE"])
    assert sorted(client.traits(P1)) == ["COMPUTE_NODE", "CUSTOM_GOLD"]


def test_absent_placement_is_worth_a_retry(session):
    session.down.add("placement")
    with pytest.raises(PlacementUnavailable):
        ClientPlacement(PlacementClient(session)).candidates(ASKED)


def test_server_lives_with_real_ports_and_placement(session, network, tmp_path):
    session.report("h1")
    real = {"placement": ClientPlacement(PlacementClient(session)),
            "ports": RestServerPorts(session)}
    with contextlib.closing(NovaWorld(tmp_path, **real)) as world:
        theirs = user(session, "POST", "/ports", {"port": {"network_id": network}})
        cards = (nic(network, tag="front"), RequestedNic(id="card-2", port_id=theirs["id"]))
        server_id = world.active_server(nics=cards)
        assert len(world.nics(server_id)) == 2
        assert world.placement.allocation(server_id).by_provider
        world.delete_server(server_id)
        world.run()
        assert world.row(server_id) is None
        assert world.placement.allocation(server_id).by_provider == {}
        assert [port.id for port in world.ports.of_servers([server_id])] == []
        assert world.ports.get(theirs["id"]).host == ""

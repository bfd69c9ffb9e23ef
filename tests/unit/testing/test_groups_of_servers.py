"""What a server shows of its ports follows Neutron, without asking it."""

import pytest
from waiting import eventually

pytest_plugins = ["gureum.testing.plugin"]
pytestmark = pytest.mark.timeout(120)


def test_server_shows_the_groups_and_addresses_that_neutron_gives_its_port(gureum_project):
    compute, net = gureum_project.compute, gureum_project.network
    network = net.create_network(name="groups")
    net.create_subnet(network_id=network.id, ip_version=4, cidr="10.8.0.0/24")
    server = compute.create_server(
        name="s",
        image_id=gureum_project.image.find_image("gureum-guest").id,
        flavor_id=compute.find_flavor("g1.small").id,
        networks=[{"uuid": network.id}],
    )
    compute.wait_for_server(server, interval=0.1, wait=30)

    def groups() -> list[str]:
        return [group["name"] for group in compute.get_server(server.id).security_groups or ()]

    assert groups() == ["default"]
    (port,) = net.ports(device_id=server.id)
    (default,) = port.security_group_ids
    web = net.create_security_group(name="web")
    net.update_port(port, security_groups=[web.id])
    eventually(lambda: groups() == ["web"])
    net.update_security_group(web, name="db")
    eventually(lambda: groups() == ["db"])
    net.update_port(port, fixed_ips=[{"ip_address": "10.8.0.99"}])
    eventually(lambda: "10.8.0.99" in str(compute.get_server(server.id).addresses))
    compute.add_security_group_to_server(server, net.get_security_group(default))
    assert sorted(groups()) == ["db", "default"]
    compute.remove_security_group_from_server(server, net.get_security_group(web.id))
    assert groups() == ["default"]

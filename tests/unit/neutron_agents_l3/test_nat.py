"""The address translation of a router, as data."""

from gureum.neutron.agents.contract import (
    FixedIp,
    FloatingIp,
    PortForwarding,
    Router,
    RouterPort,
)
from gureum.neutron.agents.l3 import nat

GATEWAY = RouterPort(
    "0a0a0a0a-1111-2222",
    "ext",
    "fa:16:3e:00:00:01",
    "network:router_gateway",
    fixed_ips=(FixedIp("s", "203.0.113.5", 24),),
)


def found_after(want: nat.NatTable) -> nat.FoundTable:
    """What nft would list after the table was applied."""
    tags = {name: [nat.rule_tag(rule) for rule in rules] for name, rules in want.chains.items()}
    return nat.FoundTable(tags, {name: dict(pairs) for name, pairs in want.maps.items()})


def router(*floating: FloatingIp, snat: bool = True) -> Router:
    return Router("r", gateway=GATEWAY, enable_snat=snat, floating_ips=floating)


ONE = FloatingIp("f1", "203.0.113.20", "10.0.0.5")


def test_applied_table_needs_no_command() -> None:
    want = nat.wanted(router(ONE), 9697)
    assert nat.batch(found_after(want), want) == []


def test_new_floating_ip_changes_only_elements() -> None:
    found = found_after(nat.wanted(router(), 9697))
    commands = nat.batch(found, nat.wanted(router(ONE), 9697))
    assert [list(command) for command in commands] == [["add"], ["add"]]
    assert all("element" in command["add"] for command in commands)


def test_moved_floating_ip_is_reported_as_gone() -> None:
    found = found_after(nat.wanted(router(ONE), None))
    moved = nat.wanted(router(FloatingIp("f1", "203.0.113.20", "10.0.0.6")), None)
    assert nat.gone(found, moved) == {"203.0.113.20"}
    assert nat.gone(found, nat.wanted(router(), None)) == {"203.0.113.20"}
    assert nat.gone(found, nat.wanted(router(ONE), None)) == set()
    assert nat.gone(None, moved) == set()


def test_snat_off_changes_only_its_chain() -> None:
    found = found_after(nat.wanted(router(ONE), None))
    commands = nat.batch(found, nat.wanted(router(ONE, snat=False), None))
    assert commands[0] == {
        "flush": {"chain": {"family": "inet", "table": "gureum", "name": "after_routing"}}
    }
    assert {command["add"]["rule"]["chain"] for command in commands[1:]} == {"after_routing"}


def test_chain_that_somebody_edited_is_mended() -> None:
    want = nat.wanted(router(ONE), None)
    found = found_after(want)
    found.chains["after_routing"].insert(0, "")
    assert {"flush": {"chain": {"family": "inet", "table": "gureum", "name": "after_routing"}}} in (
        nat.batch(found, want)
    )


def test_router_without_gateway_translates_nothing() -> None:
    want = nat.wanted(Router("r", floating_ips=(ONE,)), None)
    assert not any(want.chains.values()) and not any(want.maps.values())


def test_port_forwarding_ranges_pair_up() -> None:
    def pairs(outer: str, inner: str) -> list[tuple[int, int]]:
        return nat.forwarded_ports(PortForwarding("p", "tcp", outer, "10.0.0.5", inner))

    assert pairs("80", "8080") == [(80, 8080)]
    assert pairs("80:82", "8080:8082") == [(80, 8080), (81, 8081), (82, 8082)]
    assert pairs("80:82", "8080:8081") == []
    assert pairs("80:81", "22") == [(80, 22), (81, 22)]


def test_foreign_tables_are_not_ours() -> None:
    listing = {
        "nftables": [
            {"metainfo": {}},
            {"table": {"family": "inet", "name": "other"}},
            {"chain": {"family": "inet", "table": "other", "name": "mark"}},
        ]
    }
    assert nat.parse(listing) is None
    listing["nftables"].append({"table": {"family": "inet", "name": "gureum"}})
    assert nat.parse(listing) == nat.FoundTable()

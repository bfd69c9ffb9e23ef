"""Whose a domain is, and what is wrong with a card's host side."""

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import libvirt
import pytest

from gureum.core.bus.contract import AgentError
from gureum.core.runner import FakeRunner
from gureum.nova.agent.config import LibvirtOptions
from gureum.nova.drivers.libvirt import domains
from gureum.nova.drivers.libvirt.domain_xml import NAMESPACE
from gureum.nova.drivers.libvirt.inspect import (
    TAP_GONE,
    Card,
    HostLook,
    cards_of,
    trouble_of,
)
from gureum.nova.drivers.libvirt.vif import SwitchPort, Vifs

GUEST = "5e000000-0000-4000-8000-000000000001"
PORT = "00000000-0000-4000-8000-00000000000a"
DESCRIPTION = f"""
<domain type='qemu' id='3'><devices>
  <interface type='bridge'>
    <mac address='fa:16:3e:00:00:01'/>
    <source bridge='br-int'/>
    <virtualport type='openvswitch'><parameters interfaceid='{PORT}'/></virtualport>
    <target dev='tap00000000-00'/><model type='virtio'/>
  </interface>
  <interface type='network'><source network='default'/></interface>
</devices></domain>
"""


class Domain:
    """As much of libvirt's domain as says whose it is."""

    def __init__(self, home: str | None, *, name: str = "instance-00000001") -> None:
        self.home = home
        self._name = name

    def UUIDString(self) -> str:
        return GUEST

    def name(self) -> str:
        return self._name

    def metadata(self, kind: int, uri: str) -> str:
        assert (kind, uri) == (libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE)
        if self.home is None:
            error = libvirt.libvirtError("no metadata")
            error.err = (libvirt.VIR_ERR_NO_DOMAIN_METADATA, 0, "", 0, "", "", "", 0, 0)
            raise error
        inner = f"<g:instances>{self.home}</g:instances>" if self.home else ""
        return f"<g:server xmlns:g='{NAMESPACE}'>{inner}</g:server>"


def connection(domain: Domain) -> Any:
    def by_name(name: str) -> Domain:
        if name != domain.name():
            error = libvirt.libvirtError("no domain")
            error.err = (libvirt.VIR_ERR_NO_DOMAIN, 0, "", 0, "", "", "", 0, 0)
            raise error
        return domain

    return SimpleNamespace(lookupByUUIDString=lambda _id: domain, lookupByName=by_name)


@pytest.mark.parametrize(
    ("home", "ours"), [("/a/instances", True), ("/b/instances", False), (None, False), ("", False)]
)
def test_domain_is_ours_by_the_folder_that_it_names(home: str | None, ours: bool) -> None:
    found = domains.find(connection(Domain(home)), GUEST, Path("/a/instances"))
    assert (found is not None) == ours


def test_domain_from_before_counts_by_its_guests_folder(tmp_path: Path) -> None:
    assert domains.find(connection(Domain("")), GUEST, tmp_path) is None
    (tmp_path / GUEST).mkdir()
    assert domains.find(connection(Domain("")), GUEST, tmp_path) is not None


def test_foreign_domain_of_the_same_id_or_name_is_never_defined_over() -> None:
    with pytest.raises(domains.ForeignDomain, match="instance_name_template"):
        domains.check_not_foreign(connection(Domain("/b")), GUEST, "instance-00000001")


def card() -> Card:
    (found,) = cards_of(DESCRIPTION)
    return found


def test_cards_are_read_with_their_port_and_bridge() -> None:
    found = card()
    assert (found.device, found.bridge, found.port_id) == ("tap00000000-00", "br-int", PORT)


def test_card_is_well_only_with_its_tap_on_its_bridge_under_its_ports_name(tmp_path: Path) -> None:
    good = SwitchPort("br-int", PORT, GUEST)
    assert trouble_of(card(), {card().device: good}, tmp_path) == TAP_GONE
    (tmp_path / card().device).mkdir()
    assert trouble_of(card(), {card().device: good}, tmp_path) == ""
    assert trouble_of(card(), {}, tmp_path) == "its tap is not on br-int"
    elsewhere = {card().device: SwitchPort("br-ex", PORT, GUEST)}
    assert trouble_of(card(), elsewhere, tmp_path) == "its tap is not on br-int"
    other = {card().device: SwitchPort("br-int", GUEST, GUEST)}
    assert "another port's" in trouble_of(card(), other, tmp_path)


def test_card_that_its_guest_does_not_let_go_is_not_tried_every_round(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tried: list[str] = []
    two = [(GUEST, [card()]), ("other", [card()])]
    look = HostLook(tmp_path, SimpleNamespace(call=lambda ask: two), Vifs(LibvirtOptions(), FakeRunner()))

    def replug(guest_id: str, bad: Card) -> None:
        tried.append(guest_id)
        raise AgentError("card_stays", "reboot it")

    monkeypatch.setattr(look, "_replug", replug)
    for _ in range(3):
        assert look.mend(set(), lambda guest_id: nullcontext(), lambda guest_id: False) == 0
    assert tried == [GUEST]


def test_ports_of_the_switch_are_read_with_bridge_and_marks() -> None:
    tables = [
        {"data": [["br-int", ["set", [["uuid", "p1"], ["uuid", "p2"]]]]]},
        {"data": [[["uuid", "p1"], ["uuid", "i1"]], [["uuid", "p2"], ["uuid", "i2"]]]},
        {
            "data": [
                [["uuid", "i1"], "tap1", ["map", [["iface-id", PORT], ["vm-id", GUEST]]]],
                [["uuid", "i2"], "patch", ["map", []]],
            ]
        },
    ]
    text = "\n".join(json.dumps(one) for one in tables)
    vifs = Vifs(LibvirtOptions(), FakeRunner(lambda args, body: text))
    assert vifs.switch_ports() == {
        "tap1": SwitchPort("br-int", PORT, GUEST),
        "patch": SwitchPort("br-int", "", ""),
    }

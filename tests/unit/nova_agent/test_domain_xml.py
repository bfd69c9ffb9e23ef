"""The description of a domain, and the choice between KVM and TCG, without a hypervisor."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from nova_guests import guest, port

pytest.importorskip("libvirt", reason="libvirt-python is not installed")

from gureum.core.runner import CommandTimeout, Completed, FakeRunner
from gureum.nova.agent.config import LibvirtOptions
from gureum.nova.agent.contract import FlavorSpec, GuestSpec, ImageUnusable
from gureum.nova.drivers.libvirt import console, host, probe
from gureum.nova.drivers.libvirt.disks import Disk, GuestFiles
from gureum.nova.drivers.libvirt.domain_xml import DomainPlan, domain_xml

FOLDER = Path("/instances/x")
ROOT = Disk(
    FOLDER / "disk", "qcow2", "virtio", "vda", boot_order=1, backing=(FOLDER / "disk.base", "raw")
)


def describe(spec: GuestSpec | None = None, **changes: object) -> ET.Element:
    plan = DomainPlan(
        spec or guest(),
        "instance-0000002a",
        GuestFiles(FOLDER, (ROOT,)),
        "qemu",
        LibvirtOptions(),
    )
    return ET.fromstring(domain_xml(replace(plan, **changes)))


def with_properties(**properties: str) -> GuestSpec:
    one = guest()
    assert one.image is not None
    return replace(one, image=replace(one.image, properties=properties))


def test_every_format_is_named_and_the_chain_ends() -> None:
    disk = describe().find("./devices/disk")
    assert disk is not None
    assert disk.find("driver").get("type") == "qcow2"
    backing = disk.find("backingStore")
    assert backing.find("format").get("type") == "raw"
    assert list(backing.find("backingStore")) == []


def test_card_is_bound_to_its_port() -> None:
    card = describe().find("./devices/interface")
    assert card.find("virtualport").get("type") == "openvswitch"
    parameters = card.find("virtualport/parameters")
    assert parameters.get("interfaceid") == port().port_id
    assert card.find("target").get("dev") == "tap1f2e3d4c-00"
    assert len(card.find("target").get("dev")) <= 15
    assert card.find("mtu").get("size") == "1450"
    assert card.find("driver") is None


def test_offload_is_off_on_a_user_space_switch() -> None:
    card = describe(offload=False).find("./devices/interface")
    assert card.find("driver/host").get("csum") == "off"
    assert card.find("driver/guest").get("tso4") == "off"


def test_linux_bridge_card_has_no_virtual_port() -> None:
    card = describe(guest(ports=(port(vif_type="bridge", bridge="brq1"),))).find(
        "./devices/interface"
    )
    assert card.find("virtualport") is None
    assert card.find("source").get("bridge") == "brq1"


@pytest.mark.parametrize(
    ("virt_type", "option", "mode"),
    [
        ("qemu", "auto", "maximum"),
        ("kvm", "auto", "host-model"),
        ("kvm", "host-passthrough", "host-passthrough"),
    ],
)
def test_cpu_follows_the_kind_of_guests(virt_type: str, option: str, mode: str) -> None:
    domain = describe(virt_type=virt_type, options=LibvirtOptions(cpu_mode=option))
    assert domain.find("cpu").get("mode") == mode


def test_custom_cpu_is_a_named_model() -> None:
    options = LibvirtOptions(cpu_mode="custom", cpu_model="Nehalem")
    assert describe(options=options).findtext("cpu/model") == "Nehalem"


def test_topology_that_does_not_fit_is_not_used() -> None:
    specs = {"hw:cpu_cores": "2", "hw:cpu_threads": "2"}
    flavor = FlavorSpec("1", "f", 4, 64, 1, extra_specs=specs)
    topology = describe(guest(flavor=flavor)).find("cpu/topology")
    assert dict(topology.attrib) == {"sockets": "1", "cores": "2", "threads": "2"}
    odd = replace(flavor, vcpus=3)
    topology = describe(guest(flavor=odd)).find("cpu/topology")
    assert dict(topology.attrib) == {"sockets": "3", "cores": "1", "threads": "1"}


def test_screen_listens_where_configured_and_nowhere_else() -> None:
    graphics = describe().findall("./devices/graphics")
    assert [one.get("listen") for one in graphics] == ["127.0.0.1"]


def test_markup_in_names_stays_text() -> None:
    name = "</gureum:name><devices/>\x01"
    domain = describe(guest(name=name))
    shown = domain.findtext(".//{urn:gureum:nova:1}server/{urn:gureum:nova:1}name")
    assert shown == "</gureum:name><devices/>?"
    assert len(domain.findall("devices")) == 1


def test_no_secret_is_in_the_description() -> None:
    text = ET.tostring(describe(guest(config_drive=True)), encoding="unicode")
    assert "s3cret-pass" not in text


@pytest.mark.parametrize("name", ["hw_vif_model", "hw_video_model"])
def test_unknown_model_is_refused(name: str) -> None:
    with pytest.raises(ImageUnusable):
        describe(with_properties(**{name: "warp-drive"}))


def test_watchdog_and_agent_channel_follow_the_image() -> None:
    domain = describe(with_properties(hw_watchdog_action="reset", hw_qemu_guest_agent="yes"))
    assert domain.find("./devices/watchdog").get("action") == "reset"
    assert domain.find("./devices/channel/target").get("name") == "org.qemu.guest_agent.0"


def test_kvm_that_hangs_is_not_used_and_the_verdict_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr(probe, "KVM_DEVICE", str(device))

    def answer(args: tuple[str, ...], input: bytes | None) -> str | Completed:
        if "--version" in args:
            return "QEMU emulator version 7.2"
        raise CommandTimeout(args, "no end after 15 s")

    runner = FakeRunner(answer)
    finder = probe.VirtTypeProbe(runner, tmp_path / "memory.json", 15)
    assert finder.virt_type() == "qemu"
    asked = len(runner.calls)
    assert finder.virt_type() == "qemu"
    assert len(runner.calls) == asked + 1  # the version only


@pytest.mark.parametrize(("code", "kind"), [(33, "kvm"), (1, "qemu"), (134, "qemu")])
def test_kvm_is_used_when_the_probe_guest_ends_as_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: str
) -> None:
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr(probe, "KVM_DEVICE", str(device))
    runner = FakeRunner(lambda args, input: Completed(args, code, "", ""))
    assert probe.VirtTypeProbe(runner, tmp_path / "m", 15).virt_type() == kind


def test_boot_sector_is_one_sector() -> None:
    sector = probe.boot_sector()
    assert len(sector) == 512
    assert sector.endswith(b"\x55\xaa")


def test_console_log_is_read_over_its_rotation_and_bounded(tmp_path: Path) -> None:
    (tmp_path / "console.log.0").write_bytes(b"old\n" * 10)
    (tmp_path / "console.log").write_bytes(b"new\n" * 2)
    assert console.tail(tmp_path, 1000, 4) == "old\nold\nnew\nnew\n"
    assert console.tail(tmp_path, 12, None) == "old\nnew\nnew\n"
    assert console.tail(tmp_path / "missing", 12, None) == ""


def test_console_log_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "console.log").symlink_to(tmp_path / "secret")
    assert console.tail(tmp_path, 100, None) == ""


def test_cpu_flags_become_traits() -> None:
    assert sorted(host.cpu_traits(["avx2", "sse4_2", "aes", "fma", "nonsense"])) == [
        "HW_CPU_X86_AESNI",
        "HW_CPU_X86_AVX2",
        "HW_CPU_X86_FMA3",
        "HW_CPU_X86_SSE42",
    ]


def test_compute_node_keeps_its_id(tmp_path: Path) -> None:
    assert host.host_uuid(tmp_path) == host.host_uuid(tmp_path)

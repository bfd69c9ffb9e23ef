"""The libvirt driver with real QEMU guests. Needs root, libvirtd, Open vSwitch, qemu-img."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "nova_agent"))

libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")
from driver_conformance import TINY, TINY_IMAGE, DriverConformance, Images, order  # noqa: E402
from nova_guests import guest, port  # noqa: E402

from gureum.core.runner import Runner  # noqa: E402
from gureum.nova.agent.config import ComputeOptions, LibvirtOptions  # noqa: E402
from gureum.nova.agent.contract import (  # noqa: E402
    FlavorSpec,
    HostDiskFull,
    ImageUnavailable,
    ImageUnusable,
)
from gureum.nova.drivers.base import SpawnOrder  # noqa: E402
from gureum.nova.drivers.libvirt.driver import LibvirtDriver  # noqa: E402
from gureum.nova.metadata import config_drive  # noqa: E402
from gureum.nova.metadata.model import from_guest  # noqa: E402

# Another libvirtd than the machine's may be named, such as one in a namespace of its own.
URI = os.environ.get("GUREUM_TEST_LIBVIRT_URI", "qemu:///system")
PREFIX = "nct-"
BRIDGE = "nct-br"
HOME = Path("/var/tmp")


def _reason() -> str:
    if os.geteuid() != 0:
        return "needs root"
    for program in ("qemu-img", "virsh", "genisoimage", "prlimit"):
        if shutil.which(program) is None:
            return f"needs {program}"
    try:
        libvirt.open(URI).close()
    except libvirt.libvirtError as error:
        return f"needs libvirtd: {error}"
    return ""


REASON = _reason()
pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.skipif(bool(REASON), reason=REASON)]


def run(*args: str) -> str:
    return subprocess.run(args, check=True, capture_output=True, text=True, timeout=60).stdout


class Host:
    """A compute host of this test: its own folders and names on the machine's libvirtd."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tag = path.name.rsplit("-", 1)[-1]
        self.drivers: list[LibvirtDriver] = []
        self.driver = self.make()

    def make(self, **changes: object) -> LibvirtDriver:
        options = ComputeOptions(
            state_path=str(self.path / "nova"), instances_path=str(self.path / "instances")
        )
        values: dict[str, object] = {
            "instance_name_template": f"{PREFIX}{self.tag}-%08x",
            "virt_type": "qemu",
            "connection_uri": URI,
        }
        driver = LibvirtDriver(
            options, LibvirtOptions(**{**values, **changes}), "nct-host", Runner()
        )
        self.drivers.append(driver)
        return driver

    @property
    def instances(self) -> Path:
        return self.path / "instances"

    def bases(self) -> list[str]:
        return sorted(one.name for one in (self.instances / "_base").iterdir() if one.is_file())

    def clean(self) -> None:
        connection = libvirt.open(URI)
        for domain in connection.listAllDomains():
            if domain.name().startswith(f"{PREFIX}{self.tag}-"):
                if domain.isActive():
                    domain.destroy()
                domain.undefineFlags(
                    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
                )
        connection.close()
        for driver in self.drivers:
            driver.close()
        shutil.rmtree(self.path, ignore_errors=True)


@pytest.fixture
def host() -> Iterator[Host]:
    path = HOME / f"nct-{os.getpid()}-{time.monotonic_ns():x}"
    path.mkdir(mode=0o711)
    made = Host(path)
    yield made
    made.clean()


@pytest.fixture
def bridge() -> Iterator[str]:
    if shutil.which("ovs-vsctl") is None:
        pytest.skip("needs Open vSwitch")
    vsctl = ("ovs-vsctl", "--timeout=10")
    run(*vsctl, "--may-exist", "add-br", BRIDGE, "--", "set", "Bridge", BRIDGE,
        "datapath_type=netdev")  # fmt: skip
    yield BRIDGE
    run(*vsctl, "--if-exists", "del-br", BRIDGE)


class TestLibvirtDriver(DriverConformance):
    """The conformance suite."""

    @pytest.fixture
    def driver(self, host: Host) -> LibvirtDriver:
        return host.driver


def dumped(guest_id: str) -> str:
    return run("virsh", "-c", URI, "dumpxml", guest_id)


def process_of(guest_id: str) -> int:
    """Return the QEMU process of a guest."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            args = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"qemu-system" in args[0] and guest_id.encode() in args:
            return int(path.parent.name)
    raise AssertionError(f"no process of {guest_id}")


def test_guests_are_found_after_the_driver_starts_again(host: Host) -> None:
    one = order()
    host.driver.spawn(one)
    host.driver.close()
    again = host.make()
    assert [state.power_state for state in again.guest_states()] == ["running"]
    assert again.spawn(one).power_state == "running"


def test_image_is_fetched_once_for_all_guests(host: Host) -> None:
    images = Images()
    first, second = order(images), order(images)
    host.driver.spawn(first)
    host.driver.spawn(second)
    assert images.reads == [TINY_IMAGE.id]
    assert len(host.bases()) == 1
    base = host.instances / "_base" / host.bases()[0]
    assert base.stat().st_nlink == 3
    assert base.read_bytes() == TINY


def test_root_disk_grows_to_the_flavor(host: Host) -> None:
    one = order(flavor=FlavorSpec("1", "f", 1, 64, disk_gib=2, ephemeral_gib=1, swap_mib=64))
    handle = host.driver.spawn(one)
    assert handle.root_device_name == "/dev/vda"
    folder = host.instances / one.guest.server_id
    info = run("qemu-img", "info", "-U", "-f", "qcow2", str(folder / "disk"))
    assert "virtual size: 2 GiB" in info
    assert "backing file: disk.base" in info
    assert "backing file format: raw" in info
    text = dumped(one.guest.server_id)
    assert "dev='vda'" in text
    assert "dev='vdb'" in text
    assert "dev='vdc'" in text
    assert (folder / "disk.eph0").exists()
    assert (folder / "disk.swap").exists()


def test_domain_says_whose_it_is_and_listens_on_loopback_only(host: Host) -> None:
    one = order()
    host.driver.spawn(one)
    text = dumped(one.guest.server_id)
    assert "<gureum:name>Web One</gureum:name>" in text
    assert "OpenStack Compute" in text
    assert "listen='127.0.0.1'" in text
    assert "s3cret-pass" not in text


def test_config_drive_is_a_cdrom_with_the_label(host: Host, tmp_path: Path) -> None:
    plain = order(images := Images())
    files = config_drive.files(from_guest(plain.guest))
    one = SpawnOrder(plain.guest, images, files)
    assert host.driver.spawn(one).config_drive
    drive = host.instances / one.guest.server_id / "disk.config"
    listing = run("isoinfo", "-J", "-f", "-i", str(drive))
    assert "/openstack/latest/meta_data.json" in listing
    assert "/ec2/latest/meta-data.json" in listing
    assert "Volume id: config-2" in run("isoinfo", "-d", "-i", str(drive))
    assert not (host.instances / one.guest.server_id / "config.d").exists()
    assert "device='cdrom'" in dumped(one.guest.server_id)


def test_qcow2_image_is_unpacked_to_raw(host: Host, tmp_path: Path) -> None:
    raw, packed = tmp_path / "a.raw", tmp_path / "a.qcow2"
    raw.write_bytes(TINY)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", str(raw), str(packed))
    images = Images()
    spec = images.add("1111", packed.read_bytes(), disk_format="qcow2")
    host.driver.spawn(order(images, image=spec))
    assert [name.rsplit(".")[-1] for name in host.bases()] == ["raw"]


def test_qcow2_image_stays_qcow2_when_raw_is_not_forced(host: Host, tmp_path: Path) -> None:
    raw, packed = tmp_path / "a.raw", tmp_path / "a.qcow2"
    raw.write_bytes(TINY)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(packed))
    images = Images()
    spec = images.add("1111", packed.read_bytes(), disk_format="qcow2")
    driver = host.make(force_raw_images=False)
    assert driver.spawn(order(images, image=spec)).power_state == "running"
    assert [name.rsplit(".")[-1] for name in host.bases()] == ["qcow2"]


def _with_backing(tmp_path: Path) -> bytes:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(1 << 16))
    path = tmp_path / "evil.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-F", "raw", "-b", str(secret), str(path), "1M")
    return path.read_bytes()


def _with_data_file(tmp_path: Path) -> bytes:
    path = tmp_path / "evil2.qcow2"
    option = f"data_file={tmp_path / 'data'},data_file_raw=on"
    run("qemu-img", "create", "-f", "qcow2", "-o", option, str(path), "1M")
    return path.read_bytes()


def _qcow2(tmp_path: Path, size: str) -> bytes:
    path = tmp_path / "plain.qcow2"
    run("qemu-img", "create", "-f", "qcow2", str(path), size)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("kind", "claim"),
    [
        ("backing", "qcow2"),
        ("data_file", "qcow2"),
        ("qcow2", "raw"),
        ("text", "qcow2"),
        ("descriptor", "vmdk"),
        ("qcow2", "docker"),
        ("huge", "qcow2"),
    ],
)
def test_abuse_1_3_4_5_8_image_that_is_not_what_it_claims_is_refused(
    host: Host, tmp_path: Path, kind: str, claim: str
) -> None:
    body = {
        "backing": lambda: _with_backing(tmp_path),
        "data_file": lambda: _with_data_file(tmp_path),
        "qcow2": lambda: _qcow2(tmp_path, "1M"),
        "huge": lambda: _qcow2(tmp_path, "100T"),
        "text": lambda: b"hello" * 1000,
        "descriptor": lambda: (
            b"# Disk DescriptorFile\nversion=1\nCID=fffffffe\n"
            b'parentCID=ffffffff\ncreateType="monolithicFlat"\n'
            b'RW 4192256 FLAT "/etc/passwd" 0\n' + bytes(1024)
        ),
    }[kind]()
    images = Images()
    spec = images.add("2222", body, disk_format=claim)
    one = order(images, image=spec)
    with pytest.raises(ImageUnusable):
        host.driver.spawn(one)
    assert host.bases() == []
    host.driver.destroy(one.guest.server_id, delete_disks=True)
    assert host.driver.leftovers() == []


def test_image_larger_than_the_flavor_is_refused(host: Host, tmp_path: Path) -> None:
    images = Images()
    spec = images.add("3333", _qcow2(tmp_path, "2G"), disk_format="qcow2")
    one = order(images, image=spec, flavor=FlavorSpec("1", "f", 1, 64, disk_gib=1))
    with pytest.raises(ImageUnusable, match="2147483648"):
        host.driver.spawn(one)


def test_wrong_checksum_is_refused_after_new_attempts(host: Host) -> None:
    images = Images()
    spec = images.add("4444", TINY, checksum="0" * 32)
    with pytest.raises(ImageUnavailable, match="checksum"):
        host.driver.spawn(order(images, image=spec))
    assert len(images.reads) == 3
    assert host.bases() == []


def test_full_disk_is_said_and_leaves_no_part(host: Host) -> None:
    base = host.instances / "_base"
    run("mount", "-t", "tmpfs", "-o", "size=512k,mode=711", "nct-full", str(base))
    try:
        one = order()
        with pytest.raises(HostDiskFull):
            host.driver.spawn(one)
        images = Images()
        unsized = images.add("5555", os.urandom(1 << 20), size_bytes=0)
        with pytest.raises(HostDiskFull):
            host.driver.spawn(order(images, image=unsized))
        assert [path.name for path in base.iterdir() if path.is_file()] == []
    finally:
        run("umount", str(base))


def test_unused_base_image_is_aged_out(host: Host) -> None:
    driver = host.make(remove_unused_original_minimum_age_seconds=0)
    one = order()
    driver.spawn(one)
    driver.housekeep()
    assert len(host.bases()) == 1
    driver.destroy(one.guest.server_id, delete_disks=True)
    driver.housekeep()
    assert host.bases() == []


def test_iso_image_boots_as_cdrom_beside_an_empty_disk(host: Host) -> None:
    images = Images()
    spec = images.add("6666", TINY, disk_format="iso")
    one = order(images, image=spec, flavor=FlavorSpec("1", "f", 1, 64, disk_gib=1))
    host.driver.spawn(one)
    text = dumped(one.guest.server_id)
    assert "device='cdrom'" in text
    assert "disk.iso" in text


def test_image_with_kernel_boots_it_directly(host: Host) -> None:
    images = Images()
    images.add("7771", b"kernel" * 512, disk_format="aki")
    images.add("7772", b"ramdisk" * 512, disk_format="ari")
    spec = images.add("7773", TINY, disk_format="ami", kernel_id="7771", ramdisk_id="7772")
    one = order(images, image=spec, power_on=False)
    host.driver.spawn(one)
    text = dumped(one.guest.server_id)
    assert "<cmdline>root=/dev/vda console=tty0 console=ttyS0</cmdline>" in text
    folder = host.instances / one.guest.server_id
    assert (folder / "kernel").read_bytes() == b"kernel" * 512
    assert (folder / "ramdisk").read_bytes() == b"ramdisk" * 512


@pytest.mark.parametrize(
    ("properties", "wanted"),
    [
        ({"hw_machine_type": "q35"}, ("pcie-root-port", "dev='vda'")),
        ({"hw_disk_bus": "scsi", "hw_scsi_model": "virtio-scsi"}, ("virtio-scsi", "dev='sda'")),
        ({"hw_disk_bus": "ide"}, ("dev='hda'",)),
        ({"hw_machine_type": "q35", "hw_disk_bus": "sata"}, ("bus='sata'",)),
        ({"hw_qemu_guest_agent": "yes"}, ("org.qemu.guest_agent.0",)),
        ({"hw_video_model": "virtio"}, ("model type='virtio'",)),
    ],
)
def test_image_properties_choose_devices_that_qemu_accepts(
    host: Host, properties: dict[str, str], wanted: tuple[str, ...]
) -> None:
    images = Images()
    spec = images.add("8888", TINY, properties=properties)
    one = order(images, image=spec)
    assert host.driver.spawn(one).power_state == "running"
    text = dumped(one.guest.server_id)
    for part in wanted:
        assert part in text


def test_card_is_plugged_into_open_vswitch_and_leaves_it(host: Host, bridge: str) -> None:
    card = port(bridge=bridge)
    one = order(ports=(card,))
    host.driver.spawn(one)
    vsctl = ("ovs-vsctl", "--timeout=10")
    assert run(*vsctl, "list-ports", bridge).split() == [card.device]
    iface = run(*vsctl, "--bare", "get", "Interface", card.device, "external_ids:iface-id")
    assert iface.strip().strip('"') == card.port_id
    assert Path(f"/sys/class/net/{card.device}/mtu").read_text().strip() == "1450"
    second = port(
        bridge=bridge, port_id="2f2e3d4c-0000-4000-8000-000000000002", mac="fa:16:3e:00:00:02"
    )
    for _ in range(2):
        host.driver.attach_interface(one.guest.server_id, second)
    assert sorted(run(*vsctl, "list-ports", bridge).split()) == [card.device, second.device]
    host.driver.destroy(one.guest.server_id, delete_disks=True)
    assert run(*vsctl, "list-ports", bridge).split() == []


def test_card_of_a_stopped_guest_is_unplugged(host: Host, bridge: str) -> None:
    card = port(bridge=bridge)
    one = order(ports=(card,), power_on=False)
    host.driver.spawn(one)
    for _ in range(2):
        host.driver.detach_interface(one.guest.server_id, card)
    assert card.mac not in dumped(one.guest.server_id)


def test_stale_tap_of_a_lost_guest_is_taken_off_the_switch(host: Host, bridge: str) -> None:
    lost = guest().server_id
    run("ovs-vsctl", "--timeout=10", "add-port", bridge, "nct-lost", "--", "set", "Interface",
        "nct-lost", "type=internal", f'external_ids:vm-id="{lost}"')  # fmt: skip
    host.driver.destroy(lost, delete_disks=True)
    assert run("ovs-vsctl", "--timeout=10", "list-ports", bridge).split() == []


def test_guest_killed_underneath_is_told_and_shut_down(host: Host) -> None:
    import threading

    told = threading.Event()
    one = order()
    host.driver.watch(lambda guest_id: told.set() if guest_id == one.guest.server_id else None)
    host.driver.spawn(one)
    told.clear()
    os.kill(process_of(one.guest.server_id), signal.SIGKILL)
    assert told.wait(20)
    assert [state.power_state for state in host.driver.guest_states()] == ["shutdown"]


def test_screen_is_reached_through_the_console_proxy(host: Host) -> None:
    import socket

    from websockets.sync.client import connect

    from gureum.core.listen import HttpListeners
    from gureum.core.metrics import Metrics
    from gureum.nova.console.config import NovncProxyOptions
    from gureum.nova.console.contract import ConsoleAuth, ConsoleTarget
    from gureum.nova.console.proxy import NovncProxy

    one = order()
    host.driver.spawn(one)

    class Auth(ConsoleAuth):
        def validate(self, token: str) -> ConsoleTarget | None:
            address = host.driver.vnc_console(one.guest.server_id)
            return ConsoleTarget(one.guest.server_id, address.host, address.port)

        def session_alive(self, server_id: str) -> bool:
            return True

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    proxy = NovncProxy(NovncProxyOptions(), f"http://127.0.0.1:{free}", Auth())
    listeners = HttpListeners(Metrics(), dict, drain_s=1)
    listeners.mount("novncproxy", "127.0.0.1", free, proxy, websockets=True)
    listeners.open()
    listeners.serve()
    with connect(f"ws://127.0.0.1:{free}/?token=x", proxy=None) as console:
        assert console.recv(timeout=10) == b"RFB 003.008\n"
        console.send(b"RFB 003.008\n")
        assert console.recv(timeout=10) == b"\x01\x01"  # one kind of security: none
        host.driver.destroy(one.guest.server_id, delete_disks=True)
        with pytest.raises(Exception, match="1000"):
            console.recv(timeout=10)
    listeners.drain()
    proxy.close()


GUEST_IMAGE = os.environ.get("GUREUM_TEST_GUEST_IMAGE", "")


@pytest.mark.skipif(
    not Path(GUEST_IMAGE).is_file(), reason="GUREUM_TEST_GUEST_IMAGE names no guest image"
)
def test_real_guest_boots_unplugs_a_card_and_shuts_down_when_asked(host: Host, bridge: str) -> None:
    images = Images()
    spec = images.add("9999", Path(GUEST_IMAGE).read_bytes(), disk_format="qcow2")
    card = port(bridge=bridge)
    flavor = FlavorSpec("1", "f", 1, 256, disk_gib=1)
    plain = order(images, image=spec, flavor=flavor, ports=(card,))
    one = SpawnOrder(plain.guest, images, config_drive.files(from_guest(plain.guest)))
    host.driver.spawn(one)
    guest_id = one.guest.server_id
    deadline = time.monotonic() + 90
    while "login:" not in host.driver.console_log(guest_id, None):
        assert time.monotonic() < deadline, host.driver.console_log(guest_id, 30)
        time.sleep(0.5)
    second = port(
        bridge=bridge, port_id="2f2e3d4c-0000-4000-8000-000000000002", mac="fa:16:3e:00:00:02"
    )
    host.driver.attach_interface(guest_id, second)
    for _ in range(2):
        host.driver.detach_interface(guest_id, second)
    assert run("ovs-vsctl", "--timeout=10", "list-ports", bridge).split() == [card.device]
    began = time.monotonic()
    assert host.driver.power(guest_id, "stop", 60).power_state == "shutdown"
    assert time.monotonic() - began < 50  # it went by itself and was not killed
    assert host.driver.power(guest_id, "start", 0).power_state == "running"


_KILLED = """
import sys, os, signal
sys.path[:0] = {paths!r}
import test_libvirt_driver as t
from driver_conformance import order, Images
from gureum.nova.drivers.base import SpawnOrder
host = t.Host.__new__(t.Host)
host.path, host.tag, host.drivers = t.Path({path!r}), {tag!r}, []
driver = host.make()
left = [{at}]
def checkpoint():
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
flavor = t.FlavorSpec("1", "f", 1, 64, disk_gib=1, ephemeral_gib=1, swap_mib=16)
one = order(server_id={guest_id!r}, flavor=flavor, number=7)
driver.spawn(SpawnOrder(one.guest, Images(), {{"openstack/a": b"b"}}, checkpoint))
driver.close()
print("done")
"""


def test_sigkill_between_any_two_actions_leaves_what_destroy_removes(host: Host) -> None:
    here = Path(__file__).parent
    paths = [str(here), str(here.parent / "unit" / "nova_agent")]
    for at in range(60):
        guest_id = guest().server_id
        script = _KILLED.format(paths=paths, path=str(host.path), tag=host.tag, at=at,
                                guest_id=guest_id)  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", script],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode == 0:
            assert at > 5
            host.driver.destroy(guest_id, delete_disks=True)
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        again = order(
            server_id=guest_id,
            number=7,
            flavor=FlavorSpec("1", "f", 1, 64, disk_gib=1, ephemeral_gib=1, swap_mib=16),
        )
        if at % 2:  # every second time the order is carried out again before it is undone
            assert host.driver.spawn(again).power_state == "running"
        host.driver.destroy(guest_id, delete_disks=True)
        assert host.driver.leftovers() == []
        assert host.driver.guest_states() == []
        assert [one.name for one in host.instances.iterdir()] == ["_base"]
        host.driver.housekeep()
        assert not [name for name in host.bases() if name.startswith(".")]
        for name in host.bases():
            if not name.startswith(("swap", "ephemeral")):
                (host.instances / "_base" / name).unlink()
    else:
        pytest.fail("the spawn never came to its end")

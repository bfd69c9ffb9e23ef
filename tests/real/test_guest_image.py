"""Build the guest image, boot it without KVM, log in and run the commands that tests run in it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gureum.core.runner import Completed, Runner
from gureum.guestimage.build import GuestImage, build

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        shutil.which("qemu-system-x86_64") is None or shutil.which("genisoimage") is None,
        reason="qemu-system-x86_64 or genisoimage is not installed",
    ),
]
BOOT_S = 120
PROLOGUE = "set -eu -o pipefail; PATH=$PATH:/sbin:/usr/sbin; "


class Guest:
    """A running guest, reached through a port on loopback."""

    def __init__(
        self, folder: Path, port: int, key: Path, process: subprocess.Popen[bytes]
    ) -> None:
        self.folder, self.port, self.key, self.process = folder, port, key, process

    def ssh(self, command: str, *, password: str | None = None, check: bool = True) -> Completed:
        options = ["-q", "-p", str(self.port)]
        for option in (
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "ConnectTimeout=10",
        ):
            options += ["-o", option]
        env = {}
        if password is None:
            options += ["-i", str(self.key), "-o", "PasswordAuthentication=no"]
        else:
            ask = self.folder / "ask"
            ask.write_text('#!/bin/sh\necho "$GUEST_PASSWORD"\n')
            ask.chmod(0o700)
            env = {"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
            env["GUEST_PASSWORD"] = password
            options += ["-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1"]
        return Runner().run(
            ["ssh", *options, "gureum@127.0.0.1", PROLOGUE + command],
            timeout_s=60,
            env=env,
            check=check,
        )

    def console(self) -> str:
        return (self.folder / "console.log").read_text(errors="replace")

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + BOOT_S
        while text not in self.console():
            if time.monotonic() > deadline:
                raise AssertionError(f"no {text!r} within {BOOT_S} s:\n{self.console()[-2000:]}")
            time.sleep(0.3)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> GuestImage:
    cache = os.environ.get("GUREUM_TEST_GUEST_CACHE")
    folder = Path(cache) if cache else tmp_path_factory.mktemp("image")
    return build(Runner(), folder / "gureum-guest.qcow2", folder / "cache", triple=True)


def _config_drive(folder: Path, key: Path, name: str = "my-server") -> Path:
    latest = folder / "drive" / "openstack" / "latest"
    latest.mkdir(parents=True)
    (folder / "drive" / "openstack" / "content").mkdir()
    (folder / "drive" / "openstack" / "content" / "0000").write_text("injected\n")
    (latest / "user_data").write_text("#!/bin/sh\necho ran > /root/user-data-ran\n")
    (latest / "meta_data.json").write_text(
        json.dumps(
            {
                "uuid": f"id-of-{name}",
                "hostname": f"{name}.novalocal",
                "public_keys": {"mine": key.with_suffix(".pub").read_text()},
                "admin_pass": "Newpass1234'x",
                "files": [{"path": "/etc/injected", "content_path": "/content/0000"}],
            }
        )
    )
    drive = folder / "drive.iso"
    Runner().run(
        ["genisoimage", "-quiet", "-r", "-J", "-V", "config-2", "-o", str(drive),
         str(folder / "drive")],
        timeout_s=60,
    )  # fmt: skip
    return drive


def _start(folder: Path, arguments: list[str], key: Path) -> Iterator[Guest]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "256", "-display", "none",
         "-serial", f"file:{folder}/console.log", "-qmp",
         f"unix:{folder}/qmp,server=on,wait=off", "-device", "virtio-rng-pci",
         "-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{port}-:22",
         "-device", "virtio-net-pci,netdev=n", *arguments],
    )  # fmt: skip
    try:
        guest = Guest(folder, port, key, process)
        deadline = time.monotonic() + 10
        while not (folder / "console.log").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        yield guest
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


def _key(folder: Path) -> Path:
    key = folder / "key"
    Runner().run(
        ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", str(key)], timeout_s=30
    )
    return key


@pytest.fixture(scope="module")
def guest(image: GuestImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    folder = tmp_path_factory.mktemp("guest")
    key = _key(folder)
    disk = folder / "disk.qcow2"
    Runner().run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image.qcow2),
         str(disk), "1G"],
        timeout_s=60,
    )  # fmt: skip
    drives = ["-drive", f"file={disk},if=virtio"]
    drives += ["-drive", f"file={_config_drive(folder, key)},media=cdrom,format=raw"]
    for guest in _start(folder, drives, key):
        guest.wait_for("is set up after")
        yield guest


def test_image_is_small_and_its_disk_fits_one_gib(image: GuestImage) -> None:
    shown = Runner().run(["qemu-img", "info", "--output=json", str(image.qcow2)], timeout_s=60)
    info = json.loads(shown.stdout)
    assert info["format"] == "qcow2"
    assert info["virtual-size"] <= 1 << 30
    assert image.qcow2.stat().st_size < 100 << 20


def test_key_from_the_config_drive_logs_in_and_hostname_is_the_servers(guest: Guest) -> None:
    assert guest.ssh("hostname").stdout.strip() == "my-server"


def test_admin_password_logs_in_and_the_old_one_does_not(guest: Guest) -> None:
    assert guest.ssh("id -un", password="Newpass1234'x").stdout.strip() == "gureum"
    assert guest.ssh("id -un", password="gureum", check=False).code != 0


def test_personality_and_user_data_are_there(guest: Guest) -> None:
    assert guest.ssh("sudo cat /etc/injected").stdout == "injected\n"
    assert guest.ssh("sudo cat /root/user-data-ran").stdout == "ran\n"


def test_plain_user_finds_and_root_mounts_the_config_drive(guest: Guest) -> None:
    shown = guest.ssh(
        "dev=$(blkid -L config-2 -o device); sudo mount $dev /mnt;"
        " sudo cat /mnt/openstack/latest/meta_data.json; sudo umount /mnt"
    )
    assert json.loads(shown.stdout)["hostname"] == "my-server.novalocal"


def test_root_file_system_grew_to_the_disk(guest: Guest) -> None:
    guest.ssh("for i in $(seq 50); do df -m / | grep -q ' 9[0-9][0-9] ' && break; sleep 0.3; done")
    assert int(guest.ssh("df -m / | awk 'NR==2 {print $2}'").stdout) > 900


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("lsblk -lb --nodeps | grep -w disk | cut -d' ' -f1", "vda"),
        ("grep -c ^processor /proc/cpuinfo", "1"),
        ("grep -c -E [vs]d.$ /proc/partitions", "1"),
        ("sudo sh -eux 2>/dev/null <<E\necho stdin\nE", "stdin"),
        ("curl -V >/dev/null && echo yes", "yes"),
        ("ping -c1 -w1 -s56 127.0.0.1 | grep -c 'bytes from'", "1"),
        ("ping -c1 -w1 -M do 127.0.0.1 | grep -c 'bytes from'", "1"),
        ("test -s /var/run/udhcpc.eth0.pid && echo yes", "yes"),
        ("sudo /bin/kill -USR1 $(cat /var/run/udhcpc.eth0.pid) && echo yes", "yes"),
        ("ip -o link | grep -c eth0:", "1"),
        ("ip -o -4 addr show eth0 | grep -c inet", "1"),
        ("sudo ip link add link eth0 name eth0.7 type vlan id 7 && echo yes", "yes"),
        ("grep -c nameserver /etc/resolv.conf", "1"),
        ("touch /dev/shm/x && echo yes", "yes"),
        ("df /tmp | awk 'NR==2 {print $6}'", "/"),
        ("echo hi | md5sum | head -c 4", "764e"),
        ("test -d /etc/sysconfig/network-scripts/ || echo no", "no"),
    ],
)
def test_command_of_the_conformance_page_answers(guest: Guest, command: str, expected: str) -> None:
    assert guest.ssh(command).stdout.strip() == expected


@pytest.mark.parametrize("kind", ["vfat", "ext4"])
def test_file_system_can_be_made_and_keeps_a_file(guest: Guest, kind: str) -> None:
    shown = guest.ssh(
        f"dd if=/dev/zero of=/tmp/{kind} bs=1M count=0 seek=40 2>/dev/null;"
        f" sudo mkfs -t {kind} /tmp/{kind} >/dev/null 2>&1; sudo mkdir -p /mnt/{kind};"
        f" sudo mount -o loop /tmp/{kind} /mnt/{kind};"
        f' sudo sh -c "echo kept > /mnt/{kind}/timestamp; sync";'
        f" sudo cat /mnt/{kind}/timestamp; sudo umount /mnt/{kind}; rm /tmp/{kind}"
    )
    assert shown.stdout.strip() == "kept"


@pytest.mark.parametrize("flag", ["", "-u"])
def test_nc_serves_many_and_is_found_by_its_name(guest: Guest, flag: str) -> None:
    guest.ssh(f"sudo nc {flag} -p 1234 -lk -e echo foolish </dev/zero >/dev/null 2>&1 & sleep 0.7")
    ask = f"echo bar | nc -w 1 {flag} 127.0.0.1 1234"
    assert guest.ssh(f"{ask}; {ask}").stdout.split() == ["foolish", "foolish"]
    guest.ssh("pidof nc; sudo killall nc")


def test_session_ends_although_a_command_stays_behind(guest: Guest) -> None:
    begun = time.monotonic()
    guest.ssh("sleep 60 > /tmp/behind &")
    assert time.monotonic() - begun < 30


def test_console_shows_more_than_ten_lines(guest: Guest) -> None:
    assert len(guest.console().splitlines()) > 10


def test_triple_boots_with_its_root_on_the_whole_disk(image: GuestImage, tmp_path: Path) -> None:
    disk = tmp_path / "disk.qcow2"
    Runner().run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image.ami), str(disk)],
        timeout_s=60,
    )
    arguments = ["-kernel", str(image.aki), "-initrd", str(image.ari)]
    arguments += ["-append", "root=/dev/vda console=tty0 console=ttyS0"]
    arguments += ["-drive", f"file={disk},if=virtio"]
    for guest in _start(tmp_path, arguments, tmp_path / "none"):
        guest.wait_for("sshd is listening")
        assert guest.ssh("id -un", password="gureum").stdout.strip() == "gureum"


def test_disk_started_as_a_new_server_takes_its_name_and_key(guest: Guest, tmp_path: Path) -> None:
    """The last test of the running guest: the power button ends it, as before a snapshot."""
    host_key = guest.ssh("sudo dropbearkey -y -f /etc/dropbear/dropbear_*5519_host_key").stdout
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(guest.folder / "qmp"))
        for command in ("qmp_capabilities", "system_powerdown"):
            control.sendall(json.dumps({"execute": command}).encode() + b"\n")
            control.recv(4096)
        guest.process.wait(timeout=60)
    assert "gureum: going down" in guest.console()
    key = _key(tmp_path)
    drives = ["-drive", f"file={guest.folder}/disk.qcow2,if=virtio"]
    drive = _config_drive(tmp_path, key, "copy")
    drives += ["-drive", f"file={drive},media=cdrom,format=raw"]
    for copy in _start(tmp_path, drives, key):
        copy.wait_for("is set up after")
        assert copy.ssh("hostname").stdout.strip() == "copy"
        copy.key = guest.key
        assert copy.ssh("hostname", check=False).code != 0
        copy.key = key
        shown = copy.ssh("sudo dropbearkey -y -f /etc/dropbear/dropbear_*5519_host_key")
        assert shown.stdout != host_key

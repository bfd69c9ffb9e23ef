"""Guests that start otherwise than from one disk with metadata: from kernel, ramdisk and disk (AKI, ARI, AMI)
with a config drive; and IPv6 addresses that they take from the router.

The tests build on each other, in this order. The cloud stands beside the machine's own.
"""

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodelab
import pytest
from cloudlab import Lab, beside, wait_for
from guestlab import BOOT_S, Guests

from gureum.cli.test import why_not_real
from gureum.core.runner import Runner
from gureum.guestimage.build import build

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(why_not_real()), reason=why_not_real() or "runs"),
]

PREFIX = ipaddress.ip_network("fd00:91::/64")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with beside("kinds") as made:
        yield made


@pytest.fixture(scope="module")
def guests(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guests]:
    made = Guests(lab, tmp_path_factory.mktemp("guests"), "kinds")
    made.cidr_v6 = str(PREFIX)
    made.make()
    yield made


@pytest.fixture(scope="module")
def triple(lab: Lab, guests: Guests, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The image service's ids of the guest as kernel, ramdisk and disk."""
    kept = os.environ.get("GUREUM_TEST_GUEST_CACHE")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("image")
    packages = Path(kept) / "cache" if kept else lab.place.state_dir / "guest-image" / "cache"
    made = build(Runner(), folder / "gureum-guest.qcow2", packages, triple=True)
    ids: dict[str, str] = {}
    for kind, path in (("aki", made.aki), ("ari", made.ari), ("ami", made.ami)):
        words = ["--disk-format", kind, "--container-format", kind, "--file", str(path)]
        if kind == "ami":
            words += ["--property", f"kernel_id={ids['aki']}"]
            words += ["--property", f"ramdisk_id={ids['ari']}"]
        ids[kind] = lab.openstack("image", "create", f"kinds-{kind}", *words)["id"]
    return ids


def console(guests: Guests, server: Any) -> str:
    """Return the console log of a server."""
    return str(guests.sdk.compute.get_server_console_output(server)["output"])


def test_guest_takes_its_ipv6_address_from_the_router(guests: Guests):
    wanted = {str(a) for a in addresses(guests, guests.server)}
    wait_for("the address", lambda: all(a in guests.ssh("ip -6 addr") for a in wanted), 60)
    assert "default via fe80::" in guests.ssh("ip -6 route")
    (other,) = addresses(guests, guests.other)
    command = f"ping -6 -c 2 -W 5 {other}"
    wait_for("ping", lambda: " 0% packet loss" in guests.ssh(command), BOOT_S, 3)


def addresses(guests: Guests, server: Any) -> list[ipaddress.IPv6Address]:
    """Return the addresses that Neutron gave a server from the IPv6 subnet."""
    given = (one["ip_address"] for one in guests.port(server).fixed_ips)
    found = [a for a in map(ipaddress.ip_address, given) if a.version == 6]
    assert found and all(a in PREFIX for a in found)
    return [a for a in found if isinstance(a, ipaddress.IPv6Address)]


def test_kernel_ramdisk_and_disk_start_with_a_config_drive(guests: Guests, triple: dict[str, str]):
    server = guests.active(guests.ask_for("kinds-triple", image="kinds-ami", config_drive=True))
    assert server.kernel_id == triple["aki"] and server.ramdisk_id == triple["ari"]

    def log() -> str:
        return console(guests, server)

    wait_for("set up", lambda: f"instance {server.id} is set up" in log(), BOOT_S, 2)
    text = log()
    assert "Linux version" in text, "the kernel was not given a console"
    assert "metadata from config drive" in text
    assert "hostname is kinds-triple" in text


def test_console_log_goes_on_after_a_restart_of_the_guest_and_of_the_node(guests: Guests):
    sdk, lab = guests.sdk, guests.lab
    sdk.compute.stop_server(guests.other)
    guests.becomes(guests.other, "SHUTOFF")
    assert console(guests, guests.other), "the last words of a guest are kept"
    pid = nodelab.child(lab, "node")
    nodelab.kill(pid)
    wait_for("a new node process", lambda: nodelab.child(lab, "node") != pid, 60, 0.2)
    sdk.compute.start_server(guests.other)
    guests.becomes(guests.other, "ACTIVE")
    wait_for("log", lambda: "sshd is listening" in console(guests, guests.other), BOOT_S, 2)


def test_nothing_is_left(lab: Lab, guests: Guests, triple: dict[str, str]):
    guests.unmake()
    for image in triple.values():
        guests.sdk.image.delete_image(image)
    nodelab.comes_back(lab)

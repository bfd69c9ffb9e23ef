"""Two real guests on a routed network, one of them reached from the outside, and what tests do to them.

Owns: making them through the SDK and removing them again, ssh, the guests' own network namespace of pings.
Must not: know what a test breaks.
"""

import contextlib
import time
from pathlib import Path
from typing import Any

from cloudlab import Lab, run, wait_for
from nodelab import PING_EVERY_S, answered, connect
from openstack.connection import Connection
from openstack.exceptions import ConflictException

BOOT_S = 420.0
"""A guest under software emulation on a busy machine."""


class Guests:
    """Servers `NAME-one` and `NAME-two`; the first has a floating address."""

    def __init__(self, lab: Lab, folder: Path, name: str) -> None:
        self.lab = lab
        self.folder = folder
        self.name = name
        self.sdk: Connection = connect(lab)
        self.key = folder / "key.pem"
        self.network: Any = None
        self.router: Any = None
        self.server: Any = None
        self.other: Any = None
        self.floating = ""
        self.cidr_v6 = ""

    def make(self) -> None:
        """Network, router, rules, both servers, the floating address; waits until ssh answers."""
        sdk = self.sdk
        pair = sdk.compute.create_keypair(name=self.name)
        self.key.write_text(pair.private_key)
        self.key.chmod(0o600)
        self.network = sdk.network.create_network(name=self.name)
        subnet = sdk.network.create_subnet(
            network_id=self.network.id, ip_version=4, cidr="10.91.0.0/16", name=self.name
        )
        public = sdk.network.find_network("public", ignore_missing=False)
        self.router = sdk.network.create_router(
            name=self.name, external_gateway_info={"network_id": public.id}
        )
        sdk.network.add_interface_to_router(self.router, subnet_id=subnet.id)
        if self.cidr_v6:
            subnet = sdk.network.create_subnet(
                network_id=self.network.id, ip_version=6, cidr=self.cidr_v6, name=self.name,
                ipv6_ra_mode="slaac", ipv6_address_mode="slaac",
            )  # fmt: skip
            sdk.network.add_interface_to_router(self.router, subnet_id=subnet.id)
        group = self._default_group()
        for protocol, kind in (("icmp", "IPv4"), ("tcp", "IPv4"), ("ipv6-icmp", "IPv6")):
            with contextlib.suppress(ConflictException):  # an earlier test made it
                sdk.network.create_security_group_rule(
                    security_group_id=group, direction="ingress", protocol=protocol, ethertype=kind
                )
        made = [self.ask_for(f"{self.name}-{which}") for which in ("one", "two")]
        self.server, self.other = (self.active(server) for server in made)
        address = sdk.network.create_ip(floating_network_id=public.id)
        sdk.network.update_ip(address, port_id=self.port(self.server).id)
        self.floating = address.floating_ip_address
        self.ssh_works()

    def unmake(self) -> None:
        """Remove what `make` made, however far it came."""
        sdk = self.sdk
        for server in sdk.compute.servers(name=self.name):
            sdk.compute.delete_server(server)
            sdk.compute.wait_for_delete(server, interval=0.5, wait=120)
        for made in sdk.network.ips(floating_ip_address=self.floating) if self.floating else ():
            sdk.network.delete_ip(made)
        for router in sdk.network.routers(name=self.name):
            for port in sdk.network.ports(device_id=router.id):
                if port.device_owner == "network:router_interface":
                    sdk.network.remove_interface_from_router(router, port_id=port.id)
            sdk.network.delete_router(router)
        for network in sdk.network.networks(name=self.name):
            sdk.network.delete_network(network)
        sdk.compute.delete_keypair(self.name, ignore_missing=True)

    def _default_group(self) -> str:
        project = self.sdk.current_project_id
        groups = self.sdk.network.security_groups(project_id=project, name="default")
        return str(next(iter(groups)).id)

    def ask_for(self, name: str, *, image: str = "gureum-guest", **more: Any) -> Any:
        """Ask for a server. image: its name; more: attributes of the request."""
        found = self.sdk.image.find_image(image, ignore_missing=False)
        flavor = self.sdk.compute.find_flavor("g1.small", ignore_missing=False)
        return self.sdk.compute.create_server(
            name=name, image_id=found.id, flavor_id=flavor.id, key_name=self.name,
            networks=[{"uuid": self.network.id}], **more,
        )  # fmt: skip

    def active(self, server: Any) -> Any:
        """Wait until a server is ACTIVE."""
        return self.sdk.compute.wait_for_server(server, wait=int(BOOT_S), interval=1)

    def port(self, server: Any) -> Any:
        """Return the server's port."""
        return next(iter(self.sdk.network.ports(device_id=server.id)))

    def address(self, server: Any) -> str:
        """Return the server's own IPv4 address."""
        given = (str(one["ip_address"]) for one in self.port(server).fixed_ips)
        return next(one for one in given if "." in one)

    def tap(self, server: Any) -> str:
        """Return the name of the server's device on the switch."""
        return f"tap{self.port(server).id[:11]}"

    def status(self, server: Any) -> str:
        """Return what the API says of a server."""
        return str(self.sdk.compute.get_server(server.id).status)

    def becomes(self, server: Any, status: str, seconds: float = 120) -> None:
        """Wait for a status."""
        wait_for(f"{server.name} {status}", lambda: self.status(server) == status, seconds, 0.5)

    def domain(self, server: Any) -> str:
        """Return libvirt's name of a server."""
        return run("virsh", "-c", "qemu:///system", "domname", server.id).stdout.strip()

    def ssh(self, command: str) -> str:
        """Run a command in the first guest, through its floating address."""
        return self.lab.ssh(self.key, self.floating, command)

    def ssh_works(self, seconds: float = BOOT_S) -> None:
        """Wait until the first guest answers."""
        wait_for("ssh", lambda: self.ssh("true") == "", seconds, 2)

    def boot_id(self) -> str:
        """Return what changes when the first guest boots anew."""
        return self.ssh("cat /proc/sys/kernel/random/boot_id")

    def ping_between(self) -> "GuestPing":
        """Let the first guest ping the second, five times a second, until it is told to end."""
        file = f"/tmp/pings-{time.monotonic_ns()}"
        self.ssh(
            f"ping -i {PING_EVERY_S} {self.address(self.other)} >{file} 2>&1 </dev/null"
            f" & echo $! >{file}.pid"
        )
        return GuestPing(self, file)


class GuestPing:
    """A ping within a guest. It ends as nodelab's pings do, so that both are counted alike."""

    def __init__(self, guests: Guests, file: str) -> None:
        self._guests = guests
        self._file = file
        self.what = f"{guests.name}-one -> {guests.name}-two"

    def end(self) -> tuple[int, int]:
        """Stop; returns how many were sent and answered, up to the last answer."""
        ended = f"kill -INT $(cat {self._file}.pid); sleep 1; cat {self._file}"
        return answered(self._guests.ssh(ended))

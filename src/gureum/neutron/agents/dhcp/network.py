"""One network's DHCP on this host: brings its namespace from what is there to what is wanted.

Owns: the order of the steps. Must not: talk to the server, or touch what belongs to another network.
dnsmasq restarts only for another argument list, re-reads its files only when one changed, and keeps its
leases over restarts of itself and of the agent.
"""

import contextlib
import dataclasses
import ipaddress
from pathlib import Path

from gureum.core import log as logs
from gureum.core.runner import CommandError, Runner
from gureum.neutron.agents.contract import BROKEN, MISSING, DhcpNetwork, FoundItem
from gureum.neutron.agents.dhcp import leases
from gureum.neutron.agents.dhcp.config import DhcpAgentOptions
from gureum.neutron.agents.dhcp.plan import Files, Plan, dnsmasq_args, plan, serves, tap
from gureum.neutron.agents.plumbing import netns, packets, proxy
from gureum.neutron.agents.plumbing.announce import Announcement, Announcer
from gureum.neutron.agents.plumbing.daemons import Daemon, has_dead
from gureum.neutron.agents.plumbing.driver import Kind, NamespaceDriver
from gureum.neutron.agents.plumbing.files import digest, write_if_changed
from gureum.neutron.agents.plumbing.links import Links
from gureum.neutron.agents.plumbing.ovsports import OvsPort
from gureum.neutron.agents.plumbing.plug import Plugger, Surroundings

log = logs.get(__name__)


class NetworkDriver(NamespaceDriver[DhcpNetwork]):
    """Makes and removes the DHCP of networks on this host."""

    kind = Kind("network", "dhcp-files", ("haproxy", "dnsmasq"), "its network is not served here")
    sysctls = {
        "ipv4/conf/all/rp_filter": "0",
        "ipv4/conf/all/promote_secondaries": "1",
        "ipv6/conf/all/accept_ra": "0",
    }

    def __init__(
        self, options: DhcpAgentOptions, runner: Runner, plugger: Plugger, announcer: Announcer
    ) -> None:
        super().__init__(options.namespace_prefix, options.state_path, runner, plugger)
        self._options = options
        self._announcer = announcer

    def drifted(self, network: DhcpNetwork, around: Surroundings) -> bool:
        """Return whether a cheap look shows that something is not as it was left."""
        owner = self._plugger.owner(network.id)
        devices = [tap(network.dhcp_port_id)] if serves(network) and network.dhcp_port_id else []
        return (
            around.lacking(owner, devices)
            or has_dead(self._state / network.id)
            or (bool(devices) and not netns.exists(self.namespace(network.id)))
        )

    def apply(self, network: DhcpNetwork, around: Surroundings) -> tuple[str, ...]:
        """Make one network's DHCP as wanted; return what was refused although the rest stands.

        Raises: ValueError, CommandError, OSError, NetlinkError.
        """
        wanted = plan(network, self._options, ipv6=proxy.has_ipv6())
        if wanted is None:
            self.remove(network.id, around)
            return ()
        name, folder = self._room(network.id)
        stale = self._plug(wanted, around, name)
        refused = self._links(wanted, name)
        self._plugger.unplug(stale, name)
        self._converge_dnsmasq(wanted, name, folder)
        try:
            self._converge_metadata(wanted, name, folder)
        except (CommandError, OSError) as error:  # leases are given all the same
            refused.append(str(error))
        return (*wanted.refused, *refused)

    # --- an audit's look -----------------------------------------------------------------------

    def look(self, network: DhcpNetwork, around: Surroundings) -> list[FoundItem]:
        """Say what of one network's DHCP is not as wanted. Raises: ValueError, OSError."""
        wanted = plan(network, self._options, ipv6=proxy.has_ipv6())
        if wanted is None:
            return self.remains(network.id, around)
        name, folder, owner = self.namespace(network.id), self._state / network.id, network.id
        if not netns.exists(name):
            return [FoundItem("namespace", name, owner, MISSING, "it is not there")]
        items = self._unwanted(owner, around, {wanted.device.name})
        with Links(name) as links:
            faults = links.faults([wanted.device], wanted.routes)
        items += [FoundItem("device", key, owner, BROKEN, text) for key, text in faults.items()]
        for key, text in dataclasses.asdict(wanted.files).items():
            if not _holds(folder / key, text):
                items.append(FoundItem("dhcp-file", str(folder / key), owner, BROKEN, "it differs"))
        args = dnsmasq_args(wanted, folder, self._options)
        daemons = [Daemon("dnsmasq", name, args, folder / "dnsmasq.pid")]
        if wanted.metadata:
            daemons.append(self._proxy(wanted, name, folder).daemon)
        return items + self._faults(daemons, owner)

    # --- steps ---------------------------------------------------------------------------------

    def _plug(self, wanted: Plan, around: Surroundings, name: str) -> list[str]:
        present = self._tuned(name)
        owner = self._plugger.owner(wanted.network.id)
        device = wanted.device
        port_id = wanted.network.dhcp_port_id or ""
        self._plugger.plug(
            around, name, present, OvsPort(device.name, port_id, device.mac_address, owner)
        )
        return [found for found in around.of(owner) if found != device.name]

    def _links(self, wanted: Plan, name: str) -> list[str]:
        device = wanted.device
        with Links(name) as links:
            fresh = links.converge_device(device, links.found()[device.name])
            for address in sorted(fresh):
                ip = address.partition("/")[0]
                if ip != proxy.METADATA_IPV4:
                    self._announcer.add(Announcement(name, device.name, device.mac_address, ip))
            return links.converge_routes(wanted.routes)

    def _converge_dnsmasq(self, wanted: Plan, name: str, folder: Path) -> None:
        files = dataclasses.asdict(wanted.files)
        for file_name, text in files.items():
            write_if_changed(folder / file_name, text)
        pid_file = folder / "dnsmasq.pid"
        args = dnsmasq_args(wanted, folder, self._options)
        daemon = Daemon("dnsmasq", name, args, pid_file)
        started = self._daemons.ensure(daemon)
        read, stamp = folder / "read", _stamp(wanted.files)
        if not started and not _holds(read, stamp):
            self._daemons.reload(daemon)
        write_if_changed(read, stamp)
        self._give_back(wanted, name, folder)

    def _give_back(self, wanted: Plan, name: str, folder: Path) -> None:
        """Release leases of ports that are gone, so that their addresses serve others at once."""
        text = ""
        with contextlib.suppress(FileNotFoundError):
            text = (folder / "leases").read_text(errors="replace")
        held = leases.parse(text)
        going = leases.stale(held.leases, wanted.bindings)
        if not going:
            return
        own = next((s.own.ip_address for s in wanted.served if s.subnet.ip_version == 4), None)
        device = wanted.device.name
        with netns.entered(name):
            for lease in going:
                if ":" in lease.address:
                    if held.server_duid and lease.client_id:
                        packets.send_dhcp6_release(
                            device, lease.address, lease.iaid, lease.client_id, held.server_duid
                        )
                elif own and lease.mac:
                    server = _own_in(wanted, lease.address) or own
                    packets.send_dhcp_release(
                        device, lease.mac, lease.address, server, lease.client_id
                    )
        log.info("leases given back", network_id=wanted.network.id, count=len(going))

    def _converge_metadata(self, wanted: Plan, name: str, folder: Path) -> None:
        if not wanted.metadata:
            self._daemons.stop("haproxy", folder / "haproxy.pid")
            return
        wanted_proxy = self._proxy(wanted, name, folder)
        wanted_proxy.write()
        self._daemons.ensure(wanted_proxy.daemon)

    def _proxy(self, wanted: Plan, name: str, folder: Path) -> proxy.Proxy:
        options = proxy.ProxyOptions(
            self._options.metadata_proxy_socket,
            self._options.metadata_proxy_user,
            self._options.metadata_proxy_group,
            self._options.metadata_connections,
        )
        binds = []
        if wanted.metadata_ipv4:
            binds.append(f"{proxy.METADATA_IPV4}:{proxy.METADATA_PORT}")
        if wanted.metadata_ipv6:
            binds.append(proxy.bind_ipv6(wanted.device.name))
        owner_id = wanted.network.id
        return proxy.proxy_of(options, name, folder, tuple(binds), proxy.NETWORK_HEADER, owner_id)


def _own_in(wanted: Plan, address: str) -> str | None:
    """Return our own address in the subnet of an address."""
    ip = ipaddress.ip_address(address)
    for one in wanted.served:
        if one.subnet.ip_version == 4 and ip in ipaddress.ip_network(one.subnet.cidr):
            return one.own.ip_address
    return None


def _stamp(files: Files) -> str:
    return digest(dataclasses.asdict(files))


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text() == text
    except OSError:
        return False

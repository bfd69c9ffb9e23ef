"""One router on this host: brings its namespace from what is there to what is wanted.

Owns: the order of the steps. New translation stands before addresses appear, and connections of a gone
address are cut before the address leaves, so that a crash between two steps is mended by the next pass.
Must not: talk to the server, or touch what belongs to another router.
"""

import ipaddress
from pathlib import Path

from gureum.core.runner import CommandError, Runner
from gureum.neutron.agents.contract import BROKEN, MISSING, FoundItem, Router
from gureum.neutron.agents.l3 import nat
from gureum.neutron.agents.l3.config import L3AgentOptions
from gureum.neutron.agents.l3.nftables import RouterNat
from gureum.neutron.agents.l3.plan import Plan, plan, radvd_config
from gureum.neutron.agents.plumbing import netns, proxy
from gureum.neutron.agents.plumbing.announce import Announcement, Announcer
from gureum.neutron.agents.plumbing.daemons import Daemon, has_dead
from gureum.neutron.agents.plumbing.driver import Kind, NamespaceDriver
from gureum.neutron.agents.plumbing.files import digest, write_if_changed
from gureum.neutron.agents.plumbing.links import Links
from gureum.neutron.agents.plumbing.ovsports import OvsPort
from gureum.neutron.agents.plumbing.plug import Plugger, Surroundings


class RouterDriver(NamespaceDriver[Router]):
    """Makes and removes routers on this host."""

    kind = Kind("router", "router-files", ("haproxy", "radvd"), "its router is not on this host")
    sysctls = {
        "ipv4/ip_forward": "1",
        "ipv4/conf/all/rp_filter": "0",
        "ipv4/conf/all/promote_secondaries": "1",
        "ipv4/conf/all/arp_announce": "2",
        "ipv4/conf/all/arp_ignore": "1",
        "ipv6/conf/all/forwarding": "1",
    }

    def __init__(
        self, options: L3AgentOptions, runner: Runner, plugger: Plugger, announcer: Announcer
    ) -> None:
        super().__init__(options.namespace_prefix, options.state_path, runner, plugger)
        self._options = options
        self._announcer = announcer
        self._nat = RouterNat(runner)

    def drifted(self, router: Router, around: Surroundings) -> bool:
        """Return whether a cheap look shows that something is not as it was left."""
        owner = self._plugger.owner(router.id)
        ports = plan(router).ports if router.admin_state_up else ()
        devices = [planned.device.name for planned in ports]
        return (
            around.lacking(owner, devices)
            or has_dead(self._state / router.id)
            or (router.admin_state_up and not netns.exists(self.namespace(router.id)))
        )

    def apply(self, router: Router, around: Surroundings) -> tuple[str, ...]:
        """Make one router as wanted; return what was refused although the rest stands.

        Raises: CommandError, OSError, NetlinkError.
        """
        if not router.admin_state_up:
            self.remove(router.id, around)
            return ()
        name, folder = self._room(router.id)
        wanted = plan(router, ipv6_metadata=self._serves_ipv6())
        rules = nat.wanted(router, self._metadata_port())
        rerouted = self._nat.converge(name, rules)
        stale = self._plug(router, wanted, around, name)
        self._cut(name, wanted, rerouted)
        refused = self._links(name, wanted)
        self._plugger.unplug(stale, name)
        for step in (self._converge_metadata, self._converge_radvd):
            try:
                step(router, wanted, name, folder)
            except (CommandError, OSError) as error:  # traffic flows all the same
                refused.append(str(error))
        return (*wanted.refused, *refused)

    # --- an audit's look -----------------------------------------------------------------------

    def look(self, router: Router, around: Surroundings) -> list[FoundItem]:
        """Say what of one router is not as wanted. Raises: CommandError, OSError, NetlinkError."""
        if not router.admin_state_up:
            return self.remains(router.id, around)
        wanted, owner = plan(router, ipv6_metadata=self._serves_ipv6()), router.id
        name, folder = self.namespace(owner), self._state / owner
        if not netns.exists(name):
            return [FoundItem("namespace", name, owner, MISSING, "it is not there")]
        devices = [planned.device for planned in wanted.ports]
        items = self._unwanted(owner, around, {device.name for device in devices})
        with Links(name) as links:
            faults = links.faults(devices, wanted.routes)
        items += [FoundItem("device", key, owner, BROKEN, text) for key, text in faults.items()]
        if self._nat.differs(name, nat.wanted(router, self._metadata_port())):
            items.append(FoundItem("nat", name, owner, BROKEN, "the nftables rules differ"))
        return items + self._faults(self._wanted_daemons(router, wanted, name, folder), owner)

    def _wanted_daemons(
        self, router: Router, wanted: Plan, name: str, folder: Path
    ) -> list[Daemon]:
        daemons = []
        if self._metadata_port() is not None and router.interfaces:
            daemons.append(self._proxy(router, wanted, name, folder).daemon)
        if self._radvd_text(router):
            daemons.append(self._radvd(name, folder))
        return daemons

    # --- steps ---------------------------------------------------------------------------------

    def _plug(self, router: Router, wanted: Plan, around: Surroundings, name: str) -> list[str]:
        """Bring in what is missing; return the devices that are no longer wanted."""
        present = self._tuned(name)
        owner = self._plugger.owner(router.id)
        for planned in wanted.ports:
            port = OvsPort(planned.device.name, planned.port.id, planned.port.mac_address, owner)
            self._plugger.plug(around, name, present, port)
        names = {planned.device.name for planned in wanted.ports}
        return [device for device in around.of(owner) if device not in names]

    def _cut(self, name: str, wanted: Plan, rerouted: set[str]) -> None:
        """End the connections of outside addresses that go, or that lead elsewhere now."""
        going = set(rerouted)
        gateway = wanted.gateway
        if gateway is not None:
            with Links(name) as links:
                found = links.found().get(gateway.device.name)
            if found is not None:
                leaving = found.addresses - set(gateway.device.addresses)
                going |= {text.partition("/")[0] for text in leaving if ":" not in text}
        for address in sorted(going):
            self._nat.cut(name, address)

    def _links(self, name: str, wanted: Plan) -> list[str]:
        with Links(name) as links:
            found = links.found()
            for planned in wanted.ports:
                device = planned.device
                fresh = links.converge_device(device, found[device.name])
                if device.up:
                    self._announce(name, device.name, device.mac_address, fresh)
            return links.converge_routes(wanted.routes)

    def _announce(self, name: str, device: str, mac_address: str, addresses: set[str]) -> None:
        for text in sorted(addresses):
            ip = str(ipaddress.ip_interface(text).ip)
            self._announcer.add(Announcement(name, device, mac_address, ip))

    def _metadata_port(self) -> int | None:
        return self._options.metadata_port if self._options.enable_metadata_proxy else None

    def _serves_ipv6(self) -> bool:
        return self._metadata_port() is not None and proxy.has_ipv6()

    def _converge_metadata(self, router: Router, wanted: Plan, name: str, folder: Path) -> None:
        if self._metadata_port() is None or not router.interfaces:
            self._daemons.stop("haproxy", folder / "haproxy.pid")
            return
        wanted_proxy = self._proxy(router, wanted, name, folder)
        wanted_proxy.write()
        self._daemons.ensure(wanted_proxy.daemon)

    def _proxy(self, router: Router, wanted: Plan, name: str, folder: Path) -> proxy.Proxy:
        options = proxy.ProxyOptions(
            self._options.metadata_proxy_socket,
            self._options.metadata_proxy_user,
            self._options.metadata_proxy_group,
            self._options.metadata_connections,
        )
        binds = [f"0.0.0.0:{self._metadata_port()}"]
        binds += [proxy.bind_ipv6(device) for device in wanted.ipv6_metadata]
        return proxy.proxy_of(options, name, folder, tuple(binds), proxy.ROUTER_HEADER, router.id)

    def _radvd_text(self, router: Router) -> str:
        return radvd_config(
            router, self._options.min_rtr_adv_interval_s, self._options.max_rtr_adv_interval_s
        )

    def _radvd(self, name: str, folder: Path) -> Daemon:
        pid_file, config = folder / "radvd.pid", folder / "radvd.conf"
        args = ("radvd", "-C", str(config), "-p", str(pid_file), "-m", "none")
        return Daemon("radvd", name, args, pid_file)

    def _converge_radvd(self, router: Router, _wanted: Plan, name: str, folder: Path) -> None:
        text = self._radvd_text(router)
        config = folder / "radvd.conf"
        if not text:
            self._daemons.stop("radvd", folder / "radvd.pid")
            config.unlink(missing_ok=True)
            return
        write_if_changed(config, text)
        daemon = self._radvd(name, folder)
        started = self._daemons.ensure(daemon)
        read, stamp = folder / "radvd.read", digest({"radvd.conf": text})
        if not started and (not read.exists() or read.read_text() != stamp):
            self._daemons.reload(daemon)
        write_if_changed(read, stamp)

"""Guests' network cards on the host side: what libvirt leaves to us.

Owns: removing a guest's taps from Open vSwitch, making a Linux bridge, and whether cards may
offload. libvirt itself makes a tap and puts it on its bridge when a guest starts.
"""

import json
import os
import threading
from dataclasses import dataclass
from typing import Any

from gureum.core import log
from gureum.core.runner import CommandError, Runner
from gureum.nova.agent.config import LibvirtOptions
from gureum.nova.agent.contract import HypervisorFailed, PortSpec

LOG = log.get(__name__)

_IP_TIMEOUT_S = 15


@dataclass(frozen=True, slots=True)
class SwitchPort:
    """An interface of Open vSwitch, with the marks that libvirt gives to taps of guests."""

    bridge: str
    port_id: str
    guest_id: str


class Vifs:
    """The host side of network cards."""

    def __init__(self, options: LibvirtOptions, runner: Runner) -> None:
        self._options = options
        self._runner = runner
        self._lock = threading.Lock()
        self._datapaths: dict[str, str] = {}

    def prepare(self, ports: tuple[PortSpec, ...]) -> None:
        """Make the Linux bridges that the ports name. Raises: HypervisorFailed."""
        for port in ports:
            if port.vif_type != "bridge" or os.path.exists(f"/sys/class/net/{port.bridge}"):
                continue
            self._ip("link", "add", "name", port.bridge, "type", "bridge")
            self._ip("link", "set", port.bridge, "up")

    def may_offload(self, ports: tuple[PortSpec, ...]) -> bool:
        """Whether cards on these ports may leave checksums and segments to the host."""
        if self._options.vif_offload != "auto":
            return self._options.vif_offload == "on"
        return all(
            port.vif_type != "ovs" or self._datapath(port.bridge) != "netdev" for port in ports
        )

    def forget(self, guest_id: str) -> list[str]:
        """Remove every Open vSwitch port that carries the guest's id; returns their names."""
        found = self._vsctl(
            *("--bare", "--columns=name", "find", "Interface"),
            f'external_ids:vm-id="{guest_id}"',
        )
        names = found.split()
        for name in names:
            LOG.info("tap of a removed guest is taken off its bridge", server_id=guest_id, tap=name)
            self._vsctl("--if-exists", "del-port", name)
        return names

    def switch_ports(self) -> dict[str, SwitchPort]:
        """Return every interface of every bridge by its name."""
        text = self._vsctl(
            *("--format=json", "--columns=name,ports", "list", "Bridge"),
            *("--", "--columns=_uuid,interfaces", "list", "Port"),
            *("--", "--columns=_uuid,name,external_ids", "list", "Interface"),
        )
        tables = [json.loads(line)["data"] for line in text.splitlines() if line.strip()]
        if len(tables) != 3:
            return {}
        bridge_of = {port: name for name, ports in tables[0] for port in _uuids(ports)}
        port_of = {
            interface: bridge_of.get(_uuids(uuid)[0], "")
            for uuid, interfaces in tables[1]
            for interface in _uuids(interfaces)
        }
        found = {}
        for uuid, name, ids in tables[2]:
            marks = dict(ids[1])
            found[name] = SwitchPort(
                port_of.get(_uuids(uuid)[0], ""), marks.get("iface-id", ""), marks.get("vm-id", "")
            )
        return found

    def put_on_bridge(
        self, device: str, bridge: str, port_id: str, mac: str, guest_id: str
    ) -> None:
        """Put a tap that is there on its bridge again, with the marks that libvirt gives it."""
        if not port_id:
            self._ip("link", "set", device, "master", bridge, "up")
            return
        marks = {
            "iface-id": port_id,
            "attached-mac": mac,
            "vm-id": guest_id,
            "iface-status": "active",
        }
        words = [f'external_ids:{key}="{value}"' for key, value in marks.items()]
        self._vsctl(
            *("--if-exists", "del-port", device),
            *("--", "add-port", bridge, device, "--", "set", "Interface", device, *words),
        )
        self._ip("link", "set", device, "up")

    def remove_tap(self, device: str) -> None:
        """Take a tap off whatever bridge it is on; gone is fine."""
        self._vsctl("--if-exists", "del-port", device)

    def _datapath(self, bridge: str) -> str:
        with self._lock:
            if bridge not in self._datapaths:
                found = self._vsctl("--if-exists", "get", "Bridge", bridge, "datapath_type")
                if not found:
                    return ""
                self._datapaths[bridge] = found.strip().strip('"')
            return self._datapaths[bridge]

    def _vsctl(self, *args: str) -> str:
        """Run ovs-vsctl; a host without Open vSwitch has nothing to say."""
        timeout_s = self._options.ovs_timeout_s
        command = ("ovs-vsctl", f"--timeout={max(1, int(timeout_s))}", *args)
        try:
            return self._runner.run(command, timeout_s=timeout_s + 2).stdout
        except CommandError as error:
            LOG.debug("ovs-vsctl did not answer", error=error.text)
            return ""

    def _ip(self, *args: str) -> None:
        try:
            self._runner.run(("ip", *args), timeout_s=_IP_TIMEOUT_S)
        except CommandError as error:
            if "File exists" not in error.text:
                raise HypervisorFailed(f"bridge: {error.text}") from error


def _uuids(value: Any) -> list[str]:
    """The ids in a column: ["uuid", id] or ["set", [["uuid", id], …]]."""
    if value[0] == "uuid":
        return [value[1]]
    return [one[1] for one in value[1]]

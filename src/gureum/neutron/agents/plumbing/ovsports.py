"""Internal ports of Open vSwitch that stand in a namespace.

Owns: making, finding and removing internal ports on one bridge, and who they belong to
(`external_ids:gureum-owner`). Must not: wire them (VLAN tags and flows are the L2 agent's work) or touch
a port without an owner mark. Facts: ovs-vswitchd.conf.db(5), table Interface.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from gureum.core.runner import Runner

OWNER = "gureum-owner"
_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class OvsPort:
    """A wanted internal port. `owner` is `<agent>:<id>`, such as `l3:<router id>`."""

    device: str
    port_id: str
    mac_address: str
    owner: str

    def external_ids(self) -> dict[str, str]:
        """Return what the L2 agent and we ourselves find it by."""
        return {
            "iface-id": self.port_id,
            "attached-mac": self.mac_address,
            "iface-status": "active",
            OWNER: self.owner,
        }


class OvsPorts:
    """The internal ports of one bridge that agents of one kind made."""

    def __init__(self, runner: Runner, bridge: str) -> None:
        self._runner = runner
        self._bridge = bridge

    def has_bridge(self) -> bool:
        """Return whether the bridge is there; the L2 agent or the operator makes it."""
        listed = self._vsctl(["list-br"])
        return self._bridge in listed.split()

    def owned(self, agent: str) -> dict[str, OvsPort]:
        """Return by device name every port on the bridge that an agent kind made."""
        on_bridge = set(self._vsctl(["list-ports", self._bridge]).split())
        answer = json.loads(
            self._vsctl(["--format=json", "--columns=name,external_ids", "list", "Interface"])
        )
        found = {}
        for name, ids in answer["data"]:
            known = dict(ids[1])
            owner = known.get(OWNER, "")
            if name in on_bridge and owner.startswith(f"{agent}:"):
                found[name] = OvsPort(
                    name, known.get("iface-id", ""), known.get("attached-mac", ""), owner
                )
        return found

    def ensure(self, port: OvsPort) -> None:
        """Make a port or mend its marks; when this returns the device exists."""
        marks = [f'external_ids:{key}="{value}"' for key, value in port.external_ids().items()]
        add = ["--may-exist", "add-port", self._bridge, port.device]
        self._vsctl([*add, "--", "set", "Interface", port.device, "type=internal", *marks])

    def remove(self, devices: Sequence[str]) -> None:
        """Remove ports; those that are gone already are no error."""
        args: list[str] = []
        for device in devices:
            args += ["--", "--if-exists", "del-port", self._bridge, device]
        if args:
            self._vsctl(args[1:])

    def _vsctl(self, args: Sequence[str]) -> str:
        timeout = f"--timeout={int(_TIMEOUT_S) - 2}"
        done = self._runner.run(["ovs-vsctl", timeout, *args], timeout_s=_TIMEOUT_S)
        return done.stdout

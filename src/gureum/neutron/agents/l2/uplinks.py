"""The bridges of a host and what connects them: patch ports to provider bridges, tunnel ports.

Owns: making what is missing. Must not: change a bridge or port that is as it should be, or know flows of
provider bridges: they stay ordinary switches, all translation happens on the integration bridge.
"""

import ipaddress
import os

from gureum.core import log as logs
from gureum.core.runner import CommandError, Runner
from gureum.neutron.agents.l2.config import OvsAgentOptions
from gureum.neutron.agents.l2.networks import Uplinks
from gureum.neutron.agents.ovs.edit import Edit
from gureum.neutron.agents.ovs.ovsdb import Bridge, Ovsdb, Snapshot

log = logs.get(__name__)


def pick_datapath(options: OvsAgentOptions, snapshot: Snapshot, runner: Runner) -> str:
    """Return the datapath type of this host's bridges; bridges that are there decide first."""
    existing = snapshot.get(options.integration_bridge)
    if existing is not None:
        return existing.datapath_type or "system"
    if options.datapath_type != "auto":
        return options.datapath_type
    if os.path.exists("/sys/module/openvswitch"):
        return "system"
    try:
        runner.run(["modprobe", "openvswitch"], timeout_s=10.0)
        return "system"
    except CommandError:
        log.info("the kernel has no Open vSwitch; switching in user space")
        return "netdev"


def patch_names(integration: str, provider: str) -> tuple[str, str]:
    """Return the names of a patch's two ends: the one on the integration bridge first."""
    return f"{integration}-to-{provider}", f"{provider}-to-{integration}"


def tunnel_name(integration: str, kind: str) -> str:
    """Return the name of the one port that leads to all tunnels of a kind."""
    return f"{integration}-{kind}"


def ensure_uplinks(ovsdb: Ovsdb, options: OvsAgentOptions, datapath_type: str) -> None:
    """Make the bridges, patches and tunnel ports that are missing, in one transaction.

    Raises: OvsdbError, LookupError.
    """
    for provider in options.bridge_mappings.values():
        if ovsdb.bridge(provider) is None:
            log.warning("bridge of bridge_mappings is missing and made", bridge=provider)

    def change(edit: Edit) -> None:
        integration = edit.ensure_bridge(
            options.integration_bridge, datapath_type=datapath_type, fail_mode="secure"
        )
        for name in dict.fromkeys(options.bridge_mappings.values()):
            provider = edit.ensure_bridge(name, datapath_type=datapath_type)
            here, there = patch_names(options.integration_bridge, name)
            edit.ensure_port(integration, here, type="patch", options={"peer": there})
            edit.ensure_port(provider, there, type="patch", options={"peer": here})
        for kind in options.tunnel_types if options.local_ip else ():
            settings = {"remote_ip": "flow", "key": "flow", "local_ip": options.local_ip}
            if kind == "vxlan":
                settings["dst_port"] = str(options.vxlan_udp_port)
            name = tunnel_name(options.integration_bridge, kind)
            edit.ensure_port(integration, name, type=kind, options=settings)

    ovsdb.transact(change)
    ovsdb.wait_for(lambda seen: read_uplinks(seen, options), 10.0, "uplinks of the bridges")


def read_uplinks(snapshot: Snapshot, options: OvsAgentOptions) -> Uplinks | None:
    """Return where the uplinks are now, or None while one is missing."""
    bridge = snapshot.get(options.integration_bridge)
    if bridge is None or bridge.fail_mode != "secure":
        return None
    provider = {
        physical: _ofport(bridge, patch_names(bridge.name, name)[0])
        for physical, name in options.bridge_mappings.items()
    }
    kinds = options.tunnel_types if options.local_ip else ()
    tunnel = {kind: _ofport(bridge, tunnel_name(bridge.name, kind)) for kind in kinds}
    if None in provider.values() or None in tunnel.values():
        return None
    return Uplinks(
        provider={name: ofport for name, ofport in provider.items() if ofport is not None},
        tunnel={kind: ofport for kind, ofport in tunnel.items() if ofport is not None},
        ipv6_underlay=bool(options.local_ip)
        and ipaddress.ip_address(options.local_ip).version == 6,
    )


def _ofport(bridge: Bridge, name: str) -> int | None:
    found = bridge.interfaces.get(name)
    return found.ofport if found is not None else None

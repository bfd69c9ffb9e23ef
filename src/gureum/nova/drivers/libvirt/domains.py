"""What libvirt tells of domains, in the contract's words.

Owns: states, addresses and cards read from libvirt's objects. Must not: change a domain.
"""

import xml.etree.ElementTree as ET
from typing import Any

import libvirt  # type: ignore[import-untyped]

from gureum.nova.agent.contract import (
    CRASHED,
    NOSTATE,
    PAUSED,
    RUNNING,
    SHUTDOWN,
    SUSPENDED,
    GuestNotFound,
)

_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: NOSTATE,
    libvirt.VIR_DOMAIN_RUNNING: RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: RUNNING,
    libvirt.VIR_DOMAIN_SHUTOFF: SHUTDOWN,
    libvirt.VIR_DOMAIN_CRASHED: CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: SUSPENDED,
}


def find(connection: Any, guest_id: str) -> Any:
    """Return a domain or None."""
    try:
        return connection.lookupByUUIDString(guest_id)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def get(connection: Any, guest_id: str) -> Any:
    """Return a domain. Raises: GuestNotFound."""
    domain = find(connection, guest_id)
    if domain is None:
        raise GuestNotFound(f"no guest {guest_id} on this host")
    return domain


def power_state(domain: Any, number: int | None = None) -> str:
    """Return a domain's power state; a saved one counts as suspended."""
    if number is None:
        number = domain.state()[0]
    if number == libvirt.VIR_DOMAIN_SHUTOFF and domain.hasManagedSaveImage():
        return SUSPENDED
    return _STATES.get(number, NOSTATE)


def vnc_port(description: str) -> int | None:
    """Return the port of a running domain's screen, from its live description."""
    graphics = ET.fromstring(description).find("./devices/graphics[@type='vnc']")
    port = int(graphics.get("port", "-1")) if graphics is not None else -1
    return port if port > 0 else None


def card(description: str, mac: str) -> ET.Element | None:
    """Return the network card with a MAC address."""
    for interface in ET.fromstring(description).findall("./devices/interface"):
        address = interface.find("mac")
        if address is not None and address.get("address", "").lower() == mac.lower():
            return interface
    return None


def vif_model(description: str) -> str:
    """Return the model of a domain's first card, for further ones."""
    model = ET.fromstring(description).find("./devices/interface/model")
    return model.get("type", "virtio") if model is not None else "virtio"


def sources(description: str) -> list[str]:
    """Return the paths of a domain's disks."""
    found = ET.fromstring(description).findall("./devices/disk/source")
    return [path for path in (one.get("file") for one in found) if path]

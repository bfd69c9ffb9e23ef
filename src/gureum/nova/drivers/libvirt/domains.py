"""What libvirt tells of domains, in the contract's words.

Owns: states, addresses and cards read from libvirt's objects. Must not: change a domain.
"""

import xml.etree.ElementTree as ET
from pathlib import Path
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
    HypervisorFailed,
)
from gureum.nova.drivers.libvirt.domain_xml import HOME, NAMESPACE

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


class ForeignDomain(HypervisorFailed):
    """A domain with the guest's id is there, and belongs to somebody else."""

    code = "foreign_domain"


def is_ours(domain: Any, home: Path) -> bool:
    """Whether this cloud made a domain: its metadata names the folder of our guests.

    Several clouds, and people with virsh, may share one libvirtd. A domain of ours from before the
    folder was named counts by its guest's own folder.
    """
    try:
        text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE)
    except libvirt.libvirtError as error:
        if error.get_error_code() in (
            libvirt.VIR_ERR_NO_DOMAIN_METADATA,
            libvirt.VIR_ERR_NO_DOMAIN,
        ):
            return False
        raise
    named = ET.fromstring(text).find(f"{{{NAMESPACE}}}{HOME}")
    if named is None:
        return (home / domain.UUIDString()).is_dir()
    return named.text == str(home)


def find(connection: Any, guest_id: str, home: Path) -> Any:
    """Return a domain of this cloud, or None."""
    try:
        domain = connection.lookupByUUIDString(guest_id)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise
    return domain if is_ours(domain, home) else None


def check_not_foreign(connection: Any, guest_id: str, name: str) -> None:
    """Raises: ForeignDomain, when a domain that `find` did not return has the id or the name."""
    for look, wanted in (
        (connection.lookupByUUIDString, guest_id),
        (connection.lookupByName, name),
    ):
        try:
            found = look(wanted)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
        else:
            raise ForeignDomain(
                f"libvirt has a domain {found.name()} ({found.UUIDString()}) that is not of this"
                " cloud; give this cloud another [nova.libvirt] instance_name_template"
            )


def get(connection: Any, guest_id: str, home: Path) -> Any:
    """Return a domain of this cloud. Raises: GuestNotFound."""
    domain = find(connection, guest_id, home)
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

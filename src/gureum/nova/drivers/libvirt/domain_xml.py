"""The domain's description for libvirt.

Owns: how a guest becomes XML. Pure: the same plan gives the same text. Must not: touch files or
libvirt, or hold a secret. Follows: https://libvirt.org/formatdomain.html; image properties as in
Glance's "Useful image properties".
"""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from gureum import __version__
from gureum.nova.agent.config import LibvirtOptions
from gureum.nova.agent.contract import GuestSpec, ImageUnusable, PortSpec
from gureum.nova.drivers.libvirt.disks import Disk, GuestFiles, is_q35, machine_type

NAMESPACE = "urn:gureum:nova:1"
ET.register_namespace("gureum", NAMESPACE)
HOME = "instances"
"""Element that names the folder of all guests of the cloud: by it a cloud knows its own domains."""

_VIF_MODELS = ("virtio", "e1000", "e1000e", "rtl8139", "ne2k_pci", "pcnet", "vmxnet3", "igb")
_VIDEO_MODELS = ("vga", "cirrus", "qxl", "virtio", "bochs", "none", "vmvga")
_SCSI_MODELS = {
    "virtio-scsi": "virtio-scsi",
    "lsilogic": "lsilogic",
    "lsisas1068": "lsisas1068",
    "lsisas1078": "lsisas1078",
}
_OFFLOADS_HOST = ("csum", "gso", "tso4", "tso6", "ecn", "ufo")
_OFFLOADS_GUEST = ("csum", "tso4", "tso6", "ecn", "ufo")
_PCIE_PORTS = 16
"""Free slots for cards and volumes plugged into a running q35 guest."""


@dataclass(frozen=True, slots=True)
class DomainPlan:
    """Everything the description follows from. `offload` says whether cards may offload."""

    guest: GuestSpec
    name: str
    files: GuestFiles
    virt_type: str
    options: LibvirtOptions
    offload: bool = True

    def property(self, name: str, default: str = "") -> str:
        """Return an image property."""
        image = self.guest.image
        return image.properties.get(name, default) if image is not None else default


def domain_xml(plan: DomainPlan) -> str:
    """Return the description of a guest's domain."""
    guest = plan.guest
    domain = ET.Element("domain", type=plan.virt_type)
    _text(domain, "name", plan.name)
    _text(domain, "uuid", guest.server_id)
    _metadata(domain, guest, plan.files.folder.parent)
    _text(domain, "memory", str(guest.flavor.memory_mib), unit="MiB")
    _text(domain, "vcpu", str(guest.flavor.vcpus))
    _cputune(domain, guest)
    _sysinfo(domain, guest)
    _os(domain, plan)
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    _cpu(domain, plan)
    _clock(domain, plan)
    _text(domain, "on_poweroff", "destroy")
    _text(domain, "on_reboot", "restart")
    _text(domain, "on_crash", "destroy")
    _devices(domain, plan)
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode")


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = _printable(text)
    return element


def _printable(text: str) -> str:
    """XML 1.0 cannot carry control characters, whatever a user named a server."""
    return "".join(one if one >= " " and one not in "\ufffe\uffff" else "?" for one in text)


def _metadata(domain: ET.Element, guest: GuestSpec, home: Path) -> None:
    def tag(name: str) -> str:
        return f"{{{NAMESPACE}}}{name}"

    server = ET.SubElement(ET.SubElement(domain, "metadata"), tag("server"))
    _text(server, tag("name"), guest.name)
    _text(server, tag(HOME), str(home))
    _text(server, tag("created"), guest.created_at)
    flavor = guest.flavor
    ET.SubElement(
        server,
        tag("flavor"),
        {
            "name": _printable(flavor.name),
            "vcpus": str(flavor.vcpus),
            "memory_mib": str(flavor.memory_mib),
            "disk_gib": str(flavor.disk_gib),
            "ephemeral_gib": str(flavor.ephemeral_gib),
            "swap_mib": str(flavor.swap_mib),
        },
    )
    owner = ET.SubElement(server, tag("owner"))
    _text(owner, tag("user"), guest.user_name, uuid=guest.user_id)
    _text(owner, tag("project"), guest.project_name, uuid=guest.project_id)
    if guest.image is not None:
        ET.SubElement(server, tag("image"), uuid=guest.image.id)


def _cputune(domain: ET.Element, guest: GuestSpec) -> None:
    names = (
        ("quota:cpu_shares", "shares"),
        ("quota:cpu_period", "period"),
        ("quota:cpu_quota", "quota"),
    )
    wanted = [
        (tag, guest.flavor.extra_specs[spec])
        for spec, tag in names
        if guest.flavor.extra_specs.get(spec, "").lstrip("-").isdigit()
    ]
    if wanted:
        tune = ET.SubElement(domain, "cputune")
        for tag, value in wanted:
            _text(tune, tag, value)


def _sysinfo(domain: ET.Element, guest: GuestSpec) -> None:
    system = ET.SubElement(ET.SubElement(domain, "sysinfo", type="smbios"), "system")
    # cloud-init knows by this product name that it runs on OpenStack.
    entries = (
        ("manufacturer", "Gureum"),
        ("product", "OpenStack Compute"),
        ("version", __version__),
        ("serial", guest.server_id),
        ("uuid", guest.server_id),
        ("family", "Virtual Machine"),
    )
    for name, value in entries:
        _text(system, "entry", value, name=name)


def _os(domain: ET.Element, plan: DomainPlan) -> None:
    os_element = ET.SubElement(domain, "os")
    if plan.property("hw_firmware_type") == "uefi":
        os_element.set("firmware", "efi")
    _text(os_element, "type", "hvm", machine=machine_type(plan.guest, plan.options))
    if plan.files.kernel is not None:
        _text(os_element, "kernel", str(plan.files.kernel))
        if plan.files.ramdisk is not None:
            _text(os_element, "initrd", str(plan.files.ramdisk))
        default = f"root={plan.files.root_device} console=tty0 console=ttyS0"
        _text(os_element, "cmdline", plan.property("os_command_line") or default)
    ET.SubElement(os_element, "smbios", mode="sysinfo")


def _cpu(domain: ET.Element, plan: DomainPlan) -> None:
    mode = plan.options.cpu_mode
    if mode == "auto":
        mode = "host-model" if plan.virt_type == "kvm" else "maximum"
    attributes = {} if mode == "none" else {"mode": mode}
    if mode == "custom":
        attributes["match"] = "exact"
    cpu = ET.SubElement(domain, "cpu", attributes)
    if mode == "custom":
        _text(cpu, "model", plan.options.cpu_model, fallback="forbid")
    sockets, cores, threads = _topology(plan)
    ET.SubElement(cpu, "topology", sockets=str(sockets), cores=str(cores), threads=str(threads))


def _topology(plan: DomainPlan) -> tuple[int, int, int]:
    vcpus = plan.guest.flavor.vcpus
    specs = plan.guest.flavor.extra_specs

    def wanted(name: str) -> int:
        text = specs.get(f"hw:cpu_{name}") or plan.property(f"hw_cpu_{name}") or "0"
        return int(text) if text.isdigit() else 0

    threads = wanted("threads") or 1
    cores = wanted("cores") or 1
    sockets = wanted("sockets") or max(1, vcpus // (cores * threads))
    if sockets * cores * threads != vcpus:
        return vcpus, 1, 1
    return sockets, cores, threads


def _clock(domain: ET.Element, plan: DomainPlan) -> None:
    windows = plan.property("os_type") == "windows"
    clock = ET.SubElement(domain, "clock", offset="localtime" if windows else "utc")
    ET.SubElement(clock, "timer", name="pit", tickpolicy="delay")
    ET.SubElement(clock, "timer", name="rtc", tickpolicy="catchup")
    ET.SubElement(clock, "timer", name="hpet", present="no")


def _devices(domain: ET.Element, plan: DomainPlan) -> None:
    devices = ET.SubElement(domain, "devices")
    for disk in plan.files.disks:
        devices.append(_disk(plan, disk))
    _controllers(devices, plan)
    for port in plan.guest.ports:
        devices.append(
            interface_element(port, plan.property("hw_vif_model") or "virtio", plan.offload)
        )
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "log", file=str(plan.files.console_log), append="on")
    ET.SubElement(serial, "target", port="0")
    _screen(devices, plan)
    rng = ET.SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", plan.options.rng_dev_path, model="random")
    if plan.property("hw_qemu_guest_agent") in ("yes", "true", "True"):
        channel = ET.SubElement(devices, "channel", type="unix")
        ET.SubElement(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    watchdog = plan.property("hw_watchdog_action") or plan.guest.flavor.extra_specs.get(
        "hw:watchdog_action", ""
    )
    if watchdog and watchdog != "disabled":
        ET.SubElement(devices, "watchdog", model="i6300esb", action=watchdog)
    balloon = ET.SubElement(devices, "memballoon", model="virtio")
    ET.SubElement(balloon, "stats", period="10")


def _disk(plan: DomainPlan, disk: Disk) -> ET.Element:
    kind = "cdrom" if disk.cdrom else "disk"
    element = ET.Element("disk", type="file", device=kind)
    driver = {"name": "qemu", "type": disk.format}
    if not disk.cdrom:
        driver |= {"cache": plan.options.disk_cachemode, "discard": "unmap"}
    ET.SubElement(element, "driver", driver)
    ET.SubElement(element, "source", file=str(disk.path))
    if disk.backing is not None:
        path, base_format = disk.backing
        backing = ET.SubElement(element, "backingStore", type="file")
        ET.SubElement(backing, "format", type=base_format)
        ET.SubElement(backing, "source", file=str(path))
        ET.SubElement(backing, "backingStore")  # the chain ends here, whatever the file says
    elif not disk.cdrom:
        ET.SubElement(element, "backingStore")
    ET.SubElement(element, "target", dev=disk.target, bus=disk.bus)
    if disk.cdrom:
        ET.SubElement(element, "readonly")
    if disk.boot_order is not None and plan.files.kernel is None:
        ET.SubElement(element, "boot", order=str(disk.boot_order))
    return element


def _controllers(devices: ET.Element, plan: DomainPlan) -> None:
    if any(disk.bus == "scsi" for disk in plan.files.disks):
        wanted = plan.property("hw_scsi_model") or "virtio-scsi"
        if wanted not in _SCSI_MODELS:
            raise ImageUnusable(f"hw_scsi_model {wanted} is not supported")
        ET.SubElement(devices, "controller", type="scsi", index="0", model=_SCSI_MODELS[wanted])
    if is_q35(plan.guest, plan.options):
        ET.SubElement(devices, "controller", type="pci", model="pcie-root", index="0")
        for _ in range(_PCIE_PORTS):
            ET.SubElement(devices, "controller", type="pci", model="pcie-root-port")


def _screen(devices: ET.Element, plan: DomainPlan) -> None:
    graphics = ET.SubElement(
        devices, "graphics", type="vnc", autoport="yes", listen=plan.options.server_listen
    )
    ET.SubElement(graphics, "listen", type="address", address=plan.options.server_listen)
    wanted = plan.property("hw_video_model") or "vga"
    if wanted not in _VIDEO_MODELS:
        raise ImageUnusable(f"hw_video_model {wanted} is not supported")
    ET.SubElement(ET.SubElement(devices, "video"), "model", type=wanted)
    pointer = plan.property("hw_pointer_model") or plan.options.pointer_model
    if pointer == "usbtablet":
        ET.SubElement(devices, "input", type="tablet", bus="usb")


def interface_element(port: PortSpec, model: str, offload: bool) -> ET.Element:
    """Return a network card. Raises: ImageUnusable (unknown model)."""
    if model not in _VIF_MODELS:
        raise ImageUnusable(f"hw_vif_model {model} is not supported")
    plugged = port.vif_type in ("ovs", "bridge")
    element = ET.Element("interface", type="bridge" if plugged else "ethernet")
    ET.SubElement(element, "mac", address=port.mac)
    if plugged:
        ET.SubElement(element, "source", bridge=port.bridge)
    if port.vif_type == "ovs":
        virtual_port = ET.SubElement(element, "virtualport", type="openvswitch")
        ET.SubElement(virtual_port, "parameters", interfaceid=port.port_id)
    ET.SubElement(element, "target", dev=port.device)
    ET.SubElement(element, "model", type=model)
    if model == "virtio" and not offload:
        driver = ET.SubElement(element, "driver")
        ET.SubElement(driver, "host", dict.fromkeys(_OFFLOADS_HOST, "off"))
        ET.SubElement(driver, "guest", dict.fromkeys(_OFFLOADS_GUEST, "off"))
    if port.mtu:
        ET.SubElement(element, "mtu", size=str(port.mtu))
    return element


def interface_xml(port: PortSpec, model: str, offload: bool) -> str:
    """Return a network card's description, for plugging."""
    return ET.tostring(interface_element(port, model, offload), encoding="unicode")

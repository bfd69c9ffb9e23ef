"""The kernel modules of the guest: which, and copying them with what they depend on.

Owns: the lists of the conformance page's "kernel modules" part and the module folders. Must not: load
anything.
"""

import lzma
import shutil
from pathlib import Path

from gureum.core.runner import Runner
from gureum.guestimage.tools import Tools

# What the initramfs needs to reach a root disk on any bus.
_DISK = (
    "virtio_pci virtio_blk virtio_scsi sd_mod ext4 crc32c_generic crc32c-intel libcrc32c "
    "qemu_fw_cfg ata_piix ata_generic "
    "ahci xhci-pci ehci-pci uhci-hcd usb-storage uas mptspi sym53c8xx nvme"
)
_REST = (
    "virtio_net virtio_console virtio-rng virtio_balloon virtio_input sr_mod cdrom isofs vfat "
    "nls_cp437 nls_ascii nls_utf8 nls_iso8859-1 8021q button evdev e1000 e1000e 8139cp 8139too "
    "ne2k-pci pcnet32 vmxnet3 usbhid hid-generic i6300esb psmouse loop"
)
DISK_MODULES = tuple(_DISK.split())
MODULES = (*DISK_MODULES, *_REST.split())


def kernel_version(system: Path) -> str:
    """Return the one kernel version in the unpacked packages."""
    return next(path.name for path in sorted(_modules_root(system).iterdir()))


def copy_modules(system: Path, tree: Path, names: tuple[str, ...], tools: Tools) -> None:
    """Copy the modules, and all that they need, into `tree`; modules built in are left out."""
    version = kernel_version(system)
    source = _modules_root(system) / version
    files = {_plain(path.name): path for path in source.rglob("*.ko*")}
    needs = _read_dependencies(source, tools, version)
    wanted: set[str] = set()
    frontier = {_plain(name) for name in names} & files.keys()
    while frontier:
        wanted |= frontier
        frontier = {need for name in frontier for need in needs.get(name, ())} - wanted
    target = tree / "usr" / "lib" / "modules" / version
    for name in sorted(wanted):
        _copy_plain(files[name], target / files[name].relative_to(source), tools.runner)
    for index in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(source / index, target / index)
    tools.depmod(tree, version)
    # What busybox does not read only costs room.
    for path in target.glob("modules.*"):
        if path.name not in ("modules.dep", "modules.alias"):
            path.unlink()


def _modules_root(system: Path) -> Path:
    merged = system / "usr" / "lib" / "modules"
    return merged if merged.is_dir() else system / "lib" / "modules"


def _plain(name: str) -> str:
    return name.partition(".ko")[0].replace("-", "_")


def _read_dependencies(source: Path, tools: Tools, version: str) -> dict[str, set[str]]:
    index = source / "modules.dep"
    if not index.exists():
        tools.depmod(source.parents[2], version)
    found: dict[str, set[str]] = {}
    for line in index.read_text().splitlines():
        name, _, rest = line.partition(":")
        found[_plain(Path(name).name)] = {_plain(Path(item).name) for item in rest.split()}
    return found


def _copy_plain(source: Path, target: Path, runner: Runner) -> None:
    """Copy a module uncompressed: busybox reads no zstd."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".xz":
        target.with_suffix("").write_bytes(lzma.decompress(source.read_bytes()))
    elif source.suffix == ".zst":
        runner.run(
            ["zstd", "-q", "-d", "-f", str(source), "-o", str(target.with_suffix(""))],
            timeout_s=60,
        )
    else:
        shutil.copy(source, target)

"""A guest's folder: its disks, its config drive, its console log.

Owns: `<instances>/<server id>/`. Every file in it is whole or absent, so that making it again after a
kill goes on where it stopped, and removing the folder removes everything.
Must not: talk to libvirt.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from gureum.core.runner import CommandError, Runner
from gureum.nova.agent.config import LibvirtOptions
from gureum.nova.agent.contract import GuestSpec, HypervisorFailed, ImageSpec, ImageUnusable
from gureum.nova.drivers.base import SpawnOrder
from gureum.nova.drivers.libvirt.files import disk_trouble, remove_tree
from gureum.nova.drivers.libvirt.images import GIB, BaseImage, ImageCache, QemuImg
from gureum.nova.metadata.config_drive import LABEL

MIB = 1 << 20
KERNEL_LIMIT_BYTES = 1 << 30
CONSOLE_LOG = "console.log"
_ISO_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Disk:
    """One file disk, as the domain will name it; `backing` is (path, format) of its base."""

    path: Path
    format: str
    bus: str
    target: str
    cdrom: bool = False
    boot_order: int | None = None
    backing: tuple[Path, str] | None = None


@dataclass(frozen=True, slots=True)
class GuestFiles:
    """All files of a guest."""

    folder: Path
    disks: tuple[Disk, ...]
    kernel: Path | None = None
    ramdisk: Path | None = None
    config_drive: bool = False

    @property
    def root_device(self) -> str:
        """The guest's name of its first disk."""
        first = next((disk for disk in self.disks if not disk.cdrom), None)
        return f"/dev/{first.target}" if first else "/dev/vda"

    @property
    def console_log(self) -> Path:
        """Where the serial console is written to."""
        return self.folder / CONSOLE_LOG


_PREFIX = {"virtio": "vd", "scsi": "sd", "sata": "sd", "usb": "sd", "ide": "hd", "fdc": "fd"}


class _Targets:
    """Hands out device names: vda, vdb, sda, …"""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def next(self, bus: str) -> str:
        if bus not in _PREFIX:
            raise ImageUnusable(f"disk bus {bus} is not supported")
        prefix = _PREFIX[bus]
        index = self._used.get(prefix, 0)
        self._used[prefix] = index + 1
        return f"{prefix}{chr(ord('a') + index)}"


def is_q35(guest: GuestSpec, options: LibvirtOptions) -> bool:
    """Whether the guest's machine has PCI Express (and no IDE)."""
    return "q35" in machine_type(guest, options)


def machine_type(guest: GuestSpec, options: LibvirtOptions) -> str:
    """The machine that the image asks for, or the host's default."""
    return _property(guest, "hw_machine_type") or options.hw_machine_type


def _property(guest: GuestSpec, name: str) -> str:
    return guest.image.properties.get(name, "") if guest.image is not None else ""


class GuestFolders:
    """Makes and removes guests' folders."""

    def __init__(
        self, instances: Path, options: LibvirtOptions, cache: ImageCache, runner: Runner
    ) -> None:
        self._instances = instances
        self._options = options
        self._cache = cache
        self._runner = runner
        self._qemu_img = QemuImg(options, runner)

    def folder(self, guest_id: str) -> Path:
        """Where a guest's files are. Raises: HypervisorFailed (not an id)."""
        if not guest_id or "/" in guest_id or guest_id.startswith((".", "_")):
            raise HypervisorFailed("not the id of a guest")
        return self._instances / guest_id

    def known(self) -> set[str]:
        """Ids of all guests that have a folder."""
        return {
            path.name
            for path in self._instances.iterdir()
            if path.is_dir() and len(path.name) == 36 and path.name.count("-") == 4
        }

    def remove(self, guest_id: str) -> None:
        """Remove a guest's folder whole."""
        remove_tree(self.folder(guest_id))

    def prepare(self, order: SpawnOrder) -> GuestFiles:
        """Make everything that is not there yet.

        Raises: ImageUnusable, ImageUnavailable, HostDiskFull, HypervisorFailed.
        """
        guest = order.guest
        folder = self.folder(guest.server_id)
        with disk_trouble("a guest's disks"):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o711)
            targets = _Targets()
            disks = self._root(order, folder, targets)
            disks += self._extra(order, folder, targets, self._bus(guest))
            kernel, ramdisk = self._boot_files(order, folder)
            has_drive = order.config_drive is not None
            if order.config_drive is not None:
                order.checkpoint()
                self._config_drive(folder, order.config_drive)
            if has_drive:
                bus = self._cdrom_bus(guest)
                disks.append(
                    Disk(folder / "disk.config", "raw", bus, targets.next(bus), cdrom=True)
                )
        return GuestFiles(folder, tuple(disks), kernel, ramdisk, has_drive)

    def _bus(self, guest: GuestSpec) -> str:
        bus = _property(guest, "hw_disk_bus") or "virtio"
        return "sata" if bus == "ide" and is_q35(guest, self._options) else bus

    def _cdrom_bus(self, guest: GuestSpec) -> str:
        wanted = _property(guest, "hw_cdrom_bus")
        if wanted and not (wanted == "ide" and is_q35(guest, self._options)):
            return wanted
        return "sata" if is_q35(guest, self._options) else "ide"

    def _root(self, order: SpawnOrder, folder: Path, targets: _Targets) -> list[Disk]:
        guest = order.guest
        if guest.image is None:
            return []
        size = guest.flavor.disk_gib * GIB
        order.checkpoint()
        if guest.image.disk_format == "iso":
            return self._iso_root(order, guest.image, folder, targets)
        bus = self._bus(guest)
        disk = folder / "disk"
        base = self._base(order, guest.image, size or self._options.max_image_gib * GIB)
        backing = self._hold(base, folder, "disk.base", keep=disk.exists())
        self._overlay(disk, backing, base.format, max(size, base.virtual_bytes))
        return [
            Disk(
                disk, "qcow2", bus, targets.next(bus), boot_order=1, backing=(backing, base.format)
            )
        ]

    def _iso_root(
        self, order: SpawnOrder, image: ImageSpec, folder: Path, targets: _Targets
    ) -> list[Disk]:
        """An installer: an empty disk to install on, and the image as a CD-ROM."""
        guest = order.guest
        disks: list[Disk] = []
        if guest.flavor.disk_gib:
            disk, bus = folder / "disk", self._bus(guest)
            if not disk.exists():
                part = _fresh(folder / "disk.part")
                self._qemu_img.blank(part, guest.flavor.disk_gib * GIB)
                os.replace(part, disk)
            disks.append(Disk(disk, "qcow2", bus, targets.next(bus), boot_order=1))
        base = self._base(order, image, self._options.max_image_gib * GIB)
        held = self._hold(base, folder, "disk.iso", keep=False)
        bus = self._cdrom_bus(guest)
        disks.append(Disk(held, base.format, bus, targets.next(bus), cdrom=True, boot_order=2))
        return disks

    def _base(self, order: SpawnOrder, image: ImageSpec, limit_bytes: int) -> BaseImage:
        if order.images is None:
            raise ImageUnusable(f"image {image.id}: no place to read it from was given")
        base = self._cache.base(image, order.images, limit_bytes, order.checkpoint)
        if base.virtual_bytes > limit_bytes:
            raise ImageUnusable(
                f"image {image.id} needs a disk of {base.virtual_bytes} bytes,"
                f" the flavor has {limit_bytes}"
            )
        order.checkpoint()
        return base

    def _hold(self, base: BaseImage, folder: Path, name: str, *, keep: bool) -> Path:
        """Link a base into the guest's folder; it is used as long as that link is there."""
        held = folder / name
        if keep and held.exists():
            return held
        part = _fresh(folder / f"{name}.part")
        os.link(base.path, part)
        os.replace(part, held)
        part.unlink(missing_ok=True)  # a rename onto the same file leaves both names
        return held

    def _overlay(self, disk: Path, backing: Path, kind: str, size_bytes: int) -> None:
        if disk.exists():
            return
        part = _fresh(disk.with_name(f"{disk.name}.part"))
        self._qemu_img.overlay(part, backing.name, kind, size_bytes)
        part.chmod(0o600)
        os.replace(part, disk)

    def _extra(self, order: SpawnOrder, folder: Path, targets: _Targets, bus: str) -> list[Disk]:
        flavor = order.guest.flavor
        disks: list[Disk] = []
        wanted: list[tuple[str, str, int, tuple[str, ...]]] = []
        if flavor.ephemeral_gib:
            make = ("mkfs.ext4", "-q", "-F", "-L", "ephemeral0")
            name = f"ephemeral_{flavor.ephemeral_gib}_ext4"
            wanted.append(("disk.eph0", name, flavor.ephemeral_gib * GIB, make))
        if flavor.swap_mib:
            size = flavor.swap_mib * MIB
            wanted.append(("disk.swap", f"swap_{flavor.swap_mib}", size, ("mkswap",)))
        for file, name, size, command in wanted:
            order.checkpoint()
            base = self._cache.made(name, size, partial(self._run_on, command))
            disk = folder / file
            backing = self._hold(base, folder, f"{file}.base", keep=disk.exists())
            self._overlay(disk, backing, "raw", size)
            disks.append(
                Disk(disk, "qcow2", bus, targets.next(bus), backing=(backing, base.format))
            )
        return disks

    def _boot_files(self, order: SpawnOrder, folder: Path) -> tuple[Path | None, Path | None]:
        """Kernel and ramdisk of an image that has no boot loader of its own."""
        image = order.guest.image
        if image is None or not image.kernel_id:
            return None, None
        held: list[Path | None] = []
        for image_id, name in ((image.kernel_id, "kernel"), (image.ramdisk_id, "ramdisk")):
            if not image_id:
                held.append(None)
                continue
            if order.images is None:
                raise ImageUnusable(f"image {image_id}: no place to read it from was given")
            base = self._base(order, order.images.show(image_id), KERNEL_LIMIT_BYTES)
            held.append(self._hold(base, folder, name, keep=False))
        return held[0], held[1]

    def _config_drive(self, folder: Path, files: Mapping[str, bytes]) -> None:
        drive = folder / "disk.config"
        if drive.exists():
            return
        tree, part = folder / "config.d", _fresh(folder / "disk.config.part")
        remove_tree(tree)
        tree.mkdir(mode=0o700)
        try:
            for name, body in files.items():
                path = tree / PurePosixPath(name)
                if not path.resolve().is_relative_to(tree.resolve()):
                    raise HypervisorFailed("a path of the config drive leads out of it")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(body)
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            self._run(
                *_mkisofs(self._options.mkisofs_cmd),
                *("-quiet", "-o", str(part), "-V", LABEL, "-J", "-r", "-l"),
                *("-publisher", "Gureum", str(tree)),
            )
            os.replace(part, drive)
        finally:
            shutil.rmtree(tree, ignore_errors=True)

    def _run_on(self, command: tuple[str, ...], path: Path) -> None:
        self._run(*command, str(path))

    def _run(self, *args: str) -> None:
        try:
            self._runner.run(args, timeout_s=_ISO_TIMEOUT_S)
        except CommandError as error:
            raise HypervisorFailed(f"{args[0]}: {error.text}") from error


def _mkisofs(program: str) -> tuple[str, ...]:
    if program.rsplit("/", 1)[-1] == "xorriso":
        return (program, "-as", "mkisofs")
    return (program, "-ldots", "-allow-lowercase", "-allow-multidot")


def _fresh(path: Path) -> Path:
    path.unlink(missing_ok=True)
    return path

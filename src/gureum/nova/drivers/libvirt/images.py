"""Base images: what guests' disks are overlays of, fetched once for all guests of a host.

Owns: the `_base` folder. A file there is whole or absent: it is made beside under a lock, checked and
renamed. A guest holds a hard link to its base, so a base is unused exactly when it has one link, and
removing it from the cache never harms a guest. Formats are named to every program, never probed: what
an image is was told by the image service and is checked by an inspector here once more.
Must not: trust an image; programs that read one run under limits of memory and CPU time.
Abuse cases: 1, 3, 4, 5, 7, 8.
"""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from oslo_utils.imageutils import format_inspector

from gureum.core import log
from gureum.core.runner import CommandError, CommandTimeout, Runner
from gureum.nova.agent.config import LibvirtOptions
from gureum.nova.agent.contract import (
    HostDiskFull,
    HypervisorFailed,
    ImageSpec,
    ImageUnavailable,
    ImageUnusable,
)
from gureum.nova.drivers.base import ImageSource
from gureum.nova.drivers.libvirt.files import disk_trouble, locked, need_room

LOG = log.get(__name__)

GIB = 1 << 30
_ATTEMPTS = 3
_SLACK_S = 60
# What the image service calls a format -> what the inspector may find in it, and QEMU's name of it.
_PLAIN = ("raw", "gpt", "iso")
_FORMATS: dict[str, tuple[tuple[str, ...], str]] = {
    "raw": (_PLAIN, "raw"),
    "ami": (_PLAIN, "raw"),
    "aki": (_PLAIN, "raw"),
    "ari": (_PLAIN, "raw"),
    "iso": (_PLAIN, "raw"),
    "qcow2": (("qcow2",), "qcow2"),
    "vmdk": (("vmdk",), "vmdk"),
    "vdi": (("vdi",), "vdi"),
    "vhd": (("vhd",), "vpc"),
    "vhdx": (("vhdx",), "vhdx"),
}
DISK_FORMATS = tuple(_FORMATS)


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A file in the cache; `format` is QEMU's name of what it is."""

    path: Path
    format: str
    virtual_bytes: int


Checkpoint = Callable[[], None]


class ImageCache:
    """The base images of a host."""

    def __init__(self, folder: Path, options: LibvirtOptions, runner: Runner) -> None:
        self._folder = folder
        self._locks = folder / "locks"
        self._options = options
        self._runner = runner
        self._qemu_img = QemuImg(options, runner)
        self._locks.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)

    def base(
        self,
        image: ImageSpec,
        source: ImageSource,
        limit_bytes: int,
        checkpoint: Checkpoint,
    ) -> BaseImage:
        """Return the base of an image, fetched when it is not there.

        `limit_bytes` is the largest virtual size that may be unpacked.
        Raises: ImageUnusable, ImageUnavailable, HostDiskFull.
        """
        if image.disk_format not in _FORMATS:
            raise ImageUnusable(f"images of format {image.disk_format} cannot be booted here")
        name = self._name(image)
        with locked(self._locks / f"{name}.lock"):
            found = self._find(name)
            if found is None:
                found = self._fetch(name, image, source, limit_bytes, checkpoint)
            os.utime(found)
            info = self._qemu_img.info(found, found.suffix[1:])
        return BaseImage(found, found.suffix[1:], info.virtual_bytes)

    def made(self, name: str, size_bytes: int, make: Callable[[Path], None]) -> BaseImage:
        """Return a raw base that `make` fills, such as an empty file system."""
        with locked(self._locks / f"{name}.lock"):
            path = self._folder / f"{name}.raw"
            if not path.exists():
                part = self._part(name, "new")
                with disk_trouble("a guest's disk"):
                    try:
                        with part.open("wb") as file:
                            file.truncate(size_bytes)
                        make(part)
                        self._publish(part, path)
                    finally:
                        part.unlink(missing_ok=True)
            os.utime(path)
        return BaseImage(path, "raw", size_bytes)

    def age(self, now: float | None = None) -> list[str]:
        """Remove bases that no guest has used for long, and parts of killed fetches."""
        now = time.time() if now is None else now
        removed: list[str] = []
        for path in sorted(self._folder.iterdir()):
            if path.is_dir():
                continue
            name = path.name.removeprefix(".").split(".", 1)[0]
            with locked(self._locks / f"{name}.lock", wait=False) as held:
                if held and self._is_stale(path, now):
                    path.unlink(missing_ok=True)
                    removed.append(path.name)
                    LOG.info("base image removed", file=path.name)
        return removed

    def _is_stale(self, path: Path, now: float) -> bool:
        if path.name.startswith("."):  # under its lock nobody is making it
            return True
        status = path.stat()
        if status.st_nlink > 1:
            os.utime(path, (now, now))
            return False
        age_s = self._options.remove_unused_original_minimum_age_seconds
        return self._options.remove_unused_base_images and now - status.st_mtime > age_s

    def _name(self, image: ImageSpec) -> str:
        content = image.os_hash_value or image.checksum or ""
        keep = "raw" if self._options.force_raw_images else "qcow2"
        return hashlib.sha256(f"{image.id} {content} {keep}".encode()).hexdigest()[:40]

    def _find(self, name: str) -> Path | None:
        for kind in ("raw", "qcow2"):
            path = self._folder / f"{name}.{kind}"
            if path.exists():
                return path
        return None

    def _part(self, name: str, what: str) -> Path:
        part = self._folder / f".{name}.{what}"
        part.unlink(missing_ok=True)
        return part

    def _publish(self, part: Path, path: Path) -> None:
        part.chmod(0o644)
        fd = os.open(part, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(part, path)

    def _fetch(
        self,
        name: str,
        image: ImageSpec,
        source: ImageSource,
        limit_bytes: int,
        checkpoint: Checkpoint,
    ) -> Path:
        began = time.monotonic()
        part, unpacked = self._part(name, "fetch"), self._part(name, "unpack")
        try:
            with disk_trouble(f"image {image.id}"):
                need_room(self._folder, image.size_bytes, f"image {image.id}")
                self._download(image, source, part, checkpoint)
                kind = self._check_content(image, part)
                info = self._qemu_img.info(part, kind)
                self._check_info(image, info, limit_bytes)
                checkpoint()
                wanted = "raw" if self._options.force_raw_images or kind == "raw" else "qcow2"
                if kind != wanted:
                    need_room(self._folder, info.actual_bytes, f"image {image.id}")
                    self._qemu_img.convert(part, kind, unpacked, wanted)
                    part, unpacked = unpacked, part
                path = self._folder / f"{name}.{wanted}"
                self._publish(part, path)
        finally:
            part.unlink(missing_ok=True)
            unpacked.unlink(missing_ok=True)
        LOG.info("image fetched", image_id=image.id, seconds=time.monotonic() - began)
        return path

    def _download(
        self, image: ImageSpec, source: ImageSource, part: Path, checkpoint: Checkpoint
    ) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._download_once(image, source, part, checkpoint)
                return
            except ImageUnavailable as error:
                if attempt == _ATTEMPTS:
                    raise
                LOG.warning("image could not be read, trying again", error=error.text)

    def _download_once(
        self, image: ImageSpec, source: ImageSource, part: Path, checkpoint: Checkpoint
    ) -> None:
        algorithm, wanted = _hash_of(image)
        digest = hashlib.new(algorithm)
        size = 0
        with part.open("wb") as file:
            for chunk in source.read(image.id):
                checkpoint()
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                if image.size_bytes and size > image.size_bytes:
                    break
        if image.size_bytes and size != image.size_bytes:
            raise ImageUnavailable(f"image {image.id}: its size is not the one that was stated")
        if wanted and digest.hexdigest() != wanted:
            raise ImageUnavailable(f"image {image.id}: its checksum is not the one that was stated")

    def _check_content(self, image: ImageSpec, path: Path) -> str:
        """Return QEMU's name of what the file is. Raises: ImageUnusable (not what it claims)."""
        allowed, kind = _FORMATS[image.disk_format]
        try:
            inspector = format_inspector.detect_file_format(str(path))
            found = str(inspector) if inspector is not None else "raw"
            if found not in allowed:
                raise ImageUnusable(
                    f"image {image.id} claims to be {image.disk_format} but is {found}"
                )
            if inspector is not None and found not in _PLAIN:
                inspector.safety_check()
        except (
            format_inspector.ImageFormatError,
            format_inspector.SafetyCheckFailed,
        ) as error:
            raise ImageUnusable(f"image {image.id} is not safe to use: {error}") from error
        return kind

    def _check_info(self, image: ImageSpec, info: "ImageInfo", limit_bytes: int) -> None:
        if info.refers_elsewhere:
            raise ImageUnusable(f"image {image.id} refers to other files")
        if info.virtual_bytes > limit_bytes:
            raise ImageUnusable(
                f"image {image.id} unpacks to {info.virtual_bytes} bytes, the disk has {limit_bytes}"
            )


def _hash_of(image: ImageSpec) -> tuple[str, str]:
    algorithm = image.os_hash_algo or ""
    if algorithm in hashlib.algorithms_available and image.os_hash_value:
        return algorithm, image.os_hash_value
    return "md5", image.checksum or ""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What `qemu-img info` says of a file."""

    virtual_bytes: int
    actual_bytes: int
    refers_elsewhere: bool


class QemuImg:
    """qemu-img, always told the format, reading images under limits."""

    def __init__(self, options: LibvirtOptions, runner: Runner) -> None:
        self._options = options
        self._runner = runner

    def info(self, path: Path, kind: str) -> ImageInfo:
        """Raises: ImageUnusable (qemu-img cannot read it)."""
        text = self._limited(("info", "-U", "-f", kind, "--output=json", str(path)), path)
        told = msgspec.json.decode(text)
        special = told.get("format-specific", {}).get("data", {})
        return ImageInfo(
            virtual_bytes=told["virtual-size"],
            actual_bytes=told.get("actual-size", 0),
            refers_elsewhere=bool(told.get("backing-filename") or told.get("full-backing-filename"))
            or "data-file" in special,
        )

    def convert(self, source: Path, kind: str, target: Path, wanted: str) -> None:
        """Raises: ImageUnusable, HostDiskFull."""
        self._limited(
            ("convert", "-f", kind, "-O", wanted, "-t", "writeback", str(source), str(target)),
            source,
        )

    def overlay(self, path: Path, base_name: str, base_format: str, size_bytes: int) -> None:
        """Make a qcow2 overlay of a base that lies in the same folder."""
        args = ("create", "-q", "-f", "qcow2", "-F", base_format, "-b", base_name)
        self._plain((*args, str(path), str(size_bytes)), path)

    def blank(self, path: Path, size_bytes: int) -> None:
        """Make an empty qcow2 disk."""
        self._plain(("create", "-q", "-f", "qcow2", str(path), str(size_bytes)), path)

    def _plain(self, args: tuple[str, ...], path: Path) -> None:
        try:
            self._runner.run(("qemu-img", *args), timeout_s=60)
        except CommandError as error:
            if "No space left" in error.text:
                raise HostDiskFull(f"no room on the host for {path.name}") from error
            raise HypervisorFailed(f"{path.name}: {error.text}") from error

    def _limited(self, args: tuple[str, ...], path: Path) -> str:
        memory = self._options.image_child_memory_mib << 20
        limits = (f"--as={memory}", f"--cpu={self._options.image_child_cpu_s}", "--core=0")
        try:
            done = self._runner.run(
                ("prlimit", *limits, "--", "qemu-img", *args),
                timeout_s=self._options.image_child_cpu_s + _SLACK_S,
            )
        except CommandTimeout as error:
            raise ImageUnusable(f"{path.name}: reading it takes too long") from error
        except CommandError as error:
            if "No space left" in error.text:
                raise HostDiskFull("no room on the host to unpack the image") from error
            raise ImageUnusable(f"{path.name}: qemu-img cannot read it: {error.text}") from error
        return done.stdout

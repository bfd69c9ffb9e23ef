"""From nothing to the finished image files, with a cache.

Owns: the order of the steps, the cache key and the atomic change of the output. Must not: need root.
"""

import gzip
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gureum.core.log import get
from gureum.core.runner import Runner
from gureum.guestimage import cpio, disk, packages, tree
from gureum.guestimage.tools import Tools

log = get(__name__)

_KERNEL_ARGS = "console=tty1 console=ttyS0,115200n8 loglevel=4 panic=10 no_timer_check"
_BOOT_COMMANDS = f"""\
set root=(hd0,msdos1)
linux /boot/vmlinuz root=auto rw {_KERNEL_ARGS}
initrd /boot/initrd
boot
"""
_SPARE_MIB = 48


@dataclass(frozen=True, slots=True)
class GuestImage:
    """The finished files. The triple boots with `root=/dev/vda`."""

    qcow2: Path
    ami: Path
    aki: Path
    ari: Path


_Target = Callable[[GuestImage], Path]


def output_files(output: Path) -> GuestImage:
    """Return the names of all files that belong to the qcow2 at `output`."""
    stem = output.with_suffix("")
    return GuestImage(
        qcow2=output,
        ami=stem.with_suffix(".ami"),
        aki=stem.with_suffix(".aki"),
        ari=stem.with_suffix(".ari"),
    )


def source_key() -> str:
    """Return the hash of everything in this package that decides what the image is."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.suffix in (".py", ".sh"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def build(
    runner: Runner, output: Path, cache: Path, *, triple: bool = False, force: bool = False
) -> GuestImage:
    """Build the image at `output` unless it is there and made from the same source.

    Raises: PackagesUnavailable, CommandError, OSError.
    """
    files = output_files(output)
    record = output.with_suffix(".json")
    key = source_key()
    if not force and _is_current(files, record, key, triple):
        return files
    output.parent.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=cache) as folder:
        work = Path(folder)
        names = packages.resolve(runner)
        fetched = packages.fetch(runner, names, cache / "packages")
        log.info("building the guest image", packages=len(fetched))
        made = _make(runner, work, fetched, key, triple)
        content = {"source": key, "packages": [path.name for path in fetched]}
        record.unlink(missing_ok=True)
        for source, target in made.items():
            _move(work / source, target(files))
        temporary = work / "record.json"
        temporary.write_text(json.dumps(content, indent=1) + "\n")
        _move(temporary, record)
    log.info("guest image built", path=output, bytes=output.stat().st_size)
    return files


def _make(
    runner: Runner, work: Path, fetched: tuple[Path, ...], key: str, triple: bool
) -> dict[str, _Target]:
    packages.unpack(runner, fetched, work / "system")
    tools = Tools(runner, work / "system")
    root, early = work / "root", work / "early"
    tree.build_root(tools, root, f"Gureum guest {key[:12]}")
    tree.build_initramfs_tree(tools, early)
    (work / "initrd").write_bytes(gzip.compress(cpio.archive(early), compresslevel=6, mtime=0))
    shutil.copyfile(tree.kernel_file(tools.system), work / "vmlinuz")
    made: dict[str, _Target] = {"disk.qcow2": lambda files: files.qcow2}
    if triple:
        disk.make_ext4(runner, root, work / "plain.ext4", _size_mib(root))
        made |= {
            "plain.ext4": lambda files: files.ami,
            "vmlinuz": lambda files: files.aki,
            "initrd": lambda files: files.ari,
        }
    shutil.copyfile(work / "vmlinuz", root / "boot" / "vmlinuz")
    shutil.copyfile(work / "initrd", root / "boot" / "initrd")
    disk.make_ext4(runner, root, work / "boot.ext4", _size_mib(root))
    (work / "boot.cfg").write_text(_BOOT_COMMANDS)
    tools.grub_image(work / "boot.cfg", work / "core.img")
    disk.assemble(
        tools.grub_boot_sector(),
        (work / "core.img").read_bytes(),
        work / "boot.ext4",
        work / "disk.raw",
    )
    disk.to_qcow2(runner, work / "disk.raw", work / "disk.qcow2")
    return made


def _size_mib(root: Path) -> int:
    used = sum(path.lstat().st_size for path in root.rglob("*") if path.is_file())
    return used // disk.MIB + _SPARE_MIB


def _is_current(files: GuestImage, record: Path, key: str, triple: bool) -> bool:
    wanted = [files.qcow2, *([files.ami, files.aki, files.ari] if triple else [])]
    if not all(path.exists() for path in wanted):
        return False
    try:
        return bool(json.loads(record.read_text())["source"] == key)
    except (OSError, ValueError, KeyError):
        return False


def _move(source: Path, target: Path) -> None:
    """Put a file in place at once, also from another file system."""
    beside = target.with_name(f".{target.name}.new")
    shutil.copyfile(source, beside)
    os.replace(beside, target)

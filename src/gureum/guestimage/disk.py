"""File systems and disks, made as plain files.

Owns: the ext4 file system from a folder, the master boot record and the boot loader in the gap behind
it, the qcow2 file. Must not: mount anything or use loop devices.
"""

import os
import struct
from pathlib import Path

from gureum.core.runner import Runner
from gureum.guestimage.tree import USER_ID

LABEL = "gureum-root"
MIB = 1024 * 1024
SECTOR = 512
PARTITION_OFFSET = MIB
_DISK_SIGNATURE = 0x6775726D
_LINUX = 0x83
_TIMEOUT_S = 300
# A fixed identity: two builds of the same input are the same bytes.
_UUID = "67757265-756d-4e00-8000-000000000001"
_FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,sparse_super,"
    "large_file,huge_file,dir_nlink,extra_isize,64bit,metadata_csum"
)
_NO_TIME_S = 1_700_000_000


def make_ext4(runner: Runner, tree: Path, image: Path, size_mib: int) -> None:
    """Write an ext4 file system with the content of `tree`, owned by root and the guest's user."""
    with image.open("wb") as file:
        file.truncate(size_mib * MIB)
    for path in tree.rglob("*"):
        os.utime(path, (_NO_TIME_S, _NO_TIME_S), follow_symlinks=False)
    os.utime(tree, (_NO_TIME_S, _NO_TIME_S))
    env = {"MKE2FS_CONFIG": "/dev/null", "E2FSPROGS_FAKE_TIME": str(_NO_TIME_S)}
    runner.run(
        [
            *("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "8192"),
            *("-m", "1", "-J", "size=4", "-O", _FEATURES, "-L", LABEL, "-U", _UUID),
            *("-E", f"hash_seed={_UUID},root_owner=0:0,lazy_itable_init=0"),
            *("-d", str(tree), str(image)),
        ],
        timeout_s=_TIMEOUT_S,
        env=env,
    )
    runner.run(
        ["debugfs", "-w", "-f", "-", str(image)],
        timeout_s=_TIMEOUT_S,
        input=ownership_script(tree).encode(),
        env=env,
    )


def ownership_script(tree: Path) -> str:
    """Return the debugfs commands that give every file its owner and times, whoever built it."""
    lines: list[str] = []
    for path in sorted(tree.rglob("*")):
        name = path.relative_to(tree)
        owner = USER_ID if name.parts[:2] == ("home", "gureum") else 0
        lines += [f'sif "/{name}" uid {owner}', f'sif "/{name}" gid {owner}']
    for path in (tree, *sorted(tree.rglob("*"))):
        # What no one can set on the files of the tree: when their inodes were changed and read.
        shown = "" if path == tree else str(path.relative_to(tree))
        lines += [f'sif "/{shown}" {kind} @{_NO_TIME_S}' for kind in ("ctime", "atime")]
    return "\n".join(lines) + "\n"


def boot_record(code: bytes, partition_sectors: int) -> bytes:
    """Return the first sector: boot code and one active partition from 1 MiB on."""
    record = bytearray(code[:440].ljust(SECTOR, b"\0"))
    struct.pack_into("<I", record, 440, _DISK_SIGNATURE)
    start = PARTITION_OFFSET // SECTOR
    # The old cylinder addresses say "too large": only the sector numbers count.
    struct.pack_into(
        "<B3sB3sII", record, 446, 0x80, b"\xfe\xff\xff", _LINUX, b"\xfe\xff\xff", start,
        partition_sectors,
    )  # fmt: skip
    record[510:512] = b"\x55\xaa"
    return bytes(record)


def assemble(boot_sector: bytes, core: bytes, partition: Path, disk: Path) -> None:
    """Write the raw disk: boot record, boot loader behind it, the partition at 1 MiB.

    Raises: ValueError (the boot loader does not fit into the gap).
    """
    if SECTOR + len(core) > PARTITION_OFFSET:
        raise ValueError(f"a boot loader of {len(core)} bytes does not fit before the partition")
    size = partition.stat().st_size
    with disk.open("wb") as out, partition.open("rb") as source:
        out.write(boot_record(boot_sector, size // SECTOR))
        out.write(core)
        out.truncate(PARTITION_OFFSET + size + MIB)
        position = PARTITION_OFFSET
        while chunk := source.read(MIB):
            if chunk.strip(b"\0"):
                out.seek(position)
                out.write(chunk)
            position += len(chunk)


def to_qcow2(runner: Runner, disk: Path, output: Path) -> None:
    """Write the raw disk as a compressed qcow2 file."""
    runner.run(
        ["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", str(disk), str(output)],
        timeout_s=_TIMEOUT_S,
    )

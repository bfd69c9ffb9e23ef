"""The folders that become the guest: the root file system and the initramfs.

Owns: which program of which package goes where, users, links and configuration. Must not: know about
disks. Follows the lists of commands in the conformance page.
"""

import shutil
from pathlib import Path

from gureum.guestimage.elf import needed_libraries
from gureum.guestimage.modules import DISK_MODULES, MODULES, copy_modules, kernel_version
from gureum.guestimage.packages import locate
from gureum.guestimage.tools import Tools

SCRIPTS = Path(__file__).parent / "files"
USER_ID = 1000

_PROGRAMS = (
    "/bin/lsblk",
    "/bin/mount",
    "/bin/ping",
    "/bin/umount",
    "/sbin/blkid",
    "/sbin/e2fsck",
    "/sbin/mke2fs",
    "/sbin/mkfs",
    "/sbin/mkfs.fat",
    "/sbin/resize2fs",
    "/sbin/tune2fs",
    "/usr/bin/curl",
    "/usr/bin/dropbearkey",
    "/usr/bin/jq",
    "/usr/bin/scp",
    "/usr/bin/sudo",
    "/usr/sbin/dropbear",
    "/usr/sbin/qemu-ga",
)
_LINKS = {
    "mkfs.vfat": "mkfs.fat",
    "mkfs.ext2": "mke2fs",
    "mkfs.ext3": "mke2fs",
    "mkfs.ext4": "mke2fs",
    "fsck.ext4": "e2fsck",
    "ping4": "ping",
    "ping6": "ping",
}
# Reading a disk's label and sending an echo request are things that the plain user may do.
_SETUID = ("sudo", "ping", "blkid", "mount", "umount")
_OWN_SCRIPTS = {
    "rcS.sh": "etc/init.d/rcS",
    "rcK.sh": "etc/init.d/rcK",
    "udhcpc.sh": "etc/gureum/udhcpc",
    "agent.sh": "etc/gureum/agent",
    "chpasswd.sh": "usr/bin/chpasswd",
    "nc.sh": "usr/bin/nc",
    "screen.sh": "usr/bin/screen",
    "shutdown.sh": "usr/bin/shutdown",
}
_FOLDERS = (
    "dev proc sys run tmp mnt root var/log var/lib/gureum var/spool home/gureum etc/acpi/PWRF "
    "usr/local/bin usr/lib/gureum etc/dropbear boot"
)
_EARLY_APPLETS = (
    "sh modprobe mount cat dd head tr sed readlink blockdev usleep touch switch_root printf ls"
)
_UNUSED_APPLETS = {"busybox", "dpkg", "dpkg-deb", "rpm", "rpm2cpio", "nc", "linuxrc", "run-init"}
# The password is public (it is the user's name), so few rounds: they cost seconds without KVM.
_PASSWORD_HASH = (
    "$6$rounds=1000$gureum$N12tfzCtk3Pg6O/jVDvYYkBhY6RQusbzK8.FlK2B9YxdhyAzuxbO"
    ".l0HjVtFwAHFH2UerUHGIkJEn1w2ITm5H/"
)
_CONFIG = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"
    "gureum:x:1000:1000:Gureum guest:/home/gureum:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\ntty:x:5:\ndisk:x:6:\nsudo:x:27:gureum\ngureum:x:1000:\n"
    "nogroup:x:65534:\n",
    "etc/shadow": f"root:*:19000:0:99999:7:::\ngureum:{_PASSWORD_HASH}:19000:0:99999:7:::\n"
    "nobody:*:19000:0:99999:7:::\n",
    "etc/shells": "/bin/sh\n/bin/ash\n",
    "etc/hostname": "gureum-guest\n",
    "etc/hosts": "127.0.0.1 localhost gureum-guest\n::1 localhost ip6-localhost\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    "etc/resolv.conf": "",
    "etc/profile": "export PATH=/usr/local/bin:/usr/bin:/bin:/sbin:/usr/sbin\n"
    "export PS1='\\u@\\h:\\w\\$ '\n",
    "etc/issue": "\\nGureum guest on \\l\\nlogin as gureum, password gureum\\n\\n".replace(
        "\\n", "\n"
    ),
    "etc/motd": "",
    "etc/inittab": "::sysinit:/etc/init.d/rcS\n"
    "tty1::respawn:/sbin/getty 38400 tty1 linux\n"
    "ttyS0::respawn:/sbin/getty -L 115200 ttyS0 vt100\n"
    "::ctrlaltdel:/sbin/reboot\n"
    "::shutdown:/etc/init.d/rcK\n",
    "etc/sudoers": "Defaults !authenticate\n"
    'Defaults secure_path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"\n'
    "root ALL=(ALL:ALL) ALL\ngureum ALL=(ALL:ALL) NOPASSWD: ALL\n",
    "etc/pam.d/sudo": "".join(
        f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "session", "password")
    ),
    "etc/sysctl.conf": "net.ipv4.ping_group_range = 0 2147483647\n"
    "net.ipv6.conf.all.use_tempaddr = 0\nnet.ipv6.conf.default.use_tempaddr = 0\n"
    "kernel.printk = 4 4 1 7\n",
    "etc/mke2fs.conf": "[defaults]\nbase_features = sparse_super,large_file,filetype,resize_inode,"
    "dir_index,ext_attr\ndefault_mntopts = acl,user_xattr\nblocksize = 4096\ninode_size = 256\n"
    "inode_ratio = 16384\n[fs_types]\next3 = {\nfeatures = has_journal\n}\next4 = {\n"
    "features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize\n"
    "}\n",
}


def build_root(tools: Tools, tree: Path, release: str) -> None:
    """Fill `tree` with the guest's root file system, without its boot files."""
    for folder in ("bin", "lib", "lib64"):
        (tree / "usr" / folder).mkdir(parents=True)
        (tree / folder).symlink_to(f"usr/{folder}")
    (tree / "sbin").symlink_to("usr/bin")
    (tree / "usr" / "sbin").symlink_to("bin")
    for folder in _FOLDERS.split():
        (tree / folder).mkdir(parents=True, exist_ok=True)
    (tree / "var" / "run").symlink_to("../run")
    (tree / "var" / "tmp").symlink_to("../tmp")
    _add_busybox(tools, tree)
    _add_programs(tools.system, tree)
    for name, target in _OWN_SCRIPTS.items():
        _put(SCRIPTS / name, tree / target, 0o755)
    for name, text in {**_CONFIG, "etc/gureum-release": f"{release}\n"}.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
    power = tree / "etc" / "acpi" / "PWRF" / "00000080"
    power.write_text("#!/bin/sh\n/sbin/poweroff\n")
    _set_modes(tree, power)
    copy_modules(tools.system, tree, MODULES, tools)


def build_initramfs_tree(tools: Tools, tree: Path) -> None:
    """Fill `tree` with the initramfs: busybox, disk drivers and our init."""
    for folder in ("bin", "dev", "proc", "sys", "root", "usr/lib", "usr/lib64"):
        (tree / folder).mkdir(parents=True)
    (tree / "lib").symlink_to("usr/lib")
    (tree / "lib64").symlink_to("usr/lib64")
    # The kernel asks /sbin/modprobe for what a module wants at run time.
    (tree / "sbin").symlink_to("bin")
    _add_program(tools.system, tree, "/bin/busybox", tree / "bin" / "busybox")
    for name in _EARLY_APPLETS.split():
        (tree / "bin" / name).symlink_to("busybox")
    _put(SCRIPTS / "init.sh", tree / "init", 0o755)
    copy_modules(tools.system, tree, DISK_MODULES, tools)


def kernel_file(system: Path) -> Path:
    """Return the kernel of the unpacked packages."""
    return locate(system, f"/boot/vmlinuz-{kernel_version(system)}")


def _add_busybox(tools: Tools, tree: Path) -> None:
    folder = tree / "usr" / "bin"
    _add_program(tools.system, tree, "/bin/busybox", folder / "busybox")
    for name in tools.applets():
        if name not in _UNUSED_APPLETS:
            (folder / name).symlink_to("busybox")


def _add_programs(system: Path, tree: Path) -> None:
    folder = tree / "usr" / "bin"
    for name in _PROGRAMS:
        _add_program(system, tree, name, folder / Path(name).name)
    # socat under the name that our nc script starts it by.
    _add_program(system, tree, "/usr/bin/socat", tree / "usr/lib/gureum/nc")
    pam = "lib/x86_64-linux-gnu/security/pam_permit.so"
    _add_program(system, tree, pam, tree / "usr" / pam)
    for name in ("sudoers.so", "libsudo_util.so.0"):
        for home in ("usr/libexec/sudo", "usr/lib/sudo"):
            if (system / home / name).exists():
                _add_program(system, tree, f"{home}/{name}", tree / home / name)
    for name, target in _LINKS.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)


def _add_program(system: Path, tree: Path, name: str, target: Path) -> None:
    """Copy a program or plug-in with the libraries it needs, in place of any applet."""
    source = locate(system, name).resolve()
    target.unlink(missing_ok=True)
    _put(source, target, 0o755)
    loader = tree / "usr/lib64/ld-linux-x86-64.so.2"
    if not loader.exists():
        _put(locate(system, f"/lib/x86_64-linux-gnu/{loader.name}").resolve(), loader, 0o755)
    _add_libraries(system, tree, source)


def _add_libraries(system: Path, tree: Path, program: Path) -> None:
    for name in needed_libraries(program):
        target = tree / "usr/lib/x86_64-linux-gnu" / name
        if target.exists() or name.startswith("libsudo_util"):
            continue
        source = locate(system, f"/lib/x86_64-linux-gnu/{name}").resolve()
        _put(source, target, 0o644)
        _add_libraries(system, tree, source)


def _put(source: Path, target: Path, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _set_modes(tree: Path, power: Path) -> None:
    power.chmod(0o755)
    (tree / "etc" / "shadow").chmod(0o600)
    (tree / "etc" / "sudoers").chmod(0o440)
    (tree / "tmp").chmod(0o1777)
    (tree / "root").chmod(0o700)
    for name in _SETUID:
        path = tree / "usr" / "bin" / name
        if not path.is_symlink():
            path.chmod(0o4755)

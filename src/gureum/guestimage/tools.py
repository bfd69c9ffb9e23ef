"""Programs of the downloaded packages that the build itself runs.

Owns: starting them with the loader and libraries of the same packages, so that nothing has to be
installed. Must not: run anything that is meant for the guest.
"""

from dataclasses import dataclass
from pathlib import Path

from gureum.core.runner import Completed, Runner
from gureum.guestimage.packages import locate

_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Tools:
    """The unpacked packages as a tool box."""

    runner: Runner
    system: Path

    def run(self, program: str, *args: str, name: str = "") -> Completed:
        """Run a program of the packages; `name` is what it believes to be called."""
        libraries = ":".join(
            str(self.system / folder / "x86_64-linux-gnu") for folder in ("lib", "usr/lib")
        )
        loader = locate(self.system, "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
        path = locate(self.system, program)
        return self.runner.run(
            [
                str(loader),
                "--library-path",
                libraries,
                "--argv0",
                name or path.name,
                str(path),
                *args,
            ],
            timeout_s=_TIMEOUT_S,
        )

    def depmod(self, tree: Path, version: str) -> None:
        """Write the module indexes below `tree`."""
        self.run("/bin/kmod", "-b", str(tree), version, name="depmod")

    def grub_image(self, config: Path, output: Path) -> None:
        """Write GRUB's core image, with the boot commands inside it."""
        self.run(
            "/usr/bin/grub-mkimage",
            "--format=i386-pc",
            f"--directory={locate(self.system, '/usr/lib/grub/i386-pc')}",
            "--prefix=(hd0,msdos1)/boot",
            f"--config={config}",
            f"--output={output}",
            *("biosdisk", "part_msdos", "ext2", "linux", "boot"),
        )

    def grub_boot_sector(self) -> bytes:
        """Return GRUB's master boot record, without a partition table."""
        return locate(self.system, "/usr/lib/grub/i386-pc/boot.img").read_bytes()

    def applets(self) -> tuple[str, ...]:
        """Return the names that busybox answers to."""
        path = locate(self.system, "/bin/busybox")
        done = self.runner.run([str(path), "--list"], timeout_s=_TIMEOUT_S)
        return tuple(done.stdout.split())

"""The cloud under test on this machine, and the tools of the person at its keyboard.

Owns: bringing the cloud up through the launcher, the unmodified `openstack` command, ssh from the outside
namespace, looking at what is left on the machine. With GUREUM_REAL_ARGS (for example "--state-dir /tmp/x
--name x --port-offset 20000") the cloud stands beside the machine's own.
"""

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gureum.cli import place as places
from gureum.core.config import CloudOptions
from gureum.pages.pages import clone
from gureum.provision import client
from gureum.provision.network import Outside
from gureum.provision.options import InstallOptions
from gureum.testing.ports import free_offset

SSH_OPTIONS = (
    "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
    "-o", "ConnectTimeout=5", "-o", "BatchMode=yes",
)  # fmt: skip


class Failed(AssertionError):
    """A command of the lab ended with an error."""


def run(
    *words: str, timeout_s: float = 300, check: bool = True, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command; its output is in the error when it fails."""
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=timeout_s, check=False,
        stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})},
    )  # fmt: skip
    if check and done.returncode != 0:
        raise Failed(f"{shlex.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def wait_for(
    what: str, probe: Callable[[], Any], seconds: float = 120, every_s: float = 1.0
) -> Any:
    """Probe until it answers something true. Raises: Failed with the last answer or error."""
    deadline = time.monotonic() + seconds
    last: Any = None
    while time.monotonic() < deadline:
        try:
            last = probe()
            if last:
                return last
        except Failed as error:
            last = error
        time.sleep(every_s)
    raise Failed(f"{what}: not within {seconds:.0f} s; last: {last}")


def launcher() -> str:
    """The program at the top of the clone."""
    top = clone()
    plain = top / "gureum"
    return str(plain if plain.is_file() else top / "gureum.sh")


@dataclass
class Lab:
    """One cloud and its administrator."""

    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def gureum(self, command: str, *words: str, timeout_s: float = 1500, check: bool = True) -> str:
        """Run a command of the launcher for this cloud; returns what it printed."""
        where = (
            ["--state-dir", self.arguments[self.arguments.index("--state-dir") + 1]]
            if ("--state-dir" in self.arguments)
            else []
        )
        more = self.arguments if command == "up" else where
        done = run(launcher(), command, *words, *more, timeout_s=timeout_s, check=check)
        return done.stdout + done.stderr

    @property
    def place(self) -> places.Place:
        """Where the cloud lives."""
        if "--state-dir" in self.arguments:
            return places.under(self.arguments[self.arguments.index("--state-dir") + 1])
        return places.production()

    @property
    def outside(self) -> Outside:
        """The outside namespace."""
        return Outside.named(places.read_config(self.place).get(InstallOptions).name)

    @property
    def options(self) -> CloudOptions:
        """The cloud's settings."""
        return places.read_config(self.place).get(CloudOptions)

    def load_environment(self) -> None:
        """Take the credentials as `eval "$(./gureum openrc)"` would."""
        text = self.gureum("openrc")
        for line in text.splitlines():
            if line.startswith("export OS_"):
                key, _, value = line.removeprefix("export ").partition("=")
                self.environment[key] = value.strip("'")

    def openstack(self, *words: str, as_json: bool = True, timeout_s: float = 400) -> Any:
        """Run the unmodified client; returns its decoded answer."""
        there = client.find()
        assert there is not None, "up installs the openstack client"
        tail = ["-f", "json"] if as_json else []
        done = run(str(there), *words, *tail, timeout_s=timeout_s, env=self.environment)
        if not as_json:
            return done.stdout
        return json.loads(done.stdout) if done.stdout.strip() else None

    def outside_run(self, *words: str, check: bool = True, timeout_s: float = 30) -> str:
        """Run a command in the namespace that stands for the outside world."""
        inside = ("ip", "netns", "exec", self.outside.namespace)
        return run(*inside, *words, check=check, timeout_s=timeout_s).stdout

    def ssh(self, key: Path, address: str, command: str, *, timeout_s: float = 40) -> str:
        """Run a command in a guest, from the outside."""
        words = ("ssh", *SSH_OPTIONS, "-i", str(key), f"gureum@{address}", command)
        return self.outside_run(*words, timeout_s=timeout_s).strip()

    def outside_reaches(self, address: str, port: int) -> bool:
        """Whether a TCP connection from the outside opens within three seconds."""
        script = f"exec 3<>/dev/tcp/{address}/{port}"
        words = ("timeout", "3", "bash", "-c", script)
        inside = ("ip", "netns", "exec", self.outside.namespace)
        return run(*inside, *words, check=False).returncode == 0


def lines(*words: str) -> list[str]:
    """The non-empty lines a command prints."""
    return [line for line in run(*words).stdout.splitlines() if line.strip()]


@contextlib.contextmanager
def beside(name: str, *words: str) -> Iterator[Lab]:
    """Run with a cloud of a test's own, beside the machine's; it is purged afterwards.

    With GUREUM_TEST_GUEST_CACHE the guest image is built once for all of them.
    """
    base = Path(tempfile.mkdtemp(prefix=f"gureum-{name[:4]}-"))
    os.chmod(base, 0o711)  # processes with users of their own pass through
    lab = Lab(
        [
            "--state-dir",
            str(base / "c"),
            "--name",
            name,
            "--port-offset",
            str(free_offset()),
            *words,
        ]
    )
    kept = os.environ.get("GUREUM_TEST_GUEST_CACHE")
    image = Path("guest-image") / "gureum-guest.qcow2"
    try:
        if kept and (Path(kept) / image.name).exists():
            (base / "c" / image.parent).mkdir(mode=0o755, parents=True)
            shutil.copy(Path(kept) / image.name, base / "c" / image)
        lab.gureum("up")
        lab.load_environment()
        yield lab
    finally:
        lab.gureum("down", "--purge", "--yes", "--keep-packages", check=False)
        shutil.rmtree(base, ignore_errors=True)

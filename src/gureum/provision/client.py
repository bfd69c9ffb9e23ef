"""The unmodified `openstack` command for the person at the keyboard.

Owns: finding it, or installing it into an environment of its own beside this one. Must not: shadow a
command that is there.
"""

import shutil
import sys
from pathlib import Path

from gureum.core.runner import CommandError, Runner
from gureum.provision.steps import Progress

PACKAGE = "python-openstackclient"


def own_environment() -> Path:
    """The environment of the client: its dependencies are none of ours."""
    return Path(sys.prefix + "-client")


def find() -> Path | None:
    """Where `openstack` is; None when it is not on this machine."""
    on_path = shutil.which("openstack")
    if on_path:
        return Path(on_path)
    for prefix in (own_environment(), Path(sys.prefix)):
        if (prefix / "bin" / "openstack").exists():
            return prefix / "bin" / "openstack"
    return None


def provide(runner: Runner, progress: Progress) -> str:
    """Install the client if there is none. A failure is told, and not one of the cloud."""
    there = find()
    if there is not None:
        return str(there)
    home = own_environment()
    try:
        progress.at("making an environment for the openstack client")
        runner.run([sys.executable, "-m", "venv", str(home)], timeout_s=120)
        progress.at("installing the openstack client")
        runner.run(
            [str(home / "bin" / "python"), "-m", "pip", "install", "-q",
             "--disable-pip-version-check", PACKAGE],
            timeout_s=900,
        )  # fmt: skip
    except CommandError:
        shutil.rmtree(home, ignore_errors=True)
        return f"not installed; try: pip install {PACKAGE}"
    return str(home / "bin" / "openstack")

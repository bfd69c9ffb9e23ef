"""Taking a cloud off a machine again: what the ledger names, and what the cloud made at run time.

Owns: the order (guests, namespaces, switch, folders, daemons, packages, user). Must not: touch what neither
the ledger nor a name of this cloud's own making shows to be ours.
"""

import contextlib
import os
import pwd
import shutil
from pathlib import Path

from gureum.cli.place import Place
from gureum.core.runner import CommandError, Runner
from gureum.provision import client, host, network, packages, settings
from gureum.provision.ledger import Ledger
from gureum.provision.network import Outside
from gureum.provision.steps import Progress, Step, StepFailed


def forget_state(place: Place) -> None:
    """Remove every database, image and secret of a cloud that is not running."""
    for folder in (place.state_dir, place.config_dir, place.log_dir, place.run_dir):
        if folder.is_dir():
            for entry in folder.iterdir():
                if entry.name == "up.lock" or entry in (
                    place.config_dir, place.log_dir, place.run_dir,
                ):  # fmt: skip
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)


class Purge:
    """One purge. Each step tolerates that its work is done already."""

    def __init__(
        self, place: Place, outside: Outside, *, keep_packages: bool, simulated: bool
    ) -> None:
        self.place = place
        self.outside = outside
        self.keep_packages = keep_packages
        self.simulated = simulated
        self.runner = Runner()
        self.ledger = Ledger(place.config_dir / "ledger.json")

    def steps(self) -> list[Step["Purge"]]:
        """In the order in which things hang on each other."""
        files = [Step("files", Purge.files), Step("folders", Purge.folders)]
        if self.simulated:
            return files
        return [
            Step("guests", Purge.guests),
            Step("namespaces", Purge.namespaces),
            Step("switch", Purge.switch),
            Step("daemons", Purge.daemons),
            Step("packages", Purge.packages),
            *files,
            Step("user", Purge.user),
        ]

    def guests(self, progress: Progress) -> str:
        """Destroy the domains whose disks or metadata are this cloud's."""
        if not host.libvirt_answers(self.runner):
            return "libvirt does not run"
        virsh = ["virsh", "-c", host.LIBVIRT_URI]
        names = self.runner.run([*virsh, "list", "--all", "--name"], timeout_s=60).stdout.split()
        gone = 0
        for name in names:
            xml = self.runner.run([*virsh, "dumpxml", name], timeout_s=30, check=False).stdout
            if str(self.place.state_dir) + "/" not in xml:
                continue
            self.runner.run([*virsh, "destroy", name], timeout_s=60, check=False)
            self.runner.run(
                [*virsh, "undefine", name, "--managed-save", "--nvram"], timeout_s=60, check=False
            )
            gone += 1
        return f"{gone} removed"

    def namespaces(self, progress: Progress) -> str:
        """Remove routers, DHCP servers, the outside; with the daemons in them."""
        listed = self.runner.run(["ip", "netns", "list"], timeout_s=20, check=False).stdout
        # The agents keep a folder for each; another cloud's namespaces are none of our business.
        ids = {
            entry.name
            for kind in ("l3", "dhcp")
            if (self.place.state_dir / kind).is_dir()
            for entry in (self.place.state_dir / kind).iterdir()
        }
        names = [
            name
            for name in (line.split()[0] for line in listed.splitlines() if line.strip())
            if name in self.ledger.entries.namespaces or name.partition("-")[2] in ids
        ]
        for name in names:
            network.remove_namespace(self.runner, name)
        for device in list(self.ledger.entries.devices):
            network.remove_device(self.runner, device)
        return f"{len(names)} removed"

    def switch(self, progress: Progress) -> str:
        """Remove the bridges, and with them every port and flow."""
        if not host.switch_answers(self.runner):
            return "Open vSwitch does not run"
        bridges = {*self.ledger.entries.bridges, self.outside.integration_bridge}
        for bridge in sorted(bridges):
            network.remove_bridge(self.runner, bridge)
        return f"bridges {', '.join(sorted(bridges))} removed"

    def daemons(self, progress: Progress) -> str:
        """Stop what `up` started, unless another cloud of this machine works with it."""
        names = list(reversed(self.ledger.entries.daemons))
        if names and self._others():
            return f"kept: {', '.join(self._others())} of another cloud"
        for name in names:
            host.stop_daemon(self.runner, name)
            self.ledger.forget("daemons", name)
        return f"stopped {', '.join(names)}" if names else "none of ours"

    def _others(self) -> list[str]:
        """The integration bridges of other clouds; ours is gone by now."""
        if not host.switch_answers(self.runner):
            return []
        there = self.runner.run(["ovs-vsctl", "list-br"], timeout_s=20, check=False).stdout.split()
        default = Outside().integration_bridge
        ours = self.outside.integration_bridge
        return [name for name in there if name.endswith(default) and name != ours]

    def packages(self, progress: Progress) -> str:
        """Remove the packages that `up` installed, unless something else needs them by now."""
        names = list(self.ledger.entries.packages)
        if not names or self.keep_packages:
            return f"{len(names)} kept"
        if self._others():
            return f"{len(names)} kept: {', '.join(self._others())} of another cloud"
        others = packages.would_also_remove(self.runner, names)
        if others:
            return f"kept: {', '.join(sorted(others)[:5])} need them"
        progress.at(f"removing {len(names)}")
        try:
            packages.remove(self.runner, names)
        except CommandError as error:
            raise StepFailed("apt-get could not remove the packages", str(error)[-800:]) from error
        return f"{len(names)} removed"

    def files(self, progress: Progress) -> str:
        """Remove our entry of clouds.yaml and the client's environment; give modes back."""
        for note in self.ledger.entries.files:
            kind, _, rest = note.partition(":")
            if kind == "clouds.yaml":
                path, _, name = rest.rpartition(":")
                with contextlib.suppress(ValueError, OSError):
                    settings.merge_clouds_yaml(Path(path), name, None)
            elif kind == "mode":
                path, group, mode = rest.rsplit(":", 2)
                with contextlib.suppress(OSError):
                    os.chown(path, -1, int(group))
                    os.chmod(path, int(mode, 8))
        if self.outside == Outside() and not self.simulated:
            shutil.rmtree(client.own_environment(), ignore_errors=True)
        return "clouds.yaml and client"

    def folders(self, progress: Progress) -> str:
        """Remove every folder of the cloud."""
        place = self.place
        for folder in (place.run_dir, place.log_dir, place.state_dir, place.config_dir):
            shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():
                return f"{folder} is in use and stays"
        return f"{place.state_dir} and beside it"

    def user(self, progress: Progress) -> str:
        """Remove the user of the control process."""
        if host.USER not in self.ledger.entries.users:
            return "was there before"
        try:
            pwd.getpwnam(host.USER)
        except KeyError:
            return "is gone"
        self.runner.run(["userdel", host.USER], timeout_s=60, check=False)
        return f"{host.USER} removed"

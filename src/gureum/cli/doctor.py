"""`gureum doctor`: what is wrong on this machine, and the command that mends it."""

import argparse
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gureum.cli import place as places
from gureum.cli import status
from gureum.cli.place import Place, Unusable, explain
from gureum.core.config import CloudOptions, Config, ConfigError
from gureum.core.runner import CommandError, Runner
from gureum.provision import client, daemons, host, packages, supervisor
from gureum.provision.network import Outside
from gureum.provision.options import InstallOptions

AS_ROOT = "sudo ./gureum doctor"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was found; when it is not well, the command that mends it."""

    ok: bool
    text: str
    fix: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which cloud."""
    places.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print every finding; exit code 0 when all is well, else 3."""
    findings = examine(places.find(args))
    for finding in findings:
        print(f"{'ok  ' if finding.ok else 'BAD '} {finding.text}")
        if not finding.ok and finding.fix:
            print(f"     mend it with: {finding.fix}")
    bad = sum(1 for finding in findings if not finding.ok)
    print("\nAll is well." if not bad else f"\n{bad} of {len(findings)} checks are not well.")
    return 0 if not bad else 3


def examine(place: Place) -> list[Finding]:
    """Every check that makes sense here, in the order in which things build on each other."""
    runner = Runner()
    config, findings = _configuration(place)
    simulated = config.get(InstallOptions).simulated if config else False
    if config is None and place == places.simulated_default():
        simulated = True
    checks: list[Callable[[], list[Finding]]] = [lambda: [_python()], lambda: [_disk(place)]]
    if not simulated:
        checks += [
            lambda: [_root()],
            lambda: [_packages(runner)],
            lambda: [_libvirt(runner)],
            lambda: [_switch(runner)],
        ]
    if config is not None and config.get(InstallOptions).distributed:
        checks.append(lambda: [_servers(config.get(InstallOptions).database)])
    found = [finding for check in checks for finding in check()] + findings
    if config is not None:
        found += _processes(place, config)
        if not simulated:
            found.append(_outside(runner, place, config))
    found.append(_client())
    return found


def _python() -> Finding:
    return Finding(True, f"Python {platform.python_version()}")


def _disk(place: Place) -> Finding:
    there = place.state_dir
    while not there.exists():
        there = there.parent
    free_gib = shutil.disk_usage(there).free / 2**30
    text = f"{free_gib:.1f} GiB free for {place.state_dir}"
    return Finding(free_gib >= 1, text, f"make room on the disk of {there}: df -h {there}")


def _root() -> Finding:
    ok = os.geteuid() == 0
    return Finding(ok, "running as root" if ok else "not running as root", AS_ROOT)


def _packages(runner: Runner) -> Finding:
    try:
        missing = packages.missing(runner)
    except CommandError as error:
        return Finding(False, f"dpkg does not answer: {error}", "Gureum runs on Debian and Ubuntu")
    if missing:
        text = f"Debian packages missing: {', '.join(missing)}"
        return Finding(False, text, f"apt-get install --no-install-recommends {' '.join(missing)}")
    return Finding(True, f"all {len(packages.PACKAGES)} Debian packages are installed")


def _servers(kind: str) -> Finding:
    missing = daemons.missing(kind)
    if missing:
        text = f"Debian packages of the distributed form are missing: {', '.join(missing)}"
        return Finding(False, text, f"apt-get install --no-install-recommends {' '.join(missing)}")
    return Finding(True, f"{kind}, RabbitMQ and memcached are installed")


def _libvirt(runner: Runner) -> Finding:
    fix = "systemctl start libvirtd" if host.has_systemd() else "virtlogd -d; libvirtd -d"
    ok = host.libvirt_answers(runner)
    return Finding(ok, "libvirt answers" if ok else "libvirt does not answer", fix)


def _switch(runner: Runner) -> Finding:
    fix = (
        "systemctl start openvswitch-switch"
        if host.has_systemd()
        else "/usr/share/openvswitch/scripts/ovs-ctl --system-id=random --no-monitor start"
    )
    ok = host.switch_answers(runner)
    kind = f", {host.datapath_type(runner)} datapath" if ok else ""
    return Finding(ok, f"Open vSwitch {'answers' if ok else 'does not answer'}{kind}", fix)


def _configuration(place: Place) -> tuple[Config | None, list[Finding]]:
    up = places.command(place, "up", simulated=place == places.simulated_default())
    try:
        if not place.exists():
            return None, [Finding(False, f"there is no cloud in {place.state_dir}", up)]
        config = places.read_config(place)
    except ConfigError as error:
        return None, [Finding(False, explain(error), f"edit {place.config_file}")]
    except (Unusable, PermissionError) as error:
        return None, [Finding(False, str(error), AS_ROOT)]
    fix = f"chmod 640 {place.config_file}; chmod 600 {place.secrets_file}"
    warned = [Finding(False, text, fix) for text in config.warnings]
    return config, [Finding(True, f"{place.config_file} is fine"), *warned]


def _processes(place: Place, config: Config) -> list[Finding]:
    found: list[Finding] = []
    simulated = config.get(InstallOptions).simulated

    def logs(name: str) -> str:
        return places.command(place, "logs", name, simulated=simulated)

    running = supervisor.read_status(place.run_dir)
    if running is None:
        up = places.command(place, "up", simulated=simulated)
        return [Finding(False, "the cloud is not running", up)]
    for child in running.children:
        ok = child.state in ("running", "done")
        text = f"process {child.name}: {child.state}"
        if child.restarts:
            text += f", restarted {child.restarts} times, last it {child.last_exit}"
        found.append(Finding(ok, text, logs(child.name)))
    seen = status.look(place, config)
    for api in seen["apis"]:
        text = f"{api['name']} at {api['address']}: " + ("ready" if api["ready"] else api["text"])
        found.append(Finding(api["ready"], text, logs(api['name'])))
    for name, text in seen["unwell"].items():
        found.append(Finding(False, f"{name}: {text}", logs(name)))
    for agent in seen["agents"]:
        text = f"{agent['name']} on {agent['host']}: {'up' if agent['up'] else 'down'}"
        found.append(Finding(agent["up"], text, logs(agent['name'])))
    return found


def _outside(runner: Runner, place: Place, config: Config) -> Finding:
    outside = Outside.named(config.get(InstallOptions).name)
    words = ["ip", "netns", "exec", outside.namespace, "ip", "-o", "address", "show"]
    try:
        done = runner.run([*words, outside.peer], timeout_s=20, check=False)
    except CommandError:
        done = None
    ok = done is not None and outside.gateway in done.stdout
    state = "is there" if ok else "is missing"
    address = config.get(CloudOptions).address
    text = f"the namespace {outside.namespace} at {outside.gateway} {state} (APIs at {address})"
    return Finding(ok, text, places.command(place, "up"))


def _client() -> Finding:
    there: Path | None = client.find()
    if there is None:
        return Finding(False, "the openstack client is missing", f"pip install {client.PACKAGE}")
    return Finding(True, f"the openstack client is {there}")

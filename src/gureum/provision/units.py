"""systemd units for machines that run Gureum's components under systemd instead of `gureum up`.

Owns: their text. Must not: install or start them; the operator copies them where his tools put units.
Follows: systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.kill(5), sd_notify(3).
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gureum import components
from gureum.cli import process
from gureum.cli.place import Place
from gureum.core.runner import CommandFailed, Runner

TARGET = "gureum.target"
BOOTSTRAP = "gureum-bootstrap.service"

# What control components need of the kernel is files, sockets and threads.
_HARD = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": "read-only",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "LockPersonality": "yes",
    "SystemCallArchitectures": "native",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are on the machine that the units are for."""

    place: Place
    python: str
    user: str = "gureum"
    processes: int = 1


def units(layout: Layout, wanted: Sequence[str]) -> dict[str, str]:
    """File name -> text for components by name, the migrations before them, and one target for all."""
    files: dict[str, str] = {}
    started: list[str] = []
    control = [name for name in wanted if name in components.names(components.CONTROL)]
    if control:
        files[BOOTSTRAP] = _bootstrap(layout)
        started.append(BOOTSTRAP)
    for name in wanted:
        ours = name in control
        if process.multiplied(name):
            files[f"gureum-{name}@.service"] = _component(layout, name, ours, template=True)
            numbers = range(1, layout.processes + 1)
            started += [f"gureum-{name}@{number}.service" for number in numbers]
        else:
            files[f"gureum-{name}.service"] = _component(layout, name, ours, template=False)
            started.append(f"gureum-{name}.service")
    unit = {"Description": "Gureum", "Wants": " ".join(started)}
    files[TARGET] = _text({"Unit": unit, "Install": {"WantedBy": "multi-user.target"}})
    return files


def _command(layout: Layout, *words: str) -> str:
    where = () if layout.place.is_production else ("--state-dir", str(layout.place.state_dir))
    return " ".join([layout.python, "-m", "gureum", *words, *where])


def _bootstrap(layout: Layout) -> str:
    return _text(
        {
            "Unit": {
                "Description": "Gureum: databases brought up to date",
                "After": "network-online.target",
                "Wants": "network-online.target",
            },
            "Service": {
                "Type": "oneshot",
                "RemainAfterExit": "yes",
                "ExecStart": _command(layout, "db", "bootstrap"),
                "Restart": "on-failure",
                "RestartSec": "2",
                **_as_user(layout),
                **_HARD,
            },
        }
    )


def _component(layout: Layout, name: str, ours: bool, *, template: bool) -> str:
    entry = components.COMPONENTS[name]
    words = ["run", name, "--process-name", f"{name}-%i" if template else name]
    if template:
        words.append("--share-ports")
    after = ["network-online.target"]
    unit = {"Description": f"Gureum {name}{' %i' if template else ''}: {entry.text}"}
    if ours:
        after.append(BOOTSTRAP)
        unit["Requires"] = BOOTSTRAP
    elif name == "nova-compute":
        after += ["libvirtd.service", "openvswitch-switch.service"]
    elif name == "neutron-openvswitch-agent":
        after.append("openvswitch-switch.service")
    unit |= {"After": " ".join(after), "Wants": "network-online.target", "PartOf": TARGET}
    service = {
        "Type": "notify",
        "ExecStart": _command(layout, *words),
        "Restart": "always",
        "RestartSec": "1",
        "TimeoutStartSec": "120",
        "TimeoutStopSec": "30",
        "Environment": "MALLOC_ARENA_MAX=2",
        "LimitNOFILE": "65536",
    }
    if ours:
        service |= {**_as_user(layout), **_HARD}
    else:
        # Guests, dnsmasq, haproxy and radvd are not ended with the agent that started them.
        service |= {"KillMode": "process", "UMask": "0027", "Delegate": "yes"}
        service |= {"RuntimeDirectory": "gureum", "RuntimeDirectoryPreserve": "yes"}
    return _text({"Unit": unit, "Service": service, "Install": {"WantedBy": TARGET}})


def _as_user(layout: Layout) -> dict[str, str]:
    place = layout.place
    given = {
        "User": layout.user,
        "Group": layout.user,
        "UMask": "0027",
        "ReadWritePaths": f"{place.state_dir} -{place.log_dir} -{place.run_dir}",
    }
    if place.is_production:
        given |= {
            "RuntimeDirectory": "gureum",
            "RuntimeDirectoryMode": "0711",
            "RuntimeDirectoryPreserve": "yes",
        }
    return given


def _text(sections: Mapping[str, Mapping[str, str]]) -> str:
    lines = ["# Made by `gureum systemd units`; changes belong into a drop-in (systemctl edit)."]
    for section, values in sections.items():
        lines += ["", f"[{section}]", *(f"{key}={value}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def verify(runner: Runner, folder: Path, names: Sequence[str]) -> tuple[bool | None, str]:
    """What systemd-analyze says of units: whether they are good (None: it is not here), and its words."""
    program = shutil.which("systemd-analyze")
    if program is None:
        return None, "systemd-analyze is not here; the units were not checked"
    paths = [str(folder / name.replace("@.", "@1.")) for name in names]
    for name, path in zip(names, paths, strict=True):
        if "@." in name:  # it checks instances, not templates
            Path(path).unlink(missing_ok=True)
            Path(path).symlink_to(name)
    env = {"SYSTEMD_UNIT_PATH": f"{folder}:"}
    try:
        done = runner.run(
            [program, "verify", "--recursive-errors=no", "--man=no", *paths], timeout_s=60, env=env
        )
        said = done.stderr
    except CommandFailed as error:
        return False, error.done.stderr.strip() or str(error)
    finally:
        for path in paths:
            if Path(path).is_symlink():
                Path(path).unlink()
    # Its exit code is 0 for some mistakes, such as an unknown key.
    bad = [line for line in said.splitlines() if str(folder) in line]
    return not bad, "\n".join(bad)

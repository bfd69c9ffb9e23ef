"""systemd units: what stands in them, and that systemd itself finds them right."""

import configparser
import shutil
import socket
import sys

import pytest

from gureum import components
from gureum.__main__ import main
from gureum.cli import place as places
from gureum.cli.run import _notify
from gureum.core.runner import Runner
from gureum.provision import units


@pytest.fixture
def made(tmp_path, capsys):
    out = tmp_path / "units"
    words = ["systemd", "units", "--out", str(out), "--processes", "2", "--python", sys.executable]
    assert main([*words, "--state-dir", str(tmp_path / "none")]) == 0
    capsys.readouterr()
    return out


def read(path):
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str
    parser.read_string(path.read_text())
    return parser


def test_every_component_has_a_unit_and_the_target_starts_them(made):
    wanted = [*components.names(components.CONTROL), *components.names(components.NODE)]
    files = {path.name for path in made.iterdir()}
    for name in wanted:
        assert {f"gureum-{name}.service", f"gureum-{name}@.service"} & files, name
    starts = read(made / "gureum.target")["Unit"]["Wants"].split()
    assert "gureum-nova-api@1.service" in starts and "gureum-nova-api@2.service" in starts
    assert "gureum-nova-compute.service" in starts and "gureum-bootstrap.service" in starts
    assert not any(path.is_symlink() for path in made.iterdir())


def test_control_is_unprivileged_and_node_leaves_guests_alone(made):
    control, node = read(made / "gureum-nova-api@.service"), read(made / "gureum-nova-compute.service")
    service = control["Service"]
    assert service["User"] == "gureum" and service["NoNewPrivileges"] == "yes"
    assert service["CapabilityBoundingSet"] == "" and service["ProtectSystem"] == "strict"
    assert "--process-name nova-api-%i --share-ports" in service["ExecStart"]
    assert "gureum-bootstrap.service" in control["Unit"]["After"].split()
    assert "User" not in node["Service"] and node["Service"]["KillMode"] == "process"
    for unit in (control, node):
        assert unit["Service"]["Restart"] == "always" and unit["Service"]["Type"] == "notify"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")
def test_systemd_finds_nothing_wrong_but_what_is(made):
    names = [path.name for path in made.glob("*.service")]
    assert units.verify(Runner(), made, names) == (True, "")
    for name, wrong in (
        ("gureum-nova-api@.service", "NoNewPriviliges=yes"),
        ("gureum-nova-compute.service", "Restart=sometimes"),
    ):
        path = made / name
        good = path.read_text()
        path.write_text(good.replace("[Service]", f"[Service]\n{wrong}"))
        found, said = units.verify(Runner(), made, [name])
        assert found is False and name.replace("@", "@1") in said.replace("@.", "@1.")
        path.write_text(good)


def test_units_for_a_bus_inside_one_process_are_refused(tmp_path, capsys):
    place = places.under(tmp_path)
    place.config_dir.mkdir()
    place.config_file.write_text('[bus]\ntransport_url = "local:///x/bus.sock"\n')
    words = ["systemd", "units", "--out", str(tmp_path / "u"), "--state-dir", str(tmp_path)]
    assert main(words) == 1
    assert "need\nRabbitMQ" in capsys.readouterr().err


def test_systemd_is_told_when_a_process_is_ready(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        _notify("READY=1")
        assert line.recv(64) == b"READY=1"
    _notify("READY=1")  # nobody listens: not our trouble

"""What messages tell to type works as it stands: for this cloud, with the rights that it needs."""

import os

import pytest

from gureum.cli import place as places


@pytest.fixture(autouse=True)
def at_home(tmp_path, monkeypatch):
    for name in ("GUREUM_STATE_DIR", "SUDO_UID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GUREUM_LAUNCHER", "/somewhere/gureum")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    machine = places.under(tmp_path / "machine")
    monkeypatch.setattr(places, "production", lambda: machine)
    return machine


def test_machines_own_cloud_needs_no_folder(at_home):
    assert places.command(at_home, "up") == "./gureum up"
    assert places.command(at_home, "logs", "nova-api") == "./gureum logs nova-api"


def test_cloud_in_a_folder_is_named(tmp_path):
    there = places.under(tmp_path / "other")
    assert places.command(there, "down", "--purge") == (
        f"./gureum down --state-dir {tmp_path}/other --purge"
    )


def test_simulated_cloud_is_started_as_one(at_home):
    mine = places.simulated_default()
    mine.config_dir.mkdir(parents=True)
    mine.config_file.touch()
    assert places.command(mine, "up", simulated=True) == "./gureum up --simulated"
    assert places.command(mine, "logs", simulated=True) == "./gureum logs"
    at_home.config_dir.mkdir(parents=True)  # now the machine has one of its own too
    assert places.command(mine, "logs", simulated=True) == (
        f"./gureum logs --state-dir {mine.state_dir}"
    )


def test_command_behind_sudo_has_sudo(at_home, monkeypatch):
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert places.command(at_home, "openrc") == "sudo ./gureum openrc"
    assert "sudo" not in places.command(at_home, "openrc", simulated=True)


def test_folder_of_the_environment_is_named_too(tmp_path, monkeypatch):
    monkeypatch.setenv("GUREUM_STATE_DIR", str(tmp_path / "env"))
    there = places.under(tmp_path / "env")
    assert places.command(there, "status") == f"./gureum status --state-dir {tmp_path}/env"

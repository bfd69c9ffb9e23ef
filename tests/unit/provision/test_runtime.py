"""Which program the control user runs, and what makes a cloud restart."""

import os
import pwd
from pathlib import Path

import pytest

from gureum.provision import host, runtime
from gureum.provision.ledger import Ledger


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "clone" / "gureum").mkdir(parents=True)
    (tmp_path / "clone" / "gureum" / "a.py").write_text("A = 1\n")
    (tmp_path / "site").mkdir()
    return tmp_path / "clone"


def test_folder_closed_above_is_not_readable_for_another_user(tmp_path, source):
    for folder in tmp_path.parents:
        if not folder.stat().st_mode & 0o001:
            pytest.skip(f"{folder} is closed to others on this machine")
    os.chmod(tmp_path, 0o755)
    assert runtime.readable_by("nobody", source / "gureum")
    os.chmod(source, 0o700)
    if source.stat().st_uid == pwd.getpwnam("nobody").pw_uid:
        pytest.skip("run as nobody")
    assert not runtime.readable_by("nobody", source / "gureum")


def test_stamp_changes_with_program_packages_and_settings(tmp_path, source):
    settings = tmp_path / "gureum.toml"
    settings.write_text("")
    seen = [runtime.stamp(source, tmp_path / "site", settings)]
    assert runtime.stamp(source, tmp_path / "site", settings) == seen[0]
    settings.write_text("[gureum]\n")
    seen.append(runtime.stamp(source, tmp_path / "site", settings))
    (source / "gureum" / "b.py").write_text("")
    seen.append(runtime.stamp(source, tmp_path / "site", settings))
    (tmp_path / "site" / "package-1.0.dist-info").mkdir()
    seen.append(runtime.stamp(source, tmp_path / "site", settings))
    assert len(set(seen)) == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give devices away")
def test_kvm_device_of_root_alone_is_given_to_its_group_and_noted(tmp_path):
    device = tmp_path / "kvm"
    device.write_text("")
    os.chmod(device, 0o600)
    ledger = Ledger(tmp_path / "ledger.json")
    host.open_kvm(ledger, device)
    try:
        import grp

        group = grp.getgrnam("kvm").gr_gid
    except KeyError:
        pytest.skip("there is no group kvm")
    assert (device.stat().st_gid, device.stat().st_mode & 0o777) == (group, 0o660)
    assert ledger.entries.files == [f"mode:{device}:0:600"]
    host.open_kvm(ledger, device)
    assert len(ledger.entries.files) == 1

"""Which program the control user runs, and what makes a cloud restart."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gureum.provision import host, runtime
from gureum.provision.ledger import Ledger


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may enter; pytest's own are closed."""
    with tempfile.TemporaryDirectory() as made:
        os.chmod(made, 0o755)
        (Path(made) / "site").mkdir()
        yield Path(made)


@pytest.fixture
def source(folder: Path) -> Path:
    (folder / "clone" / "gureum").mkdir(parents=True)
    (folder / "clone" / "gureum" / "a.py").write_text("A = 1\n")
    return folder / "clone"


def test_folder_closed_above_is_not_readable_for_another_user(source):
    assert runtime.readable_by("nobody", source / "gureum")
    os.chmod(source, 0o700)
    assert not runtime.readable_by("nobody", source / "gureum")


def test_stamp_changes_with_program_packages_and_settings(folder, source):
    settings = folder / "gureum.toml"
    settings.write_text("")
    seen = [runtime.stamp(source, folder / "site", settings)]
    assert runtime.stamp(source, folder / "site", settings) == seen[0]
    settings.write_text("[gureum]\n")
    seen.append(runtime.stamp(source, folder / "site", settings))
    (source / "gureum" / "b.py").write_text("")
    seen.append(runtime.stamp(source, folder / "site", settings))
    (folder / "site" / "package-1.0.dist-info").mkdir()
    seen.append(runtime.stamp(source, folder / "site", settings))
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

"""The command line as its user sees it: through `python -m gureum`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gureum.cli.logfile import LogFile


def gureum(*words: str, state_dir: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ}
    env.pop("GUREUM_STATE_DIR", None)
    if state_dir is not None:
        env["GUREUM_STATE_DIR"] = str(state_dir)
    return subprocess.run(
        [sys.executable, "-m", "gureum", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env=env,
        check=False,
    )


def test_version_is_one_line():
    done = gureum("version")
    assert done.returncode == 0
    assert done.stdout.startswith("gureum 0.")


def test_help_names_every_command():
    done = gureum("--help")
    for name in ("up", "down", "status", "logs", "doctor", "openrc"):
        assert f"    {name} " in done.stdout


def test_unknown_command_is_code_2():
    assert gureum("flie").returncode == 2


def test_status_without_a_cloud_says_how_to_make_one(tmp_path):
    done = gureum("config", "show", state_dir=tmp_path)
    assert done.returncode == 1
    assert "./gureum up --simulated" in done.stderr


def test_config_check_tells_every_problem_with_its_line(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/gureum.toml").write_text("[gureum]\nport_ofset = 3\nregion = 4\n")
    done = gureum("config", "check", state_dir=tmp_path)
    assert done.returncode == 1
    assert "2 problems" in done.stderr
    assert "gureum.toml:2: gureum.port_ofset" in done.stderr
    assert "did you mean port_offset?" in done.stderr


def test_config_sample_passes_its_own_check(tmp_path):
    (tmp_path / "sample.toml").write_text(gureum("config", "sample").stdout)
    done = gureum("config", "check", str(tmp_path / "sample.toml"))
    assert (done.returncode, done.stderr) == (0, "")


def test_run_of_an_unknown_component_lists_the_known(tmp_path):
    done = gureum("run", "nova-apy", state_dir=tmp_path)
    assert done.returncode == 1
    assert "no component is called nova-apy" in done.stderr


@pytest.mark.parametrize("keep", [1, 3])
def test_log_file_is_rotated_when_full(tmp_path, keep):
    stream = LogFile(tmp_path / "a.log", max_bytes=100, keep=keep)
    for number in range(40):
        stream.write(f"line {number:02} of the log\n")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a.log", *(f"a.log.{n}" for n in range(1, keep + 1))]
    assert "line 39" in (tmp_path / "a.log").read_text()
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())

"""`gureum audit` tells a cloud that does not run from a clean one."""

import json
from pathlib import Path

import pytest

from gureum.__main__ import main


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "gureum.toml").write_text("[gureum]\n")
    return tmp_path


def test_cloud_that_does_not_run_cannot_be_looked_at(
    stopped: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["audit", "--state-dir", str(stopped)]) == 2
    said = capsys.readouterr()
    assert "start it with: gureum up" in said.err
    assert "Nothing is wrong" not in said.out


def test_json_says_the_same(stopped: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["audit", "--json", "--state-dir", str(stopped)]) == 2
    said = json.loads(capsys.readouterr().out)
    assert said["clean"] is False
    assert said["could_not_look"] == ["the cloud does not run; start it with: gureum up"]

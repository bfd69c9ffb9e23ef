"""Imports into several stores whose process is killed with SIGKILL at every step, and goes on in another."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from glance_cloud import sha512
from sigkill_child import cloud

from gureum.core.saga import records
from gureum.glance import sagas

CONTENT = os.urandom(1 << 20) * 4
STEPS = [step.name for step in sagas.IMPORT.steps if step.name not in ("unpack", "convert")]


def child(folder, step, when):
    here = Path(__file__).parent
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])])}
    command = [sys.executable, str(here / "sigkill_child.py"), str(folder), step, when]
    return subprocess.run(command, env=env, timeout=60, capture_output=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_import_to_two_stores_survives_sigkill(tmp_path, step, when):
    made = cloud(tmp_path)
    image = made.create()
    assert made.upload(image["id"], CONTENT, verb="stage").status == 204
    assert made.import_image(image["id"], stores=["file", "second"]).status == 202

    killed = child(tmp_path, step, when)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    with made.deps.db.read() as tx:
        saga = made.deps.sagas.of_resource(tx, image["id"])[0]
    assert saga.state == records.RUNNING
    assert {row.name: row.state for row in saga.steps}[step] == records.STEP_STARTED

    went_on = child(tmp_path, step, "never")
    assert went_on.returncode == 0, went_on.stderr.decode()
    shown = made.show(image["id"])
    assert (shown["status"], shown["os_hash_value"]) == ("active", sha512(CONTENT))
    assert shown["stores"] == "file,second"
    assert made.kept() == made.kept("second") == {image["id"]}
    made.reconcile()
    assert not made.staged() and made.unpublished() == 0

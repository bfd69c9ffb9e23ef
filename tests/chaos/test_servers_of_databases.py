"""The races, the saga harness and the runners (one of them stopped by SIGSTOP) on MariaDB and PostgreSQL.

Each suite runs in a subprocess on a private server through GUREUM_TEST_DATABASE_URL; see tests/databases.py.
"""

import os
import subprocess
import sys
from pathlib import Path

import chaos_paths  # noqa: F401  (first: it makes the next ones findable)
import dblab
import pytest
from databases import VARIABLE

TESTS = Path(__file__).resolve().parents[1]
SUITES = {
    "races": ["chaos/test_races.py"],
    "runners": ["saga/test_saga_runners.py", "unit/core_saga/test_saga_harness.py"],
    "server-create": ["saga/nova/test_nova_saga_harness.py", "-k", "CreateCase"],
    "server-delete": ["saga/nova/test_nova_saga_harness.py", "-k", "DeleteCase"],
    "server-power": ["saga/nova/test_nova_saga_harness.py", "-k", "StopCase"],
    "interfaces": ["saga/nova/test_nova_saga_harness.py", "-k", "AttachCase or DetachCase"],
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", params=["mariadb", "postgresql"])
def server(request):
    if reason := dblab.missing(request.param):
        pytest.skip(reason)
    with dblab.running(request.param) as made:
        yield made


@pytest.mark.parametrize("suite", SUITES)
def test_suite_passes_on_a_database_server(server, suite, tmp_path):
    path, *words = SUITES[suite]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short",
         "--timeout=240", f"--basetemp={tmp_path / 'suite'}",
         *(str(TESTS / word) if word.endswith(".py") else word for word in [path, *words])],
        env={**os.environ, VARIABLE: server.url("NAME").replace("NAME", "{service}_{unique}")},
        cwd=TESTS.parent, capture_output=True, text=True, timeout=850, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " skipped" not in done.stdout.splitlines()[-1], done.stdout

"""The components start in one process and answer over HTTP."""

import httpx
import pytest

from gureum.core.config import loads
from gureum.core.db.migrate import migrate
from gureum.core.run import Process, Runtime
from gureum.nova.bootstrap import bootstrap
from gureum.nova.service import SERVICE


@pytest.fixture
def runtime(tmp_path):
    from gureum import components

    text = f'[gureum]\nstate_dir = "{tmp_path}"\nrun_dir = "{tmp_path}"\nlog_dir = "{tmp_path}"\n'
    text += f'config_dir = "{tmp_path}"\naddress = "127.0.0.1"\nbind_address = "127.0.0.1"\n'
    text += "port_offset = 21310\n"
    return Runtime(loads(text, components.sections()))


def test_api_serves_versions_under_both_names(runtime):
    from gureum.nova.components import NovaApi

    for spec in SERVICE.databases:
        migrate(runtime.database(spec.name), spec.migrations)
    bootstrap(runtime)
    bootstrap(runtime)
    process = Process(runtime, [NovaApi()])
    process.start()
    try:
        base = "http://127.0.0.1:30084"
        versions = httpx.get(base + "/").json()["versions"]
        assert [version["id"] for version in versions] == ["v2.0", "v2.1"]
        for version in versions:
            href = version["links"][0]["href"]
            shown = httpx.get(href, headers={"openstack-api-version": "compute 2.5"})
            assert shown.json()["version"]["id"] == version["id"]
        assert httpx.get(base + "/v2/servers").status_code == 401
        assert httpx.get(base + "/v2.1/servers").status_code == 401
        assert httpx.get(base + "/v3/servers").status_code == 404
    finally:
        process.stop()

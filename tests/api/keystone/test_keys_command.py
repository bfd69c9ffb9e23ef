"""`gureum keystone keys …` on a cloud whose keys are files, and sharing them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gureum.core.db import Database
from gureum.core.db.migrate import migrate
from gureum.keystone.logic import reencrypt
from gureum.keystone.store import tables


@pytest.fixture
def run(tmp_path: Path) -> Any:
    (tmp_path / "etc").mkdir()
    config = tmp_path / "etc/gureum.toml"
    names = (("state", ""), ("run", "/run"), ("config", "/etc"), ("log", "/log"))
    lines = ["[gureum]", *(f'{name}_dir = "{tmp_path}{end}"' for name, end in names)]
    lines += ["[database]", f'connection = "sqlite:///{tmp_path}/{{service}}.sqlite"']
    config.write_text("\n".join(lines))
    database = Database(f"sqlite:///{tmp_path}/keystone.sqlite")
    migrate(database, "gureum.keystone.store.migrations")

    def command(*words: str, more: str = "") -> subprocess.CompletedProcess[str]:
        config.write_text("\n".join([*lines, more]))
        whole = [sys.executable, "-m", "gureum", "keystone", "keys", *words]
        whole += ["--state-dir", str(tmp_path)]
        return subprocess.run(whole, capture_output=True, text=True, check=False)

    return command


@pytest.mark.slow
def test_keys_are_set_up_rotated_shared_and_published(run, tmp_path):
    assert run("list").stdout.count("none yet") == 5
    assert "fernet       primary 1, staged 0, older none" in run("setup").stdout
    assert "fernet       primary 2, staged 0, older 1" in run("rotate", "fernet").stdout
    assert "0 secrets encrypted anew" in run("rotate", "credential").stdout
    done = run("public", str(tmp_path / "out"))
    assert done.returncode == 1 and "no public keys" in done.stderr
    jws = '[keystone.token]\nprovider = "jws"'
    assert run("public", str(tmp_path / "out"), more=jws).stdout.count("jws-public-") == 2
    pki = '[keystone.token]\nprovider = "pki"'
    assert "ca.pem" in run("public", str(tmp_path / "out"), more=pki).stdout
    assert "cluster-key" in run("share").stderr
    assert run("cluster-key").returncode == 0
    assert (tmp_path / "etc/keystone-cluster.key").stat().st_mode & 0o777 == 0o600
    assert run("cluster-key").returncode == 1
    assert "fernet: 3 keys shared" in run("share").stdout
    assert run("share").returncode == 0
    shared = '[keystone.token]\nkey_source = "database"'
    assert "fernet       primary 2, staged 0, older 1" in run("list", more=shared).stdout


def test_secrets_are_encrypted_anew_and_the_old_key_may_go(cloud):
    user = cloud.user("alice")
    for number in range(3):
        body = {"type": "cert", "blob": f"secret {number}", "user_id": user["id"]}
        cloud.ok("POST", "/v3/credentials", {"credential": body})
    cloud.ok("POST", "/v3/OS-OAUTH1/consumers", {"consumer": {}})
    config = {"ldap": {"url": "ldaps://x", "password": "p"}}
    cloud.ok("PUT", "/v3/domains/default/config", {"config": config})
    for _ in range(4):  # more than keys are kept
        assert reencrypt.renew(cloud.db, cloud.deps.vault) == 6
        cloud.deps.vault._keys.rotate()
    found = cloud.ok("GET", "/v3/credentials?type=cert")["credentials"]
    assert sorted(one["blob"] for one in found) == ["secret 0", "secret 1", "secret 2"]


def test_every_encrypted_column_is_renewed():
    encrypted = {
        column
        for table in tables.metadata.tables.values()
        for column in table.columns
        if column.name.startswith("encrypted_") and table is not tables.shared_keys
    }
    assert encrypted == set(reencrypt.COLUMNS)

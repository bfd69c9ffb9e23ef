"""Files that `gureum up` writes: made once, then only completed."""

import os
import stat
import tomllib

import pytest
import yaml

from gureum.provision import settings


def test_settings_of_the_operator_are_kept(tmp_path):
    path = tmp_path / "gureum.toml"
    assert settings.write_settings(path, {"gureum": {"region": "A", "port_offset": 3}}, None)
    assert tomllib.loads(path.read_text()) == {"gureum": {"region": "A", "port_offset": 3}}
    assert not settings.write_settings(path, {"gureum": {"region": "B"}}, None)
    assert tomllib.loads(path.read_text())["gureum"]["region"] == "A"


def test_missing_secret_is_added_and_others_stay(tmp_path):
    path = tmp_path / "secrets.toml"
    first = settings.complete_secrets(path, {"install": {"admin_password": "one"}}, None)
    wanted = {"install": {"admin_password": "two"}, "service_user.nova": {"password": "n"}}
    second = settings.complete_secrets(path, wanted, None)
    assert first == {"install": {"admin_password": "one"}}
    assert second["install"]["admin_password"] == "one"
    assert tomllib.loads(path.read_text())["service_user"]["nova"] == {"password": "n"}


def test_secrets_are_readable_by_their_owner_only(tmp_path):
    path = tmp_path / "secrets.toml"
    settings.complete_secrets(path, {"install": {"admin_password": "x"}}, None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


ENTRY = settings.cloud_entry("http://127.0.0.1:5000/v3", "pw", "RegionOne")


def test_clouds_yaml_keeps_the_entries_of_others(tmp_path):
    path = tmp_path / "openstack" / "clouds.yaml"
    path.parent.mkdir()
    path.write_text("clouds:\n  work:\n    region_name: X\ncache:\n  auth: true\n")
    assert settings.merge_clouds_yaml(path, "gureum", ENTRY)
    assert not settings.merge_clouds_yaml(path, "gureum", ENTRY)
    document = yaml.safe_load(path.read_text())
    assert set(document["clouds"]) == {"work", "gureum"}
    assert document["cache"] == {"auth": True}
    assert settings.merge_clouds_yaml(path, "gureum", None)
    assert yaml.safe_load(path.read_text())["clouds"] == {"work": {"region_name": "X"}}


def test_clouds_yaml_that_held_only_ours_is_removed(tmp_path):
    path = tmp_path / "clouds.yaml"
    settings.merge_clouds_yaml(path, "gureum", ENTRY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    settings.merge_clouds_yaml(path, "gureum", None)
    assert not path.exists()


def test_file_that_is_not_a_clouds_yaml_is_left_alone(tmp_path):
    path = tmp_path / "clouds.yaml"
    path.write_text("clouds: [1, 2]\n")
    with pytest.raises(ValueError, match=r"is not a clouds.yaml"):
        settings.merge_clouds_yaml(path, "gureum", ENTRY)
    assert path.read_text() == "clouds: [1, 2]\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_clouds_yaml_belongs_to_the_person_behind_sudo(tmp_path):
    path = tmp_path / ".config" / "openstack" / "clouds.yaml"
    settings.merge_clouds_yaml(path, "gureum", ENTRY, (1234, 1235))
    owners = {(p.stat().st_uid, p.stat().st_gid) for p in (path, path.parent, path.parent.parent)}
    assert owners == {(1234, 1235)}
    assert tmp_path.stat().st_uid == 0


def test_openrc_forgets_variables_that_would_disturb():
    text = settings.openrc("http://127.0.0.1:5000/v3", "pw", "RegionOne")
    assert "export OS_PASSWORD='pw'" in text
    assert "unset OS_TOKEN OS_CLOUD" in text

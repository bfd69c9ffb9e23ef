"""The files that `gureum up` writes for a cloud: settings, secrets, credentials of the client.

Owns: `gureum.toml` (made once, then the operator's), `secrets.toml` (made once; a missing secret is added),
`clouds.yaml`. Must not: overwrite a value that an operator changed, or print a secret.
"""

import contextlib
import os
import pwd
import secrets
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gureum.core.config_docs import toml_value

Table = dict[str, dict[str, Any]]
"""TOML path of a section -> option -> value."""


def new_secret() -> str:
    """A password nobody has to type: 160 random bits in letters and digits."""
    return secrets.token_hex(20)


def write_settings(path: Path, settings: Table, owner: str | None, *, mode: int = 0o640) -> bool:
    """Write the settings if there are none yet; returns whether it did."""
    if path.exists():
        return False
    head = [
        "# Settings of this cloud. Made by `gureum up`, yours from now on.",
        "# Every option with its text: gureum config sample. Check: gureum config check",
    ]
    _write(path, "\n".join(head) + "\n" + _toml(settings), owner, mode)
    return True


def complete_secrets(path: Path, wanted: Table, owner: str | None) -> Table:
    """Add the secrets that are not there yet; returns all of them."""
    have: Table = {}
    if path.exists():
        have = flatten(tomllib.loads(path.read_text()))
    merged = {section: {**values} for section, values in have.items()}
    for section, values in wanted.items():
        for key, value in values.items():
            merged.setdefault(section, {}).setdefault(key, value)
    if merged != have:
        head = "# Secrets of this cloud. Made by `gureum up`; keep them to yourself.\n"
        _write(path, head + _toml(merged), owner, 0o600)
    return merged


def flatten(document: Mapping[str, Any], prefix: str = "") -> Table:
    """Nested TOML tables by their dotted path."""
    flat: Table = {}
    for key, value in document.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat.setdefault(prefix[:-1], {})[key] = value
    return flat


def _toml(table: Table) -> str:
    lines: list[str] = []
    for section, values in table.items():
        if values:
            lines += ["", f"[{section}]"]
            lines += [f"{key} = {toml_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str, owner: str | None, mode: int) -> None:
    temporary = path.with_suffix(".new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    held = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(held, "w") as file:
        file.write(text)
    os.chmod(temporary, mode)
    if owner is not None:
        entry = pwd.getpwnam(owner)
        os.chown(temporary, entry.pw_uid, entry.pw_gid)
    os.replace(temporary, path)


def cloud_entry(auth_url: str, password: str, region: str) -> dict[str, Any]:
    """The entry of clouds.yaml for the administrator."""
    return {
        "auth": {
            "auth_url": auth_url,
            "username": "admin",
            "password": password,
            "project_name": "admin",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        },
        "region_name": region,
        "identity_api_version": 3,
        "interface": "public",
    }


def merge_clouds_yaml(
    path: Path, name: str, entry: dict[str, Any] | None, owner: tuple[int, int] | None = None
) -> bool:
    """Set (or with None remove) one entry of a clouds.yaml; the others stay. Whether it changed.

    owner: user and group ids of a file and of folders that are made; a file that is there keeps its
    own.
    Raises: ValueError when the file is not a clouds.yaml.
    """
    document: dict[str, Any] = {}
    if path.exists():
        try:
            document = yaml.safe_load(path.read_text()) or {}
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is not YAML: {error}") from error
    clouds = document.get("clouds", {})
    if not isinstance(document, dict) or not isinstance(clouds, dict):
        raise ValueError(f"{path} is not a clouds.yaml")
    if clouds.get(name) == entry:
        return False
    if entry is None:
        del clouds[name]
    else:
        clouds[name] = entry
    if not clouds and entry is None and set(document) <= {"clouds"}:
        path.unlink()
        return True
    document["clouds"] = clouds
    if path.exists():
        owner = (path.stat().st_uid, path.stat().st_gid)
    missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write(path, yaml.safe_dump(document, sort_keys=False), None, 0o600)
    if owner is not None and os.geteuid() == 0:
        for made in (path, *missing):
            os.chown(made, *owner)
    return True


def openrc(auth_url: str, password: str, region: str) -> str:
    """Shell lines for `eval`."""
    values = {
        "OS_AUTH_URL": auth_url,
        "OS_USERNAME": "admin",
        "OS_PASSWORD": password,
        "OS_PROJECT_NAME": "admin",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": region,
        "OS_IDENTITY_API_VERSION": "3",
        "OS_INTERFACE": "public",
    }
    lines = [f"export {key}='{value}'" for key, value in values.items()]
    return "\n".join([*lines, "unset OS_TOKEN OS_CLOUD OS_SYSTEM_SCOPE OS_DOMAIN_NAME"]) + "\n"

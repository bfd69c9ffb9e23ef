"""Options of domains: which there are, what they default to, storing them encrypted.

Follows: Identity API v3, "Domain configuration", and the names of the classic options.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Forbidden
from gureum.keystone.errors import Missing
from gureum.keystone.store import entities, tables

_T = tables.domain_options
_HIDDEN = frozenset({("ldap", "password")})
COMPLIANCE = ("password_regex", "password_regex_description")


def _entity(name: str, object_class: str, id_attribute: str, **more: Any) -> dict[str, Any]:
    common = {
        "tree_dn": None,
        "filter": None,
        "objectclass": object_class,
        "id_attribute": id_attribute,
        "name_attribute": "sn" if name == "user" else "ou",
        "attribute_ignore": [],
        "additional_attribute_mapping": [],
        **more,
    }
    return {f"{name}_{key}": value for key, value in common.items()}


DEFAULTS: dict[str, dict[str, Any]] = {
    "identity": {"driver": "sql", "list_limit": None},
    "ldap": {
        "url": "ldap://localhost",
        "user": None,
        "password": None,
        "suffix": "cn=example,cn=com",
        "query_scope": "one",
        "page_size": 0,
        "alias_dereferencing": "default",
        "debug_level": None,
        "chase_referrals": None,
        "use_tls": False,
        "tls_cacertfile": None,
        "tls_cacertdir": None,
        "tls_req_cert": "demand",
        "connection_timeout": -1,
        "use_pool": True,
        "pool_size": 10,
        "pool_retry_max": 3,
        "pool_retry_delay": 0.1,
        "pool_connection_timeout": -1,
        "pool_connection_lifetime": 600,
        "use_auth_pool": True,
        "auth_pool_size": 100,
        "auth_pool_connection_lifetime": 60,
        **_entity(
            "user",
            "inetOrgPerson",
            "cn",
            description_attribute="description",
            mail_attribute="mail",
            pass_attribute="userPassword",
            enabled_attribute="enabled",
            enabled_invert=False,
            enabled_mask=0,
            enabled_default="True",
            default_project_id_attribute=None,
            enabled_emulation=False,
            enabled_emulation_dn=None,
            enabled_emulation_use_group_config=False,
        ),
        **_entity(
            "group",
            "groupOfNames",
            "cn",
            member_attribute="member",
            members_are_ids=False,
            desc_attribute="description",
            ad_nesting=False,
        ),
    },
}


def typed(group: str, option: str, text: str) -> Any:
    """Return the value of an option as a file writes it. Raises: ValueError."""
    if group not in DEFAULTS or option not in DEFAULTS[group]:
        raise ValueError(f"[{group}] {option} is no option of a domain")
    default = DEFAULTS[group][option]
    if isinstance(default, bool):
        return text.strip().lower() in ("true", "1", "yes", "on")
    if isinstance(default, int | float):
        return type(default)(text)
    if isinstance(default, list):
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


_CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("ldap", "query_scope"): ("one", "sub"),
    ("ldap", "tls_req_cert"): ("demand", "allow", "never"),
    ("ldap", "alias_dereferencing"): ("never", "searching", "always", "finding", "default"),
}


def _check_values(config: Mapping[str, Any]) -> None:
    """Refuse values of another kind than the default's. Raises: BadRequest."""
    for group, options in config.items():
        for option, value in options.items():
            default = DEFAULTS[group][option]
            wanted: Any = (str, int, float, bool, list, type(None))
            if isinstance(default, bool):
                wanted = bool
            elif isinstance(default, int | float):
                wanted = (int, float)
            if not isinstance(value, wanted):
                raise BadRequest(f"The option {option} of {group} has a value of another kind.")
    for (group, option), allowed in _CHOICES.items():
        value = config.get(group, {}).get(option)
        if value is not None and value not in allowed:
            raise BadRequest(f"The option {option} of {group} is one of {', '.join(allowed)}.")


def _check(config: Mapping[str, Any]) -> None:
    """Refuse unknown groups and options. Raises: BadRequest, Forbidden."""
    if not config:
        raise BadRequest("The configuration names no option.")
    for group, options in config.items():
        if group not in DEFAULTS:
            raise Forbidden(f"The group {group[:64]} cannot be set for a domain.")
        if not isinstance(options, dict) or not options:
            raise BadRequest(f"The group {group} must be an object with options.")
        for option in options:
            _known(group, option)
    _check_values(config)


def _known(group: str, option: str) -> None:
    if group not in DEFAULTS:
        raise Forbidden(f"The group {group[:64]} cannot be set for a domain.")
    if option not in DEFAULTS[group]:
        raise Forbidden(f"The option {option[:64]} of {group} cannot be set for a domain.")


def _where(domain_id: str, group: str | None, option: str | None) -> sa.ColumnElement[bool]:
    parts = [_T.c.domain_id == domain_id]
    if group is not None:
        parts.append(_T.c.option_group == group)
    if option is not None:
        parts.append(_T.c.option == option)
    return sa.and_(*parts)


def get(
    tx: Tx, domain_id: str, group: str | None = None, option: str | None = None
) -> dict[str, dict[str, Any]]:
    """Return what a domain has of its own, with its secrets."""
    found: dict[str, dict[str, Any]] = {}
    for row in entities.rows_of(tx, _T, _where(domain_id, group, option)):
        value = tx.deps.vault.open(row.encrypted_value)
        found.setdefault(row.option_group, {})[row.option] = value
    return found


def shown(tx: Tx, domain_id: str, group: str | None = None, option: str | None = None) -> Any:
    """Return what a domain has of its own, without secrets. Raises: Missing, Forbidden."""
    if group == "security_compliance":
        return _compliance(tx, option)
    if option is not None and group is not None:
        _known(group, option)
    found = get(tx, domain_id, group, option)
    visible = {
        name: {key: value for key, value in options.items() if (name, key) not in _HIDDEN}
        for name, options in found.items()
    }
    if not found or (group is not None and not visible[group]):
        raise Missing(kind="configuration of domain", id=domain_id)
    return visible if option is None or group is None else visible[group]


def _compliance(tx: Tx, option: str | None) -> dict[str, Any]:
    compliance = tx.deps.compliance
    values = {name: getattr(compliance, name) or None for name in COMPLIANCE}
    if option is None:
        return {"security_compliance": values}
    if option not in values:
        raise Forbidden(f"The option {option[:64]} of security_compliance cannot be read.")
    return {option: values[option]}


def put(tx: Tx, domain_id: str, config: Mapping[str, Any]) -> None:
    """Replace everything. Raises: BadRequest, Forbidden."""
    _check(config)
    tx.delete_by(_T.c.domain_id, domain_id)
    _insert(tx, domain_id, config)


def change(tx: Tx, domain_id: str, config: Mapping[str, Any], *, must_exist: bool = False) -> None:
    """Change some options. must_exist: only in groups that it has. Raises: Missing."""
    _check(config)
    if must_exist:
        if any(not get(tx, domain_id, group) for group in config):
            raise Missing(kind="configuration of domain", id=domain_id)
    elif not get(tx, domain_id):
        raise Missing(kind="configuration of domain", id=domain_id)
    for group, options in config.items():
        for option in options:
            tx.delete(_T, _where(domain_id, group, option))
    _insert(tx, domain_id, config)


def _insert(tx: Tx, domain_id: str, config: Mapping[str, Any]) -> None:
    rows = [
        {
            "domain_id": domain_id,
            "option_group": group,
            "option": option,
            "encrypted_value": tx.deps.vault.lock(value),
        }
        for group, options in config.items()
        for option, value in options.items()
    ]
    tx.insert_many(_T, rows)
    _changed(tx)


def _changed(tx: Tx) -> None:
    if tx.deps.directories is not None:
        tx.after_commit(tx.deps.directories.forget)


def delete(tx: Tx, domain_id: str, group: str | None = None, option: str | None = None) -> None:
    """Delete options. Raises: Missing, Forbidden."""
    if group is not None and option is not None:
        _known(group, option)
    if tx.delete(_T, _where(domain_id, group, option)) == 0:
        raise Missing(kind="configuration of domain", id=domain_id)
    _changed(tx)


def defaults(group: str | None = None, option: str | None = None) -> dict[str, Any]:
    """Return default options. Raises: Forbidden (a group or option that there is not)."""
    if group is None:
        return {name: _visible(name) for name in DEFAULTS}
    if group not in DEFAULTS:
        raise Forbidden(f"The group {group[:64]} cannot be set for a domain.")
    if option is None:
        return {group: _visible(group)}
    _known(group, option)
    if (group, option) in _HIDDEN:
        raise Forbidden(f"The option {option} of {group} cannot be read.")
    return {option: DEFAULTS[group][option]}


def _visible(group: str) -> dict[str, Any]:
    return {name: value for name, value in DEFAULTS[group].items() if (group, name) not in _HIDDEN}

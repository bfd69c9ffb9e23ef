"""Options of a domain, such as the directory that its users come from (config of domains).

An answer is the options that a domain has of its own; passwords are stored and never shown.
"""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Forbidden, Json, Reply, Struct, operation
from gureum.keystone.errors import Missing
from gureum.keystone.logic import domain_options
from gureum.keystone.logic.common import load
from gureum.keystone.store import tables

_BASE = "/domains/{domain_id}/config"


class Config(Struct):
    """Options by group."""

    config = Json("Groups of options.", kinds=(dict,), required=True)


def _no_target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return {}


def _load(ctx: Context, tx: Tx, domain_id: str, *rest: str) -> Any:
    domain = load(tx, tables.domains, "domain", domain_id)
    return (domain.id, *rest)


def _read_rule(ctx: Context, loaded: Any, query: Any) -> str:
    if loaded is not None and loaded[1] == "security_compliance":
        return "identity:get_security_compliance_domain_config"
    return "identity:get_domain_config"


def _body(value: Any) -> dict[str, Any]:
    return {"config": value}


@operation(
    "PUT",
    _BASE,
    policy="identity:create_domain_config",
    request=Config,
    load=_load,
    target=_no_target,
    errors=(Missing, BadRequest, Forbidden),
)
def create_domain_config(ctx: Context, tx: Tx, loaded: Any, new: Config) -> Any:
    """Set all options of a domain; those it had before go."""
    (domain_id,) = loaded
    before = domain_options.get(tx, domain_id)
    domain_options.put(tx, domain_id, new.config)
    return Reply(_body(domain_options.shown(tx, domain_id)), status=200 if before else 201)


@operation(
    "GET",
    _BASE,
    policy="identity:get_domain_config",
    load=_load,
    target=_no_target,
    errors=(Missing,),
)
def show_domain_config(ctx: Context, tx: Tx, loaded: Any) -> Any:
    """Show the options of a domain."""
    return _body(domain_options.shown(tx, *loaded))


@operation(
    "GET",
    _BASE + "/{group}",
    policy="identity:get_domain_config",
    load=_load,
    target=_no_target,
    rule=_read_rule,
    errors=(Missing, Forbidden),
)
def show_domain_config_group(ctx: Context, tx: Tx, loaded: Any) -> Any:
    """Show the options of one group; those of passwords anybody with a token may see."""
    return _body(domain_options.shown(tx, *loaded))


@operation(
    "GET",
    _BASE + "/{group}/{option}",
    policy="identity:get_domain_config",
    load=_load,
    target=_no_target,
    rule=_read_rule,
    errors=(Missing, Forbidden),
)
def show_domain_config_option(ctx: Context, tx: Tx, loaded: Any) -> Any:
    """Show one option."""
    return _body(domain_options.shown(tx, *loaded))


@operation(
    "PATCH",
    _BASE,
    policy="identity:update_domain_config",
    request=Config,
    load=_load,
    target=_no_target,
    errors=(Missing, BadRequest, Forbidden),
)
def update_domain_config(ctx: Context, tx: Tx, loaded: Any, new: Config) -> Any:
    """Change some options."""
    domain_options.change(tx, loaded[0], new.config)
    return _body(domain_options.shown(tx, loaded[0]))


@operation(
    "PATCH",
    _BASE + "/{group}",
    policy="identity:update_domain_config",
    request=Config,
    load=_load,
    target=_no_target,
    errors=(Missing, BadRequest, Forbidden),
)
def update_domain_config_group(ctx: Context, tx: Tx, loaded: Any, new: Config) -> Any:
    """Change some options of one group."""
    domain_id, group = loaded
    values = new.config.get(group) if set(new.config) == {group} else new.config
    if not isinstance(values, dict) or (set(new.config) != {group} and group in new.config):
        raise BadRequest("The body names another group than the path.")
    domain_options.change(tx, domain_id, {group: values}, must_exist=True)
    return _body(domain_options.shown(tx, domain_id))


@operation(
    "PATCH",
    _BASE + "/{group}/{option}",
    policy="identity:update_domain_config",
    request=Config,
    load=_load,
    target=_no_target,
    errors=(Missing, BadRequest, Forbidden),
)
def update_domain_config_option(ctx: Context, tx: Tx, loaded: Any, new: Config) -> Any:
    """Change one option."""
    domain_id, group, option = loaded
    if set(new.config) != {option}:
        raise BadRequest("The body names another option than the path.")
    values = {group: {option: new.config[option]}}
    domain_options.change(tx, domain_id, values, must_exist=True)
    return _body(domain_options.shown(tx, domain_id))


def _delete(path: str, text: str) -> Any:
    def delete(ctx: Context, tx: Tx, loaded: Any) -> None:
        domain_options.delete(tx, *loaded)

    delete.__doc__ = text
    return operation(
        "DELETE",
        path,
        policy="identity:delete_domain_config",
        load=_load,
        target=_no_target,
        errors=(Missing, Forbidden),
    )(delete)


delete_domain_config = _delete(_BASE, "Delete every option of a domain.")
delete_domain_config_group = _delete(_BASE + "/{group}", "Delete the options of one group.")
delete_domain_config_option = _delete(_BASE + "/{group}/{option}", "Delete one option.")


# -- defaults --------------------------------------------------------------------------------------


@operation(
    "GET",
    "/domains/config/default",
    policy="identity:get_domain_config_default",
    target=_no_target,
)
def show_default_config(ctx: Context, tx: Tx) -> Any:
    """Show the options that count where a domain has none of its own."""
    return _body(domain_options.defaults())


@operation(
    "GET",
    "/domains/config/{group}/default",
    policy="identity:get_domain_config_default",
    target=_no_target,
    errors=(Missing, Forbidden),
)
def show_default_config_group(ctx: Context, tx: Tx, group: str) -> Any:
    """Show the default options of one group."""
    return _body(domain_options.defaults(group))


@operation(
    "GET",
    "/domains/config/{group}/{option}/default",
    policy="identity:get_domain_config_default",
    target=_no_target,
    errors=(Missing, Forbidden),
)
def show_default_config_option(ctx: Context, tx: Tx, group: str, option: str) -> Any:
    """Show one default option."""
    return _body(domain_options.defaults(group, option))

"""Mappings of federated attributes, and service providers that trust this cloud (OS-FEDERATION)."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Boolean, Id, Json, ListOf, String, Struct, operation
from gureum.keystone.api import shapes
from gureum.keystone.api.shapes import ListQuery, shown
from gureum.keystone.errors import Duplicate, InUse, Missing
from gureum.keystone.logic import common, mapping_rules
from gureum.keystone.logic.common import load
from gureum.keystone.store import entities, tables

_M = tables.mappings
_S = tables.service_providers
_MAPPINGS = "OS-FEDERATION/mappings"
_PROVIDERS = "OS-FEDERATION/service_providers"


def _no_target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return {}


def _fresh_id(tx: Tx, table: Any, kind: str, id: str) -> None:
    if len(id) > 64:
        raise BadRequest(f"The id of a {kind} has at most 64 characters.")
    if entities.get(tx, table, id) is not None:
        raise Duplicate(kind=kind, name=id)


# -- mappings --------------------------------------------------------------------------------------


class Mapping(Struct):
    """Rules that make local users and groups of remote attributes."""

    id = Id("Id.")
    rules = Json("The rules.")
    schema_version = String("Version of the rules' form.")
    links = Json("Links.")


class MappingCreate(Struct):
    """A new mapping."""

    id = Id("The same as in the path, which counts.", max=64)
    rules = ListOf(Json("A rule.", kinds=(dict,)), "The rules.", min=1, required=True)
    schema_version = String("Version of the rules' form.", max=5, null=True)


class MappingUpdate(Struct):
    """Changes to a mapping."""

    id = Id("The same as in the path, which counts.", max=64)
    rules = ListOf(Json("A rule.", kinds=(dict,)), "The rules.", min=1)
    schema_version = String("Version of the rules' form.", max=5, null=True)


def _load_mapping(ctx: Context, tx: Tx, mapping_id: str) -> Any:
    return load(tx, _M, "mapping", mapping_id)


@operation(
    "PUT",
    "/OS-FEDERATION/mappings/{mapping_id}",
    policy="identity:create_mapping",
    status=201,
    wrap="mapping",
    request=MappingCreate,
    response=Mapping,
    target=_no_target,
    errors=(Duplicate, BadRequest),
)
def create_mapping(ctx: Context, tx: Tx, mapping_id: str, new: MappingCreate) -> Any:
    """Create a mapping."""
    _fresh_id(tx, _M, "mapping", mapping_id)
    mapping_rules.check(new.rules)
    values = {
        "id": mapping_id,
        "rules": list(new.rules),
        "schema_version": new.get("schema_version") or "1.0",
    }
    return shown(ctx, _MAPPINGS, common.insert(tx, _M, "mapping", values))


@operation(
    "GET",
    "/OS-FEDERATION/mappings",
    policy="identity:list_mappings",
    items=Mapping,
    response_wrap="mappings",
    target=_no_target,
)
def list_mappings(ctx: Context, tx: Tx) -> Any:
    """List mappings."""
    return [shown(ctx, _MAPPINGS, row) for row in entities.listed(tx, _M)]


@operation(
    "GET",
    "/OS-FEDERATION/mappings/{mapping_id}",
    policy="identity:get_mapping",
    response=Mapping,
    response_wrap="mapping",
    load=_load_mapping,
    target=_no_target,
    errors=(Missing,),
)
def show_mapping(ctx: Context, tx: Tx, mapping: Any) -> Any:
    """Show a mapping."""
    return shown(ctx, _MAPPINGS, mapping)


@operation(
    "PATCH",
    "/OS-FEDERATION/mappings/{mapping_id}",
    policy="identity:update_mapping",
    wrap="mapping",
    request=MappingUpdate,
    response=Mapping,
    load=_load_mapping,
    target=_no_target,
    errors=(Missing, BadRequest),
)
def update_mapping(ctx: Context, tx: Tx, mapping: Any, new: MappingUpdate) -> Any:
    """Change a mapping."""
    values = common.given(new, skip=("id",))
    if values.get("schema_version", "") is None:
        del values["schema_version"]  # clients send null for "as it is"
    if "rules" in values:
        mapping_rules.check(values["rules"])
        values["rules"] = list(values["rules"])
    return shown(ctx, _MAPPINGS, common.update(tx, _M, "mapping", mapping, values))


@operation(
    "DELETE",
    "/OS-FEDERATION/mappings/{mapping_id}",
    policy="identity:delete_mapping",
    load=_load_mapping,
    target=_no_target,
    errors=(Missing, InUse),
)
def delete_mapping(ctx: Context, tx: Tx, mapping: Any) -> None:
    """Delete a mapping that no protocol uses."""
    if entities.find(tx, tables.protocols, mapping_id=mapping.id) is not None:
        raise InUse(kind="Mapping", id=mapping.id, reason="a protocol uses it.")
    common.delete(tx, _M, mapping.id)


# -- service providers -----------------------------------------------------------------------------


class ServiceProvider(Struct):
    """Another cloud that trusts this one."""

    id = Id("Id.")
    auth_url = String("Where to log in.")
    sp_url = String("Where assertions go.")
    description = String("Text.", max=None)
    enabled = Boolean("Whether the catalogue shows it.")
    relay_state_prefix = String("Prefix of the relay state.")
    links = Json("Links.")


class ServiceProviderCreate(Struct):
    """A new service provider."""

    id = Id("The same as in the path, which counts.", max=64)
    auth_url = String("Where to log in.", max=256, required=True, pattern=r"https?://\S+")
    sp_url = String("Where assertions go.", max=256, required=True, pattern=r"https?://\S+")
    description = String("Text.", max=None, null=True)
    enabled = Boolean("Whether the catalogue shows it.", default=False, strict=True)
    relay_state_prefix = String("Prefix of the relay state.", max=256, null=True)


class ServiceProviderUpdate(Struct):
    """Changes to a service provider."""

    auth_url = String("Where to log in.", max=256, pattern=r"https?://\S+")
    sp_url = String("Where assertions go.", max=256, pattern=r"https?://\S+")
    description = String("Text.", max=None, null=True)
    enabled = Boolean("Whether the catalogue shows it.", strict=True)
    relay_state_prefix = String("Prefix of the relay state.", max=256)


def _load_provider(ctx: Context, tx: Tx, sp_id: str) -> Any:
    return load(tx, _S, "service provider", sp_id)


@operation(
    "PUT",
    "/OS-FEDERATION/service_providers/{sp_id}",
    policy="identity:create_service_provider",
    status=201,
    wrap="service_provider",
    request=ServiceProviderCreate,
    response=ServiceProvider,
    target=_no_target,
    errors=(Duplicate,),
)
def create_service_provider(ctx: Context, tx: Tx, sp_id: str, new: ServiceProviderCreate) -> Any:
    """Register a service provider."""
    _fresh_id(tx, _S, "service provider", sp_id)
    values = {
        "id": sp_id,
        "auth_url": new.auth_url,
        "sp_url": new.sp_url,
        "description": new.get("description"),
        "enabled": new.enabled,
        "relay_state_prefix": new.get("relay_state_prefix") or "ss:mem:",
    }
    return shown(ctx, _PROVIDERS, common.insert(tx, _S, "service provider", values))


@operation(
    "GET",
    "/OS-FEDERATION/service_providers",
    policy="identity:list_service_providers",
    query=ListQuery,
    items=ServiceProvider,
    response_wrap="service_providers",
    target=_no_target,
)
def list_service_providers(ctx: Context, tx: Tx, query: ListQuery) -> Any:
    """List service providers."""
    where = entities.matching(_S, shapes.filters(query, {"id": str, "enabled": bool}))
    return shapes.page(ctx, _PROVIDERS, entities.listed(tx, _S, where), query, None)


@operation(
    "GET",
    "/OS-FEDERATION/service_providers/{sp_id}",
    policy="identity:get_service_provider",
    response=ServiceProvider,
    response_wrap="service_provider",
    load=_load_provider,
    target=_no_target,
    errors=(Missing,),
)
def show_service_provider(ctx: Context, tx: Tx, provider: Any) -> Any:
    """Show a service provider."""
    return shown(ctx, _PROVIDERS, provider)


@operation(
    "PATCH",
    "/OS-FEDERATION/service_providers/{sp_id}",
    policy="identity:update_service_provider",
    wrap="service_provider",
    request=ServiceProviderUpdate,
    response=ServiceProvider,
    load=_load_provider,
    target=_no_target,
    errors=(Missing,),
)
def update_service_provider(ctx: Context, tx: Tx, provider: Any, new: ServiceProviderUpdate) -> Any:
    """Change a service provider."""
    row = common.update(tx, _S, "service provider", provider, common.given(new))
    return shown(ctx, _PROVIDERS, row)


@operation(
    "DELETE",
    "/OS-FEDERATION/service_providers/{sp_id}",
    policy="identity:delete_service_provider",
    load=_load_provider,
    target=_no_target,
    errors=(Missing,),
)
def delete_service_provider(ctx: Context, tx: Tx, provider: Any) -> None:
    """Delete a service provider."""
    common.delete(tx, _S, provider.id)

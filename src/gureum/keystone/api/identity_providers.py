"""Identity providers of a federation, and the protocols each is reached by (OS-FEDERATION)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    BadRequest,
    Boolean,
    Id,
    Integer,
    Json,
    ListOf,
    String,
    Struct,
    operation,
)
from gureum.keystone.api import shapes
from gureum.keystone.api.shapes import ListQuery
from gureum.keystone.errors import Duplicate, Missing
from gureum.keystone.logic import common
from gureum.keystone.logic.common import load
from gureum.keystone.store import entities, tables

_T = tables.identity_providers
_P = tables.protocols
_R = tables.idp_remote_ids
_BASE = "/OS-FEDERATION/identity_providers"


class IdentityProvider(Struct):
    """An identity provider."""

    id = Id("Id.")
    domain_id = Id("Domain of its users.")
    enabled = Boolean("Whether its users can log in.")
    description = String("Text.", max=None)
    remote_ids = Json("Names by which it calls itself.")
    authorization_ttl = Integer("Minutes that group memberships are kept.")
    links = Json("Links.")


class IdentityProviderCreate(Struct):
    """A new identity provider."""

    id = Id("The same as in the path, which counts.", max=64)
    domain_id = Id("Domain of its users; one is made when it is missing.", max=64, null=True)
    enabled = Boolean("Whether its users can log in.", default=False, strict=True)
    description = String("Text.", max=None, null=True)
    remote_ids = ListOf(String("Name."), "Names by which it calls itself.", unique=True, null=True)
    authorization_ttl = Integer("Minutes that group memberships are kept.", min=0, null=True)


class IdentityProviderUpdate(Struct):
    """Changes to an identity provider."""

    domain_id = Id("Cannot be changed.", max=64, null=True)
    enabled = Boolean("Whether its users can log in.", strict=True)
    description = String("Text.", max=None, null=True)
    remote_ids = ListOf(String("Name."), "Names by which it calls itself.", unique=True, null=True)
    authorization_ttl = Integer("Minutes that group memberships are kept.", min=0, null=True)


def _no_target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return {}


def _load(ctx: Context, tx: Tx, idp_id: str) -> Any:
    return load(tx, _T, "identity provider", idp_id)


def _shown(ctx: Context, tx: Tx, row: Any) -> dict[str, Any]:
    here = f"{ctx.base_url}{_BASE}/{row.id}"
    remote = sa.select(_R.c.remote_id).where(_R.c.idp_id == row.id).order_by(_R.c.remote_id)
    return {
        "id": row.id,
        "domain_id": row.domain_id,
        "enabled": row.enabled,
        "description": row.description,
        "remote_ids": [found.remote_id for found in tx.all(remote)],
        "authorization_ttl": None
        if row.authorization_ttl_s is None
        else row.authorization_ttl_s // 60,
        "links": {"self": here, "protocols": f"{here}/protocols"},
    }


def _set_remote_ids(tx: Tx, idp_id: str, remote_ids: Any) -> None:
    tx.delete_by(_R.c.idp_id, idp_id)
    for remote_id in remote_ids or ():
        if entities.find(tx, _R, remote_id=remote_id) is not None:
            raise Duplicate(kind="remote id", name=remote_id)
        tx.insert(_R, remote_id=remote_id, idp_id=idp_id)


def _seconds(minutes: int | None) -> int | None:
    return None if minutes is None else minutes * 60


@operation(
    "PUT",
    _BASE + "/{idp_id}",
    policy="identity:create_identity_provider",
    status=201,
    wrap="identity_provider",
    request=IdentityProviderCreate,
    response=IdentityProvider,
    target=_no_target,
    errors=(Duplicate, Missing),
)
def create_identity_provider(ctx: Context, tx: Tx, idp_id: str, new: IdentityProviderCreate) -> Any:
    """Register an identity provider; without a domain it gets one of its own."""
    if len(idp_id) > 64:
        raise BadRequest("The id of an identity provider has at most 64 characters.")
    if entities.get(tx, _T, idp_id) is not None:
        raise Duplicate(kind="identity provider", name=idp_id)
    domain_id = new.get("domain_id")
    if domain_id is None:
        domain_id = _own_domain(tx, idp_id)
    else:
        load(tx, tables.domains, "domain", domain_id)
    values = {
        "id": idp_id,
        "domain_id": domain_id,
        "enabled": new.enabled,
        "description": new.get("description"),
        "authorization_ttl_s": _seconds(new.get("authorization_ttl")),
    }
    row = common.insert(tx, _T, "identity provider", values)
    _set_remote_ids(tx, idp_id, new.get("remote_ids"))
    return _shown(ctx, tx, row)


def _own_domain(tx: Tx, idp_id: str) -> str:
    id = common.new_id()
    values = {
        "id": id,
        "name": id,
        "description": f"Auto generated federated domain for Identity Provider: {idp_id}",
        "enabled": True,
        "options": {},
        "tags": [],
        "extra_values": {},
    }
    common.insert(tx, tables.domains, "domain", values)
    return id


@operation(
    "GET",
    _BASE,
    policy="identity:list_identity_providers",
    query=ListQuery,
    items=IdentityProvider,
    response_wrap="identity_providers",
    target=_no_target,
)
def list_identity_providers(ctx: Context, tx: Tx, query: ListQuery) -> Any:
    """List identity providers."""
    where = entities.matching(_T, shapes.filters(query, {"id": str, "enabled": bool}))
    return [_shown(ctx, tx, row) for row in entities.listed(tx, _T, where)]


@operation(
    "GET",
    _BASE + "/{idp_id}",
    policy="identity:get_identity_provider",
    response=IdentityProvider,
    response_wrap="identity_provider",
    load=_load,
    target=_no_target,
    errors=(Missing,),
)
def show_identity_provider(ctx: Context, tx: Tx, idp: Any) -> Any:
    """Show an identity provider."""
    return _shown(ctx, tx, idp)


@operation(
    "PATCH",
    _BASE + "/{idp_id}",
    policy="identity:update_identity_provider",
    wrap="identity_provider",
    request=IdentityProviderUpdate,
    response=IdentityProvider,
    load=_load,
    target=_no_target,
    errors=(Missing, Duplicate, BadRequest),
)
def update_identity_provider(ctx: Context, tx: Tx, idp: Any, new: IdentityProviderUpdate) -> Any:
    """Change an identity provider."""
    if new.has("domain_id") and new.domain_id != idp.domain_id:
        raise BadRequest("The domain of an identity provider cannot be changed.")
    values = common.given(new, skip=("domain_id", "remote_ids", "authorization_ttl"))
    if new.has("authorization_ttl"):
        values["authorization_ttl_s"] = _seconds(new.authorization_ttl)
    if new.has("remote_ids"):
        _set_remote_ids(tx, idp.id, new.remote_ids)
    return _shown(ctx, tx, common.update(tx, _T, "identity provider", idp, values))


@operation(
    "DELETE",
    _BASE + "/{idp_id}",
    policy="identity:delete_identity_provider",
    load=_load,
    target=_no_target,
    errors=(Missing,),
)
def delete_identity_provider(ctx: Context, tx: Tx, idp: Any) -> None:
    """Delete an identity provider with its protocols; its domain stays."""
    common.delete(tx, _T, idp.id)


# -- protocols -------------------------------------------------------------------------------------


class Protocol(Struct):
    """How an identity provider is reached."""

    id = Id("Id, such as `openid` or `saml2`.")
    mapping_id = Id("Mapping of its attributes.")
    remote_id_attribute = String("Attribute that names the identity provider.")
    links = Json("Links.")


class ProtocolCreate(Struct):
    """A new protocol."""

    id = Id("The same as in the path, which counts.", max=64)
    mapping_id = Id("Mapping of its attributes.", max=64, required=True)
    remote_id_attribute = String("Attribute that names the identity provider.", max=64, null=True)


class ProtocolUpdate(Struct):
    """Changes to a protocol."""

    mapping_id = Id("Mapping of its attributes.", max=64)
    remote_id_attribute = String("Attribute that names the identity provider.", max=64, null=True)


def _load_protocol(ctx: Context, tx: Tx, idp_id: str, protocol_id: str) -> Any:
    row = entities.find(tx, _P, idp_id=idp_id, id=protocol_id)
    if row is None:
        raise Missing(kind="protocol", id=protocol_id)
    return row


def _check_mapping(tx: Tx, mapping_id: str) -> None:
    if entities.get(tx, tables.mappings, mapping_id) is None:
        raise BadRequest(f"Could not find mapping: {mapping_id}.")


def _shown_protocol(ctx: Context, row: Any) -> dict[str, Any]:
    idp = f"{ctx.base_url}{_BASE}/{row.idp_id}"
    return {
        "id": row.id,
        "mapping_id": row.mapping_id,
        "remote_id_attribute": row.remote_id_attribute,
        "links": {"self": f"{idp}/protocols/{row.id}", "identity_provider": idp},
    }


@operation(
    "PUT",
    _BASE + "/{idp_id}/protocols/{protocol_id}",
    policy="identity:create_protocol",
    status=201,
    wrap="protocol",
    request=ProtocolCreate,
    response=Protocol,
    load=lambda ctx, tx, idp_id, protocol_id: (_load(ctx, tx, idp_id), protocol_id),
    target=_no_target,
    errors=(Missing, Duplicate, BadRequest),
)
def create_protocol(ctx: Context, tx: Tx, loaded: Any, new: ProtocolCreate) -> Any:
    """Add a protocol to an identity provider."""
    idp, protocol_id = loaded
    if len(protocol_id) > 64:
        raise BadRequest("The id of a protocol has at most 64 characters.")
    if entities.find(tx, _P, idp_id=idp.id, id=protocol_id) is not None:
        raise Duplicate(kind="protocol", name=protocol_id)
    _check_mapping(tx, new.mapping_id)
    tx.insert(
        _P,
        id=protocol_id,
        idp_id=idp.id,
        mapping_id=new.mapping_id,
        remote_id_attribute=new.get("remote_id_attribute"),
    )
    return _shown_protocol(ctx, _load_protocol(ctx, tx, idp.id, protocol_id))


@operation(
    "GET",
    _BASE + "/{idp_id}/protocols",
    policy="identity:list_protocols",
    items=Protocol,
    response_wrap="protocols",
    load=_load,
    target=_no_target,
    errors=(Missing,),
)
def list_protocols(ctx: Context, tx: Tx, idp: Any) -> Any:
    """List the protocols of an identity provider."""
    return [_shown_protocol(ctx, row) for row in entities.listed(tx, _P, [_P.c.idp_id == idp.id])]


@operation(
    "GET",
    _BASE + "/{idp_id}/protocols/{protocol_id}",
    policy="identity:get_protocol",
    response=Protocol,
    response_wrap="protocol",
    load=_load_protocol,
    target=_no_target,
    errors=(Missing,),
)
def show_protocol(ctx: Context, tx: Tx, protocol: Any) -> Any:
    """Show a protocol."""
    return _shown_protocol(ctx, protocol)


@operation(
    "PATCH",
    _BASE + "/{idp_id}/protocols/{protocol_id}",
    policy="identity:update_protocol",
    wrap="protocol",
    request=ProtocolUpdate,
    response=Protocol,
    load=_load_protocol,
    target=_no_target,
    errors=(Missing, BadRequest),
)
def update_protocol(ctx: Context, tx: Tx, protocol: Any, new: ProtocolUpdate) -> Any:
    """Change a protocol."""
    if new.has("mapping_id"):
        _check_mapping(tx, new.mapping_id)
    values = common.given(new)
    if values:
        tx.update(_P, sa.and_(_P.c.idp_id == protocol.idp_id, _P.c.id == protocol.id), **values)
    return _shown_protocol(ctx, _load_protocol(ctx, tx, protocol.idp_id, protocol.id))


@operation(
    "DELETE",
    _BASE + "/{idp_id}/protocols/{protocol_id}",
    policy="identity:delete_protocol",
    load=_load_protocol,
    target=_no_target,
    errors=(Missing,),
)
def delete_protocol(ctx: Context, tx: Tx, protocol: Any) -> None:
    """Take a protocol from an identity provider."""
    tx.delete(_P, sa.and_(_P.c.idp_id == protocol.idp_id, _P.c.id == protocol.id))

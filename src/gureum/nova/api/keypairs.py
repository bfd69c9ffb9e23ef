"""Key pairs. API reference: "Keypairs (keypairs)"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gureum.core.context import Context
from gureum.core.db.engine import Tx
from gureum.core.spec import (
    Behaviour,
    Boolean,
    Change,
    Enum,
    Id,
    Integer,
    Nested,
    Page,
    String,
    Struct,
    Time,
    operation,
)
from gureum.nova.api.links import next_query
from gureum.nova.deps import Deps
from gureum.nova.errors import Bad, Exists, KeypairNotFound, MarkerNotFound, OverQuota
from gureum.nova.logic import keypairs
from gureum.nova.policy import PREFIX


class KeypairBrief(Struct):
    """A key pair in a list."""

    name = String("Name.")
    public_key = String("Public key.", max=None)
    fingerprint = String("Fingerprint.")
    type = String("ssh or x509.", since="2.2")


class KeypairShown(KeypairBrief):
    """A key pair."""

    user_id = String("Owner.")
    created_at = Time("When it was made.", form="us")
    updated_at = Time("When it was changed.", form="us")
    deleted = Boolean("Always false.")
    deleted_at = Time("Always null.", form="us")
    id = Integer("Number.")


class KeypairMade(KeypairBrief):
    """A new key pair; the private key is shown this once."""

    user_id = String("Owner.")
    private_key = String("Private key.", max=None)


class KeypairItem(Struct):
    """An item of the list."""

    keypair = Nested(KeypairBrief, "The key pair.")


class OwnerQuery(Struct, extra="ignore", forbid_since="2.75"):
    """Whose key pair."""

    user_id = Id("For administrators: another user.", since="2.10")


class KeypairQuery(OwnerQuery):
    """Whose key pairs, and paging."""

    limit = Integer("Most items.", min=0, since="2.35")
    marker = String("Name of the last key pair of the page before.", since="2.35")


class KeypairCreate(Struct):
    """A key to import, or the wish for a new pair."""

    name = String("Name.", required=True, min=1, printable=True, no_outer_space=True)
    public_key_old = String(
        "Public key; made when absent.", key="public_key", max=65535, until="2.91"
    )
    public_key = String("Public key.", max=65535, required=True, since="2.92")
    type = Enum("Kind of key.", "ssh", "x509", since="2.2", default="ssh")
    user_id = Id("For administrators: another user.", since="2.10")
    more_characters = Behaviour("Names may have @ and dots.", since="2.92")


def _lift(values: dict[str, Any]) -> None:
    if "public_key_old" in values:
        values["public_key"] = values.pop("public_key_old")


def _owned(ctx: Context, loaded: Any, new: Any) -> Mapping[str, Any]:
    given = new.get("user_id") if new is not None else None
    return {"project_id": ctx.project_id, "user_id": given or ctx.user_id}


def _allow(ctx: Context, deps: Deps, rule: str, user_id: str) -> None:
    deps.policy.enforce(PREFIX + rule, ctx, {"project_id": ctx.project_id, "user_id": user_id})


@operation(
    "GET",
    "/os-keypairs",
    policy=PREFIX + "os-keypairs:index",
    query=KeypairQuery,
    items=KeypairItem,
    response_wrap="keypairs",
    errors=(MarkerNotFound,),
    kept=True,
)
def list_keypairs(ctx: Context, tx: Tx, query: KeypairQuery) -> Page:
    """List the caller's key pairs."""
    user_id = keypairs.owner(ctx, query)
    _allow(ctx, tx.deps, "os-keypairs:index", user_id)
    found, more = keypairs.find(tx, user_id, query, tx.deps.options.max_limit)
    following = next_query(query, found[-1].name, query.get("limit")) if more and found else None
    return Page([{"keypair": row} for row in found], following)


@operation(
    "GET",
    "/os-keypairs/{keypair_name}",
    policy=PREFIX + "os-keypairs:show",
    query=OwnerQuery,
    response=KeypairShown,
    response_wrap="keypair",
    errors=(KeypairNotFound,),
    kept=True,
)
def show_keypair(ctx: Context, tx: Tx, name: str, query: OwnerQuery) -> Any:
    """Show a key pair."""
    user_id = keypairs.owner(ctx, query)
    _allow(ctx, tx.deps, "os-keypairs:show", user_id)
    row = keypairs.get(tx, user_id, name)
    return {**row._mapping, "id": row.number, "deleted": False, "deleted_at": None}


@operation(
    "POST",
    "/os-keypairs",
    policy=PREFIX + "os-keypairs:create",
    wrap="keypair",
    request=KeypairCreate,
    response=KeypairMade,
    manual=True,
    changes=(
        Change("status was 200", "2.2", status=200),
        Change("keys were made", "2.92", up=_lift),
    ),
    target=_owned,
    errors=(Bad, Exists, OverQuota),
)
def create_keypair(ctx: Context, deps: Deps, new: KeypairCreate) -> Any:
    """Import a public key; up to microversion 2.91, make a pair when none is given."""
    values = keypairs.prepare(ctx, new)
    return deps.api.retrying(lambda tx: keypairs.create(tx, values))


@operation(
    "DELETE",
    "/os-keypairs/{keypair_name}",
    policy=PREFIX + "os-keypairs:delete",
    query=OwnerQuery,
    changes=(Change("status was 202", "2.2", status=202),),
    errors=(KeypairNotFound,),
)
def delete_keypair(ctx: Context, tx: Tx, name: str, query: OwnerQuery) -> None:
    """Delete a key pair; servers keep the key they were made with."""
    user_id = keypairs.owner(ctx, query)
    _allow(ctx, tx.deps, "os-keypairs:delete", user_id)
    keypairs.delete(tx, user_id, name)

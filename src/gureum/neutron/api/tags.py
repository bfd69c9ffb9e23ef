"""Tags of resources. Follows: Network API v2.0, "Tag extension"."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    BadRequest,
    Conflict,
    ListOf,
    NotFound,
    Reply,
    String,
    Struct,
    operation,
)
from gureum.neutron.api.common import View, rule_target
from gureum.neutron.errors import TagNotFound
from gureum.neutron.store import rows
from gureum.neutron.store import tables as t
from gureum.neutron.store.address_groups import ADDRESS_GROUP
from gureum.neutron.store.networks import NETWORK
from gureum.neutron.store.ports import PORT
from gureum.neutron.store.query import Noun, load
from gureum.neutron.store.routers import FLOATINGIP, ROUTER
from gureum.neutron.store.security_groups import RULE, SECURITY_GROUP
from gureum.neutron.store.subnetpools import SUBNETPOOL
from gureum.neutron.store.subnets import SUBNET

NOUNS: dict[str, Noun] = {
    "networks": NETWORK,
    "subnets": SUBNET,
    "ports": PORT,
    "routers": ROUTER,
    "floatingips": FLOATINGIP,
    "security-groups": SECURITY_GROUP,
    "security_groups": SECURITY_GROUP,
    "security-group-rules": RULE,
    "subnetpools": SUBNETPOOL,
    "address-groups": ADDRESS_GROUP,
}
_MOST = 50
_MAX_CHARS = 255


class TagQuota(Conflict):
    """A resource has as many tags as it may."""

    code, text = "too_many_tags", "A resource can have at most {quota} tags."


class Tags(Struct):
    """Tags of a resource."""

    tags = ListOf(String("", min=1, max=_MAX_CHARS), "Tags.", required=True, unique=True, max=_MOST)


def load_tagged(ctx: Context, tx: Tx, resource_type: str, resource_id: str, *more: str) -> View:
    """Return the resource and the caller's right to see it. Raises: NotFound of its noun."""
    noun = NOUNS.get(resource_type)
    if noun is None:
        raise NotFound()
    view = load(ctx, tx, noun, resource_id)
    return {**view, "_noun": noun, "_tag": more[0] if more else None}


def _enforce(ctx: Context, tx: Tx, verb: str, view: View) -> None:
    """The rule depends on the kind of resource: its own tags rule."""
    noun: Noun = view["_noun"]
    target = rule_target({k: v for k, v in view.items() if not k.startswith("_")})
    if verb != "get" and target["project_id"] == "":
        target["project_id"] = target["tenant_id"] = "-"
    tx.deps.policy.enforce(f"{verb}_{noun.one}s_tags", ctx, target)


def _write(tx: Tx, view: View, wanted: list[str]) -> None:
    if len(wanted) > _MOST:
        raise TagQuota(quota=_MOST)
    have = set(view["tags"])
    gone, fresh = have - set(wanted), [tag for tag in wanted if tag not in have]
    c = t.tags.c
    if gone:
        tx.delete(t.tags, sa.and_(c.resource_id == view["id"], c.tag.in_(gone)))
    tx.insert_many(t.tags, [{"resource_id": view["id"], "tag": tag} for tag in fresh])
    if gone or fresh:
        rows.touch(tx, view["_noun"].table, view["id"])


def _tag(view: View) -> str:
    tag: str = view["_tag"]
    if not 1 <= len(tag) <= _MAX_CHARS:
        raise BadRequest(
            f"Invalid input for operation: '{tag[:40]}' exceeds maximum length of 255."
        )
    return tag


_PATH = "/{resource_type}/{resource_id}/tags"


@operation("GET", _PATH, policy="regular_user", load=load_tagged)
def list_tags(ctx: Context, tx: Tx, view: View) -> Any:
    """List the tags of a resource."""
    _enforce(ctx, tx, "get", view)
    return Reply({"tags": view["tags"]})


@operation("PUT", _PATH, policy="regular_user", load=load_tagged, request=Tags)
def replace_tags(ctx: Context, tx: Tx, view: View, new: Any) -> Any:
    """Replace the tags of a resource."""
    _enforce(ctx, tx, "update", view)
    _write(tx, view, list(new.tags))
    return Reply({"tags": sorted(new.tags)})


@operation("POST", _PATH, policy="regular_user", load=load_tagged, request=Tags)
def add_tags(ctx: Context, tx: Tx, view: View, new: Any) -> Any:
    """Add tags to a resource."""
    _enforce(ctx, tx, "create", view)
    wanted = sorted({*view["tags"], *new.tags})
    _write(tx, view, wanted)
    return Reply({"tags": wanted})


@operation("DELETE", _PATH, policy="regular_user", load=load_tagged)
def remove_all_tags(ctx: Context, tx: Tx, view: View) -> None:
    """Remove every tag of a resource."""
    _enforce(ctx, tx, "delete", view)
    _write(tx, view, [])


@operation(
    "GET",
    _PATH + "/{tag}",
    policy="regular_user",
    load=load_tagged,
    status=204,
    errors=(TagNotFound,),
)
def confirm_tag(ctx: Context, tx: Tx, view: View) -> None:
    """Say whether a resource has a tag."""
    _enforce(ctx, tx, "get", view)
    if view["_tag"] not in view["tags"]:
        raise TagNotFound(tag=view["_tag"])


@operation("PUT", _PATH + "/{tag}", policy="regular_user", load=load_tagged, status=201)
def add_tag(ctx: Context, tx: Tx, view: View) -> Any:
    """Add a tag to a resource."""
    _enforce(ctx, tx, "update", view)
    _write(tx, view, sorted({*view["tags"], _tag(view)}))
    return Reply(raw=b"")


@operation(
    "DELETE",
    _PATH + "/{tag}",
    policy="regular_user",
    load=load_tagged,
    errors=(TagNotFound,),
)
def remove_tag(ctx: Context, tx: Tx, view: View) -> None:
    """Remove a tag from a resource."""
    _enforce(ctx, tx, "delete", view)
    if view["_tag"] not in view["tags"]:
        raise TagNotFound(tag=view["_tag"])
    _write(tx, view, [tag for tag in view["tags"] if tag != view["_tag"]])

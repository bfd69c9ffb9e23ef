"""Tags of resources. Follows: Network API v2.0, "Tag extension"."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    BadRequest,
    Conflict,
    ListOf,
    Operation,
    Reply,
    String,
    Struct,
    operation,
)
from gureum.neutron.api.common import View, loader, rule_target
from gureum.neutron.errors import TagNotFound
from gureum.neutron.store import rows
from gureum.neutron.store import tables as t
from gureum.neutron.store.address_groups import ADDRESS_GROUP
from gureum.neutron.store.networks import NETWORK
from gureum.neutron.store.ports import PORT
from gureum.neutron.store.query import Noun
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


class TagList(Struct):
    """Tags of a resource."""

    tags = ListOf(String(""), "Tags.")


def _loader(noun: Noun, rule: str) -> Any:
    find = loader(noun, rule)

    def found(ctx: Context, tx: Tx, resource_id: str, *tag: str) -> View:
        return {**find(ctx, tx, resource_id), "_noun": noun, "_tag": tag[0] if tag else ""}

    return found


def _target(ctx: Context, view: View, new: Any) -> Any:
    return rule_target({k: v for k, v in view.items() if not k.startswith("_")})


def list_tags(ctx: Context, tx: Tx, view: View) -> Any:
    """List the tags of a resource."""
    return {"tags": view["tags"]}


def replace_tags(ctx: Context, tx: Tx, view: View, new: Any) -> Any:
    """Replace the tags of a resource."""
    _write(tx, view, list(new.tags))
    return {"tags": sorted(new.tags)}


def add_tags(ctx: Context, tx: Tx, view: View, new: Any) -> Any:
    """Add tags to a resource."""
    wanted = sorted({*view["tags"], *new.tags})
    _write(tx, view, wanted)
    return {"tags": wanted}


def remove_all_tags(ctx: Context, tx: Tx, view: View) -> None:
    """Remove every tag of a resource."""
    _write(tx, view, [])


def confirm_tag(ctx: Context, tx: Tx, view: View) -> None:
    """Say whether a resource has a tag."""
    if view["_tag"] not in view["tags"]:
        raise TagNotFound(tag=view["_tag"])


def add_tag(ctx: Context, tx: Tx, view: View) -> Any:
    """Add a tag to a resource."""
    _write(tx, view, sorted({*view["tags"], _tag(view)}))
    return Reply(raw=b"")


def remove_tag(ctx: Context, tx: Tx, view: View) -> None:
    """Remove a tag from a resource."""
    if view["_tag"] not in view["tags"]:
        raise TagNotFound(tag=view["_tag"])
    _write(tx, view, [tag for tag in view["tags"] if tag != view["_tag"]])


_VERBS: tuple[tuple[str, str, str, Any, dict[str, Any]], ...] = (
    ("GET", "", "get", list_tags, {"response": TagList}),
    ("PUT", "", "update", replace_tags, {"request": Tags, "response": TagList}),
    ("POST", "", "create", add_tags, {"request": Tags, "response": TagList, "status": 200}),
    ("DELETE", "", "delete", remove_all_tags, {}),
    ("GET", "/{tag}", "get", confirm_tag, {"status": 204, "errors": (TagNotFound,)}),
    ("PUT", "/{tag}", "update", add_tag, {"status": 201}),
    ("DELETE", "/{tag}", "delete", remove_tag, {"errors": (TagNotFound,)}),
)


def _declare(collection: str, noun: Noun) -> list[Operation]:
    """Declare the operations on the tags of one kind of resource."""
    made = []
    for method, tail, verb, handler, more in _VERBS:
        rule = f"{verb}_{noun.one}s_tags"
        declared = operation(
            method,
            f"/{collection}/{{{noun.one}_id}}/tags{tail}",
            policy=rule,
            load=_loader(noun, rule),
            target=_target,
            **more,
        )(handler)
        made.append(replace(declared, name=f"{handler.__name__}_of_{noun.one}"))
    return made


OPERATIONS: list[Operation] = [
    declared for collection, noun in NOUNS.items() for declared in _declare(collection, noun)
]

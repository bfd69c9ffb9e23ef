"""The events of the network service: `network.create.end` with the network, and so on for every noun.

Follows the names and payloads that telemetry services read: a created or changed resource under its name, a
deleted one under its name and as `NOUN_id`. Changes that agents report (a port's status) are no events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gureum.core.announce import Done, Notice, Notices
from gureum.core.events import Fact, Source
from gureum.core.spec import Operation

_VERBS = {"POST": "create", "PUT": "update", "DELETE": "delete"}
_INTERFACES = {"add_router_interface": "create", "remove_router_interface": "delete"}
_TOLD_OF_DELETED = ("id", "name", "project_id", "tenant_id")


def _noun(collection: str) -> str:
    """Return `rbac_policy` for `rbac-policies`."""
    name = collection.replace("-", "_")
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name[:-2] if name.endswith("sses") else name.removesuffix("s")


def of(op: Operation) -> Notice | None:
    """Return the notice of an operation; schedules of agents and what only reads have none."""
    verb = _VERBS.get(op.method)
    parts = op.path.strip("/").split("/")
    fixed = [part for part in parts if not part.startswith("{")]
    if verb is None or fixed[-1] in ("dhcp-networks", "l3-routers"):
        return None
    if op.name in _INTERFACES:
        return _interface(_INTERFACES[op.name])
    if "tags" in fixed:
        return _tags(_noun(fixed[0]), op)
    nested = len(parts) == 2 * len(fixed) or op.method == "POST"  # else the last word is a verb
    noun = _noun(fixed[-1] if nested else fixed[0])
    return _deleted(noun) if verb == "delete" else _made(noun, verb)


def _made(noun: str, verb: str) -> Notice:
    def facts(done: Done) -> Iterable[Fact]:
        answer = done.answer
        named = isinstance(answer, Mapping) and (noun in answer or f"{noun}s" in answer)
        yield Fact(f"{noun}.{verb}.end", answer if named else {noun: answer})

    return facts


def _deleted(noun: str) -> Notice:
    def facts(done: Done) -> Iterable[Fact]:
        gone = _as_mapping(done.target[0])
        gone = gone.get("_forwarding") or gone  # the child of a floating IP
        kept = {name: gone[name] for name in _TOLD_OF_DELETED if name in gone}
        yield Fact(f"{noun}.delete.end", {f"{noun}_id": kept.get("id"), noun: kept})

    return facts


def _interface(verb: str) -> Notice:
    def facts(done: Done) -> Iterable[Fact]:
        yield Fact(f"router.interface.{verb}", {"router_interface": done.answer})

    return facts


def _tags(parent: str, op: Operation) -> Notice:
    whole = op.path.endswith("/tags")
    verb = "delete_all" if op.method == "DELETE" and whole else _VERBS[op.method]

    def facts(done: Done) -> Iterable[Fact]:
        view = _as_mapping(done.target[0])
        payload: dict[str, Any] = {"parent_resource": parent, "parent_resource_id": view.get("id")}
        if done.answer is not None:
            payload["tags"] = done.answer["tags"]
        elif view.get("_tag"):
            payload["tags"] = [view["_tag"]]
        yield Fact(f"tag.{verb}.end", payload)

    return facts


def _as_mapping(target: Any) -> Mapping[str, Any]:
    if isinstance(target, Mapping):
        return target
    if isinstance(target, str):
        return {"id": target}
    return {name: getattr(target, name) for name in _TOLD_OF_DELETED if hasattr(target, name)}


NOTICES = Notices(Source("network", "neutron"), of)

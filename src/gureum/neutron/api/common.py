"""What the operations of every noun share: standard attributes, list queries, bulk bodies, ownership.

Follows: Network API v2.0, "Filtering and column selection", "Bulk-create", "Sorting", "Pagination".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.policy import Policy
from gureum.core.spec import (
    UNSET,
    BadRequest,
    Boolean,
    Integer,
    Invalid,
    ListOf,
    Nested,
    Operation,
    Page,
    String,
    Struct,
    Time,
    Version,
)
from gureum.neutron.store.query import Noun, load, sees_all

_BULK_MAX = 250
PREFIX = "/v2.0"

View = dict[str, Any]


class ShowQuery(Struct, extra="ignore"):
    """The query of a single resource."""

    fields_ = ListOf(String(""), "Attributes to show.", key="fields")

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value; `fields` is a word that Struct itself uses."""
        return super().get("fields_" if name == "fields" else name, default)


class ListQuery(ShowQuery, extra="keep"):
    """The query of every list. Everything else is a filter by an attribute of that name."""

    sort_key = ListOf(String(""), "Attributes to sort by.")
    sort_dir = ListOf(String(""), "asc or desc, one a sort_key.")
    limit = String("Most items of the answer.")
    marker = String("Id of the last item of the page before.")
    page_reverse = Boolean("Read backwards from the marker.")


class Unnamed(Struct):
    """Attributes of every resource."""

    id = String("Id.")
    description = String("Free text.")
    project_id = String("Owner.")
    tenant_id = String("Owner, under its older name.")
    created_at = Time("When it was made.")
    updated_at = Time("When it was last changed.")
    revision_number = Integer("Counts the changes.")
    tags = ListOf(String(""), "Tags.")


class Standard(Unnamed):
    """Attributes of every resource with a name."""

    name = String("Name.")


class UnnamedCreate(Struct):
    """Attributes that every new resource may have."""

    description = String("Free text.", default="")
    project_id = String("Owner; another one than the caller's project needs an admin.")
    tenant_id = String("Owner, under its older name.")


class StandardCreate(UnnamedCreate):
    """Attributes that every new resource with a name may have."""

    name = String("Name.", default="")


class UnnamedUpdate(Struct):
    """Attributes that every resource lets change."""

    description = String("Free text.")


class StandardUpdate(UnnamedUpdate):
    """Attributes that every resource with a name lets change."""

    name = String("Name.")


class _Item(Nested):
    """One of a bulk body: the resource itself, or with its key around it as some clients send."""

    def __init__(self, one: str, create: type[Struct]) -> None:
        super().__init__(create, "")
        self._one = one

    def parser(self, version: Version) -> Callable[[Any, str], Any]:
        inner, one = super().parser(version), self._one

        def parse(value: Any, path: str) -> Any:
            wrapped = isinstance(value, dict) and len(value) == 1 and one in value
            return inner(value[one] if wrapped else value, path)

        return parse


def bulk(one: str, many: str, create: type[Struct]) -> type[Struct]:
    """Return the body of a creation: one resource, or a list of them."""

    def check(self: Any) -> None:
        if self.has(one) == self.has(many):
            raise Invalid(one, f"the body must have the key {one!r} or {many!r}")

    return type(
        f"{create.__name__}Body",
        (Struct,),
        {
            "__doc__": f"New {many}.",
            one: Nested(create, f"The new {one}."),
            many: ListOf(
                _Item(one, create), f"Several new {many}, all or none.", min=1, max=_BULK_MAX
            ),
            "check": check,
        },
    )


def bulk_answer(one: str, many: str, shown: type[Struct]) -> type[Struct]:
    """Return the answer of a creation."""
    return type(
        f"{shown.__name__}Made",
        (Struct,),
        {
            "__doc__": f"New {many}.",
            one: Nested(shown, f"The new {one}."),
            many: ListOf(shown, f"The new {many}."),
        },
    )


def create_all(
    ctx: Context,
    tx: Tx,
    body: Struct,
    one: str,
    many: str,
    shown: type[Struct],
    make: Callable[[Context, Tx, Any], View],
) -> dict[str, Any]:
    """Make what a bulk body asks for; all or none, since it is one transaction."""
    if body.has(one):
        return {one: hide(ctx, tx.deps.policy, shown, make(ctx, tx, body.get(one)))}
    views = [make(ctx, tx, new) for new in body.get(many)]
    return {many: [hide(ctx, tx.deps.policy, shown, view) for view in views]}


def hide(ctx: Context, policy: Policy, shown: type[Struct], view: View) -> View:
    """Take away the attributes that the caller may not see."""
    target = rule_target(view)
    memo: dict[str, bool] = {}
    out = dict(view)
    for name, declared in shown.fields.items():
        rule = declared.policy
        if rule is None or name not in out:
            continue
        if rule not in memo:
            memo[rule] = policy.allows(rule, ctx, target)
        if not memo[rule]:
            del out[name]
    return out


def rule_target(view: Mapping[str, Any], **parents: Any) -> dict[str, Any]:
    """Return what rules are checked against: the attributes, both names of the owner, parents."""
    target = {**view, **parents}
    target["tenant_id"] = target.get("project_id", "")
    if "router_external" in target:
        target["router:external"] = target["router_external"]
    return target


def view_target(ctx: Context, loaded: Any, new: Any) -> Mapping[str, Any]:
    """The `target` hook of operations on a loaded view."""
    changed = {}
    if isinstance(new, Struct) and new.has("device_owner"):
        changed = {"device_owner": new.get("device_owner")}
    return rule_target({**loaded, **changed})


def owner(ctx: Context, new: Struct) -> str:
    """Return the project that a new resource will belong to. Raises: BadRequest."""
    first, second = new.get("project_id"), new.get("tenant_id")
    if first and second and first != second:
        raise BadRequest("'project_id' and 'tenant_id' have been specified but are different")
    asked = first or second
    if asked and asked != ctx.project_id and not sees_all(ctx):
        raise BadRequest(
            "Specifying 'project_id' or 'tenant_id' other than the authenticated project in"
            " request requires admin privileges"
        )
    if not asked and not ctx.project_id:
        raise BadRequest("Running without keystone AuthN requires that tenant_id is specified")
    return asked or ctx.project_id or ""


def enforce_create(
    ctx: Context, policy: Policy, rule: str, new: Struct, target: Mapping[str, Any]
) -> None:
    """Check the rule of a creation and of each attribute that is not at its default.

    Raises: PolicyForbidden.
    """
    policy.enforce(rule, ctx, target)
    for name, declared in new.fields.items():
        if declared.policy is None or not new.has(name):
            continue
        value = new.get(name)
        if value is UNSET or value == declared.default:
            continue
        policy.enforce(declared.policy, ctx, target)


def loader(
    noun: Noun, rule: str | None = None, find: Callable[[Context, Tx, str], View] | None = None
) -> Callable[[Context, Tx, str], View]:
    """Return the `load` of a noun.

    rule: what the caller wants to do. Who may see somebody else's resource but not do that is told
    that there is no such thing; on an own resource the dispatcher says 403.
    """

    def found(ctx: Context, tx: Tx, row_id: str) -> View:
        view = find(ctx, tx, row_id) if find is not None else load(ctx, tx, noun, row_id)
        if (
            rule is not None
            and view["project_id"] != ctx.project_id
            and not tx.deps.policy.allows(rule, ctx, rule_target(view))
        ):
            raise noun.not_found(id=row_id)
        return view

    return found


def list_keys(ctx: Context, path: str, wrap: str, page: Page) -> Mapping[str, Any]:
    """Add the links to the next and the previous page."""
    base = ctx.base_url.removesuffix(PREFIX) + path
    links: list[dict[str, str]] = []
    if page.next_query:
        links.append({"rel": "next", "href": f"{base}?{page.next_query}"})
    if page.previous_query:
        links.append({"rel": "previous", "href": f"{base}?{page.previous_query}"})
    return {f"{wrap}_links": links} if links else {}


def also_dashed(operations: Sequence[Operation]) -> list[Operation]:
    """Return the operations, and again under the spelling of the collection that other clients use."""
    again = []
    for declared in operations:
        collection, slash, rest = declared.path[1:].partition("/")
        path = "/" + collection.replace("_", "-") + slash + rest
        again.append(replace(declared, path=path, name=f"{declared.name}_dashed"))
    return [*operations, *again]

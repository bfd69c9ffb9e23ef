"""Listing servers: who may filter and sort by what, and what the words of a filter mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gureum.core.context import Context
from gureum.core.spec import Struct
from gureum.core.spec.errors import Forbidden
from gureum.nova import model
from gureum.nova.deps import Deps
from gureum.nova.errors import Bad, MarkerNotFound
from gureum.nova.logic.flavors import page_size
from gureum.nova.policy import PREFIX
from gureum.nova.store import mappings, server_lists
from gureum.nova.store.server_lists import Entry, Filters, Sort

_TRUE = frozenset({"", "1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no"})

_ADMIN_SORT = ("host", "node")

EVERYBODYS = {
    "availability_zone": "availability_zone",
    "config_drive": "config_drive",
    "created_at": "created_at",
    "key_name": "key_name",
    "launched_at": "launched_at",
    "power_state": "power_state",
    "progress": "progress",
    "terminated_at": "terminated_at",
    "user_id": "user_id",
}
"""Filters that ordinary users have since microversion 2.83 -> the column."""

ADMINS = {
    **EVERYBODYS,
    "access_ip_v4": "access_ip_v4",
    "access_ip_v6": "access_ip_v6",
    "auto_disk_config": "auto_disk_config",
    "description": "description",
    "host": "host",
    "hostname": "hostname",
    "kernel_id": "kernel_id",
    "launch_index": "launch_index",
    "locked_by": "locked_by",
    "node": "node",
    "ramdisk_id": "ramdisk_id",
    "root_device_name": "root_device_name",
    "uuid": "uuid",
}


def find(ctx: Context, deps: Deps, query: Struct, *, detail: bool) -> tuple[list[Entry], bool]:
    """Return a page of servers and whether more follow.

    Raises: Bad, MarkerNotFound, PolicyForbidden.
    """
    filters = _filters(ctx, deps, query, detail=detail)
    sort = _sort(ctx, query)
    marker = None
    if query.get("marker") is not None:
        marker = _marker(deps, query.get("marker"), filters, sort)
    return server_lists.find_page(
        deps.cells,
        filters,
        sort=sort,
        marker=marker,
        limit=page_size(query.get("limit"), deps.options.max_limit),
        columns=server_lists.DETAIL if detail else server_lists.BRIEF,
    )


def _marker(deps: Deps, server_id: str, filters: Filters, sort: Sort) -> tuple[Any, ...]:
    with deps.api.read() as tx:
        mapping = mappings.get(tx, server_id)
    mine = mapping is not None and filters.project_id in (None, mapping.project_id)
    if mapping is not None and mine and mapping.cell in deps.cells:
        with deps.cells[mapping.cell].read() as tx:
            values = server_lists.sort_values(tx, server_id, sort)
        if values is not None:
            return values
    raise MarkerNotFound(marker=server_id)


def _sort(ctx: Context, query: Struct) -> Sort:
    keys, directions = query.get("sort_key") or (), query.get("sort_dir") or ()
    if not ctx.is_admin:
        for key in keys:
            if key in _ADMIN_SORT:
                raise Forbidden(f"Only administrators can sort servers by {key}")
    default = directions[0] if directions else "desc"
    sort = [
        (key, (directions[index] if index < len(directions) else default) == "desc")
        for index, key in enumerate(keys)
    ]
    named = {key for key, _ in sort}
    sort += [(key, default == "desc") for key in ("created_at",) if key not in named]
    return [pair for pair in sort if pair[0] != "uuid"] + [("uuid", default == "desc")]


def flag(value: str, name: str) -> bool:
    """Read a yes or no of a query. Raises: Bad."""
    word = value.strip().lower()
    if word not in _TRUE | _FALSE:
        raise Bad(f"Invalid input for query parameters {name}. Value: {value[:64]}.")
    return word in _TRUE


def pattern(value: str, name: str) -> str:
    """Check a regular expression that the database will match. Raises: Bad.

    Few repetitions and no repeated groups: what is left cannot take the database long.
    """
    try:
        re.compile(value)
    except re.error as error:
        raise Bad(f"Invalid regular expression in filter {name}: {error}") from error
    plain = re.sub(r"\\.", "x", value)
    if len(re.findall(r"[*+?{]", plain)) > 4 or re.search(r"\)[*+?{]", plain):
        raise Bad(f"The regular expression in filter {name} is too complicated.")
    return value


def _filters(ctx: Context, deps: Deps, query: Struct, *, detail: bool) -> Filters:
    own = {"project_id": ctx.project_id}
    everything = deps.policy.allows(PREFIX + "servers:allow_all_filters", ctx, own)
    project_id: str | None = ctx.project_id
    if query.get("all_tenants") is not None and flag(query.get("all_tenants"), "all_tenants"):
        rule = "servers:detail:get_all_tenants" if detail else "servers:index:get_all_tenants"
        deps.policy.enforce(PREFIX + rule, ctx, own)
        project_id = query.get("project_id") or query.get("tenant_id")
    vm_states, task_states = _states(query, everything=everything)
    return Filters(
        project_id=project_id,
        deleted=_deleted(query, everything=everything),
        vm_states=vm_states,
        task_states=task_states,
        flavor_id=_last_part(query.get("flavor")),
        image_id=_last_part(query.get("image")),
        name=_optional_pattern(query, "name"),
        ip=_optional_pattern(query, "ip"),
        ip6=_ip6(query, everything=everything),
        changes_since=query.get("changes_since"),
        changes_before=_before(query),
        tags=query.get("tags") or (),
        tags_any=query.get("tags_any") or (),
        not_tags=query.get("not_tags") or (),
        not_tags_any=query.get("not_tags_any") or (),
        locked=None if query.get("locked") is None else flag(query.get("locked"), "locked"),
        equal=_equal(query, everything=everything),
    )


def _last_part(value: str | None) -> str | None:
    return None if value is None else value.rstrip("/").rsplit("/", 1)[-1]


def _optional_pattern(query: Struct, name: str) -> str | None:
    return None if query.get(name) is None else pattern(query.get(name), name)


def _ip6(query: Struct, *, everything: bool) -> str | None:
    if query.get("ip6") is None or not (everything or query.get("ip6_for_all")):
        return None
    return pattern(query.get("ip6"), "ip6")


def _before(query: Struct) -> Any:
    since, before = query.get("changes_since"), query.get("changes_before")
    if since is not None and before is not None and since > before:
        raise Bad("The value of changes-since must be less than or equal to changes-before.")
    return before


def _deleted(query: Struct, *, everything: bool) -> bool | None:
    if everything and query.get("deleted") is not None:
        return flag(query.get("deleted"), "deleted")
    changed = query.get("changes_since") is not None or query.get("changes_before") is not None
    return None if changed else False


def _states(
    query: Struct, *, everything: bool
) -> tuple[Sequence[str] | None, Sequence[str] | None]:
    vm_states: list[str] | None = None
    task_states: list[str] = []
    if query.get("status"):
        vm_states = []
        for word in query.get("status"):
            found = model.states_of_status(word)
            if found is None and query.get("strict_status"):
                raise Bad(f"Invalid status value: {word[:64]}")
            if found is not None:
                vm_states += found[0]
                task_states += found[1]
    if everything or query.get("filters_for_all"):
        if query.get("vm_state"):
            asked = list(query.get("vm_state"))
            vm_states = asked if vm_states is None else [s for s in vm_states if s in asked]
        task_states += query.get("task_state") or ()
    return vm_states, task_states or None


def _equal(query: Struct, *, everything: bool) -> Mapping[str, Sequence[Any]]:
    allowed = ADMINS if everything else EVERYBODYS if query.get("filters_for_all") else {}
    found: dict[str, Sequence[Any]] = {}
    for name, column in allowed.items():
        value = query.get(name)
        if value is None:
            continue
        if name == "config_drive":
            value = flag(value, name)
        found[column] = (value,)
    if query.get("reservation_id") is not None:
        found["reservation_id"] = (query.get("reservation_id"),)
    return found

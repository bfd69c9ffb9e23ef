"""Shapes and small helpers that several nouns of Keystone share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gureum.core.context import Context
from gureum.core.spec import Id, Integer, InvalidField, Json, Page, String, Struct


class ListQuery(Struct, extra="keep"):
    """Paging of every list; other parameters are filters."""

    limit = Integer("Most items of the page.", min=1)
    marker = String("The last id of the page before.")
    sort_key = String("Not used: lists are sorted by id.")


class Reference(Struct, extra="ignore"):
    """An id or a name."""

    id = Id("Id.", max=64, null=True)
    name = String("Name.", min=1, null=True)


class Options(Json):
    """The `options` of a resource."""

    def __init__(self) -> None:
        super().__init__("Options of the resource, such as `immutable`.", kinds=(dict,))


def shown(ctx: Context, kind: str, row: Any) -> dict[str, Any]:
    """Return a row with its link to itself."""
    values = dict(row._mapping) if hasattr(row, "_mapping") else dict(row)
    values["links"] = {"self": f"{ctx.base_url}/{kind}/{values['id']}"}
    return values


def page(ctx: Context, kind: str, rows: Sequence[Any], query: Any, limit: int | None) -> Page:
    """Return a page of a list; a full page names the next one."""
    more = None
    if limit is not None and len(rows) == limit:
        more = f"limit={limit}&marker={rows[-1].id}"
    return Page([shown(ctx, kind, row) for row in rows], more)


def listed_domain(ctx: Context, query: ListQuery) -> str | None:
    """Return the one domain that a list is about, or None when it is about all."""
    if ctx.scope == "domain" and not ctx.is_admin:
        return ctx.domain_id
    asked = query.extra_values.get("domain_id")
    return str(asked[-1] if isinstance(asked, list) else asked) if asked else None


def filters(
    query: Any, columns: Mapping[str, type], *, comparisons: Sequence[str] = ("name",)
) -> dict[str, Any]:
    """Pick the filters that a noun has from a query. Unknown parameters are ignored, as documented."""
    found: dict[str, Any] = {}
    for key, values in query.extra_values.items():
        name, _, comparison = key.partition("__")
        if name not in columns or (comparison and name not in comparisons):
            continue
        value = values[-1] if isinstance(values, list) else values
        found[key] = _boolean(key, value) if columns[name] is bool else value
    return found


def _boolean(key: str, value: str) -> bool:
    word = value.strip().lower()
    if word in ("", "1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise InvalidField(path=key, reason=f"{value[:32]!r} is not a boolean.")

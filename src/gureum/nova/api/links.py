"""Links in answers: self and bookmark of a resource, next page of a list."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from gureum.core.context import Context
from gureum.core.spec import ListOf, Page, String, Struct, Unset

PREFIX = "/v2.1"


class Link(Struct):
    """A link."""

    href = String("URL.", max=None)
    rel = String("What it leads to: self, bookmark or next.")


def links_field(text: str = "Links to the resource.", **common: Any) -> ListOf:
    """Return the declaration of a `links` list."""
    return ListOf(Link, text, **common)


def links(ctx: Context, noun: str, name: str) -> list[dict[str, str]]:
    """Return the two links of a resource."""
    return [
        {"rel": "self", "href": f"{ctx.base_url}/{noun}/{name}"},
        bookmark(ctx, noun, name),
    ]


def bookmark(ctx: Context, noun: str, name: str) -> dict[str, str]:
    """Return the link of a resource without a version."""
    return {"rel": "bookmark", "href": f"{ctx.base_url.removesuffix(PREFIX)}/{noun}/{name}"}


def next_query(query: Struct, marker: str, limit: int | None = None) -> str:
    """Return the query string of the next page: the same filters after the marker."""
    pairs: list[tuple[str, str]] = []
    for name in sorted(query.given):
        if name in ("marker", "limit") and (name == "marker" or limit is not None):
            continue
        value = query.get(name)
        key = type(query).fields[name].key
        for item in value if isinstance(value, tuple | list) else (value,):
            if item is not None and not isinstance(item, Unset):
                pairs.append((key, item.isoformat() if isinstance(item, datetime) else str(item)))
    if limit is not None:
        pairs.append(("limit", str(limit)))
    return urlencode([*pairs, ("marker", marker)])


_LINK_KEYS = {"instanceActions": "links"}


def list_keys(ctx: Context, path: str, wrap: str, page: Page) -> Mapping[str, Any]:
    """Return the link to the next page of a list."""
    if page.next_query is None:
        return {}
    where = path[len(PREFIX) :] if path.startswith(PREFIX) else path
    href = f"{ctx.base_url}{where.rstrip('/')}?{page.next_query}"
    return {_LINK_KEYS.get(wrap, f"{wrap}_links"): [{"rel": "next", "href": href}]}

"""Reading the filters of a list of images. Follows Image API v2, "List images"."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from gureum.core.context import Context
from gureum.core.spec import BadRequest
from gureum.glance.logic.access import sees_all
from gureum.glance.model import ACCEPTED, MEMBER_STATUSES, STATUSES, VISIBILITIES
from gureum.glance.store.listing import SORTABLE, Wanted

_AMONG = ("container_format", "disk_format", "id", "name", "status")
_PLAIN = ("owner", "checksum", "os_hash_algo", "os_hash_value")
_WHOLE = ("size", "virtual_size", "min_disk", "min_ram")
_FLAGS = {"true": True, "false": False}
_SECOND = timedelta(seconds=1)
_KNOWN = frozenset(
    {
        *_AMONG,
        *_PLAIN,
        *_WHOLE,
        "visibility",
        "member_status",
        "tag",
        "size_min",
        "size_max",
        "protected",
        "os_hidden",
        "created_at",
        "updated_at",
        "sort",
        "sort_key",
        "sort_dir",
        "limit",
        "marker",
    }
)


def read(ctx: Context, pairs: Sequence[tuple[str, str]]) -> Wanted:
    """Read the filters and the order of a query string. Raises: BadRequest."""
    last = dict(pairs)
    equal: dict[str, Any] = {}
    among: dict[str, list[str]] = {}
    for name in _AMONG:
        if name in last:
            if last[name].startswith("in:"):
                among[name] = split_values(last[name][3:])
            else:
                equal[name] = last[name]
    _check_words("status", [*among.get("status", ()), *_given(equal, "status")], STATUSES)
    for name in _PLAIN:
        if name in last:
            equal[name] = last[name]
    for name in _WHOLE:
        if name in last:
            equal[name] = _number(name, last[name])
    if "protected" in last:
        equal["protected"] = _flag("protected", last["protected"])
    visibility = last.get("visibility")
    _check_words("visibility", _given(last, "visibility"), (*VISIBILITIES, "all"))
    _check_words("member_status", _given(last, "member_status"), (*MEMBER_STATUSES, "all"))
    return Wanted(
        project_id=ctx.project_id,
        sees_all=sees_all(ctx),
        visibility=visibility,
        member_status=last.get("member_status", ACCEPTED),
        hidden=_flag("os_hidden", last.get("os_hidden", "false")),
        equal=equal,
        among=among,
        tags=[value for name, value in pairs if name == "tag"],
        sizes=(_bound(last, "size_min"), _bound(last, "size_max")),
        times=[_time(name, value) for name, value in pairs if name in ("created_at", "updated_at")],
        properties={name: value for name, value in pairs if name not in _KNOWN},
        order=_order(pairs, last),
    )


def split_values(text: str) -> list[str]:
    """Split the values of an `in:` filter; one with a comma stands in double quotes."""
    values: list[str] = []
    rest = text
    while True:
        if rest.startswith('"'):
            value, quote, rest = rest[1:].partition('"')
            if not quote or (rest and not rest.startswith(",")):
                raise BadRequest("Invalid filter value: the quote is not closed.")
            values.append(value)
            if not rest:
                return values
            rest = rest[1:]
            continue
        value, comma, rest = rest.partition(",")
        if '"' in value:
            raise BadRequest("Invalid filter value: a quote stands inside a value.")
        values.append(value)
        if not comma:
            return values


def _given(values: dict[str, Any], name: str) -> list[str]:
    return [values[name]] if name in values else []


def _check_words(name: str, words: Sequence[str], known: Sequence[str]) -> None:
    for word in words:
        if word not in known:
            raise BadRequest(f"Invalid {name} value: {word[:64]}")


def _number(name: str, text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise BadRequest(f"Filter {name} must be a whole number, not {text[:64]!r}.")
    return int(text)


def _bound(values: dict[str, str], name: str) -> int | None:
    return _number(name, values[name]) if name in values else None


def _flag(name: str, text: str) -> bool:
    found = _FLAGS.get(text.lower())
    if found is None:
        raise BadRequest(f"Filter {name} must be true or false, not {text[:64]!r}.")
    return found


def _time(name: str, text: str) -> tuple[str, datetime | None, datetime | None, bool]:
    word, colon, rest = text.partition(":")
    operator = word if colon and word in ("gt", "gte", "eq", "neq", "lt", "lte") else ""
    try:
        moment = datetime.fromisoformat((rest if operator else text).strip().replace(" ", "+"))
    except ValueError:
        raise BadRequest(f"Filter {name} has no valid time: {text[:64]!r}") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    # Times are shown in whole seconds, so a shown time stands for its whole second.
    start = moment.replace(microsecond=0)
    end = start + _SECOND
    bounds: dict[str, tuple[datetime | None, datetime | None]] = {
        "gt": (end, None),
        "gte": (start, None),
        "lt": (None, start),
        "lte": (None, end),
    }
    low, high = bounds.get(operator, (start, end))
    return name, low, high, operator == "neq"


def _order(pairs: Sequence[tuple[str, str]], last: dict[str, str]) -> list[tuple[str, bool]]:
    keys = [value for name, value in pairs if name == "sort_key"]
    dirs = [value for name, value in pairs if name == "sort_dir"]
    if "sort" in last:
        if keys or dirs:
            raise BadRequest("Old and new sorting syntax cannot be combined.")
        chosen = [part.strip().partition(":") for part in last["sort"].split(",")]
        keys = [name for name, _, _ in chosen]
        dirs = [word or "desc" for _, _, word in chosen]
    elif len(dirs) > 1 and len(dirs) != len(keys):
        raise BadRequest("Number of sort dirs does not match the number of sort keys.")
    else:
        keys = keys or ["created_at"]
        dirs = dirs if len(dirs) == len(keys) else (dirs or ["desc"]) * len(keys)
    _check_words("sort_key", keys, SORTABLE)
    _check_words("sort_dir", dirs, ("asc", "desc"))
    order = list(dict(zip(keys, dirs, strict=True)).items())
    return [(name, word == "desc") for name, word in order]

"""A service as data: the table of contents that its `service.py` declares.

Everything the core does for a service (dispatch, policy, migrations, documentation, tests) starts from
this object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from gureum.core.announce import Notices
from gureum.core.context import Context
from gureum.core.policy.rules import Rule
from gureum.core.spec.errors import ApiError
from gureum.core.spec.operations import Operation, Page
from gureum.core.spec.versions import Microversions

ErrorBody = Callable[[ApiError, str], Any]
"""(error, request id) -> the JSON body of an error answer."""

ListKeys = Callable[[Context, str, str, Page], Mapping[str, Any]]
"""(context, request path, response wrap, page) -> extra top-level keys of a list answer."""


@dataclass(frozen=True, slots=True)
class DatabaseSpec:
    """One database of a service. name: as in `nova_cell0`; migrations: a package path."""

    name: str
    tables: sa.MetaData
    migrations: str


def no_list_keys(ctx: Context, path: str, wrap: str, page: Page) -> Mapping[str, Any]:
    """Add nothing to a list answer."""
    return {}


@dataclass(frozen=True, slots=True)
class Service:
    """What one service consists of.

    name: its folder. type: its word in the catalogue. prefix: stands before every operation's path;
    root_operations have none. project_in_path: `/PREFIX/PROJECT_ID/…`
    is accepted and must name the token's project. suffixes: e.g. ".json", dropped from paths.
    lenient_slash: `/things/` is the collection, not an item with an empty id. notices: the events it tells.
    """

    name: str
    type: str
    title: str
    operations: Sequence[Operation]
    rules: Sequence[Rule]
    error_body: ErrorBody
    prefix: str = ""
    root_operations: Sequence[Operation] = ()
    versions: Microversions | None = None
    databases: Sequence[DatabaseSpec] = ()
    options: Sequence[Any] = ()
    sagas: Sequence[Any] = ()
    reconcilers: Sequence[Any] = ()
    components: Mapping[str, str] = field(default_factory=dict)
    notices: Notices | None = None
    list_keys: ListKeys = no_list_keys
    project_in_path: bool = False
    refuse_before_missing: bool = False
    suffixes: Sequence[str] = ()
    lenient_slash: bool = False
    max_body_bytes: int = 1 << 20
    request_id_header: str = "x-openstack-request-id"
    extra_request_id_headers: Sequence[str] = ()

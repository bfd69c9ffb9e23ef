"""Keystone's table of contents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gureum.core.context import Context
from gureum.core.service import DatabaseSpec, Service
from gureum.core.spec import Page, operations_of
from gureum.keystone import errors
from gureum.keystone.api import (
    application_credentials,
    assignments,
    auth,
    catalog,
    certificates,
    consumers,
    credentials,
    domain_config,
    domains,
    ec2,
    endpoint_filter,
    federated_login,
    federation,
    grants,
    groups,
    identity_providers,
    limits,
    oauth1,
    oauth2,
    policies,
    projects,
    registered_limits,
    revocations,
    roles,
    signed_requests,
    trusts,
    users,
    versions,
)
from gureum.keystone.config import OPTIONS
from gureum.keystone.notices import NOTICES
from gureum.keystone.policy import RULES
from gureum.keystone.store import tables


def _list_keys(ctx: Context, path: str, wrap: str, page: Page) -> Mapping[str, Any]:
    here = ctx.base_url.removesuffix("/v3") + path
    following = f"{here}?{page.next_query}" if page.next_query else None
    return {"links": {"next": following, "self": here, "previous": None}}


SERVICE = Service(
    name="keystone",
    type="identity",
    title="Identity",
    prefix="/v3",
    operations=[
        *operations_of(
            auth,
            domains,
            projects,
            users,
            groups,
            roles,
            assignments,
            catalog,
            application_credentials,
            credentials,
            ec2,
            trusts,
            policies,
            endpoint_filter,
            consumers,
            identity_providers,
            federation,
            domain_config,
            registered_limits,
            limits,
            revocations,
            federated_login,
            oauth1,
            oauth2,
            signed_requests,
            certificates,
        ),
        *federated_login.OPERATIONS,
        *grants.OPERATIONS,
        *policies.OPERATIONS,
    ],
    root_operations=operations_of(versions),
    rules=RULES,
    error_body=errors.error_body,
    notices=NOTICES,
    databases=[DatabaseSpec("keystone", tables.metadata, "gureum.keystone.store.migrations")],
    options=OPTIONS,
    list_keys=_list_keys,
    refuse_before_missing=True,
    lenient_slash=True,
)

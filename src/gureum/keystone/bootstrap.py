"""What a new cloud's Keystone holds before anybody can log in. Idempotent; never undoes a change.

An existing administrator keeps the password unless `reset_admin_password` is set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gureum.core.db import Database, Tx
from gureum.core.db.types import utc_now
from gureum.keystone.logic import common
from gureum.keystone.logic.deps import Deps
from gureum.keystone.store import assignments, entities, tables

ROLES = ("admin", "manager", "member", "reader", "service")
_OPTIONS = {  # nobody is there to change these passwords, and no stranger may lock these users out
    "ignore_change_password_upon_first_use": True,
    "ignore_password_expiry": True,
    "ignore_lockout_failure_attempts": True,
    "ignore_user_inactivity": True,
}
IMPLIED = (("admin", "manager"), ("manager", "member"), ("member", "reader"))


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One service and the URLs of its three interfaces."""

    name: str
    type: str
    public: str
    internal: str
    admin: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What there should be. Passwords of service users by name."""

    admin_password: str = field(repr=False)
    region: str = "RegionOne"
    catalog: Sequence[CatalogEntry] = ()
    service_users: Mapping[str, str] = field(default_factory=dict, repr=False)
    service_project: str = "service"
    reset_admin_password: bool = False


def bootstrap(database: Database, deps: Deps, plan: Plan) -> None:
    """Make what is missing of a plan."""
    missing = _missing_users(database, plan)
    hashes = {name: deps.hasher.hash(password) for name, password in missing.items()}
    database.deps = deps
    with database.write() as tx:
        _domain(tx)
        roles = {name: _role(tx, name) for name in ROLES}
        for prior, implied in IMPLIED:
            _imply(tx, roles[prior], roles[implied])
        admin_project = _project(tx, "admin", "The administrators' project.")
        service_project = _project(tx, plan.service_project, "The project of the service users.")
        admin = _user(tx, "admin", hashes.get("admin"))
        for target in (("project", admin_project), ("domain", "default"), ("system", "all")):
            assignments.grant(tx, ("user", admin), target, roles["admin"], False)
        for name in plan.service_users:
            user = _user(tx, name, hashes.get(name))
            for role in ("admin", "service"):
                assignments.grant(
                    tx, ("user", user), ("project", service_project), roles[role], False
                )
        _catalog(tx, plan)
        entities.bump(tx)


def _missing_users(database: Database, plan: Plan) -> dict[str, str]:
    wanted = {"admin": plan.admin_password, **plan.service_users}
    with database.read() as tx:
        return {
            name: password
            for name, password in wanted.items()
            if (name == "admin" and plan.reset_admin_password)
            or entities.find(tx, tables.users, name=name, domain_id="default") is None
        }


def _domain(tx: Tx) -> None:
    if entities.get(tx, tables.domains, "default") is None:
        tx.insert(
            tables.domains,
            id="default",
            name="Default",
            enabled=True,
            description="The default domain",
            options={},
            tags=[],
            extra_values={},
        )


def _role(tx: Tx, name: str) -> str:
    row = entities.find(tx, tables.roles, name=name, domain_id="")
    if row is not None:
        return str(row.id)
    id = common.new_id()
    immutable = {"immutable": True}
    tx.insert(tables.roles, id=id, name=name, domain_id="", options=immutable, extra_values={})
    return id


def _imply(tx: Tx, prior: str, implied: str) -> None:
    have = entities.find(tx, tables.implied_roles, prior_role_id=prior, implied_role_id=implied)
    if have is None:
        tx.insert(tables.implied_roles, prior_role_id=prior, implied_role_id=implied)


def _project(tx: Tx, name: str, description: str) -> str:
    row = entities.find(tx, tables.projects, name=name, domain_id="default")
    if row is not None:
        return str(row.id)
    id = common.new_id()
    tx.insert(
        tables.projects,
        id=id,
        name=name,
        domain_id="default",
        parent_id="default",
        enabled=True,
        description=description,
        options={},
        extra_values={},
    )
    return id


def _user(tx: Tx, name: str, hashed: str | None) -> str:
    row = entities.find(tx, tables.users, name=name, domain_id="default")
    id = str(row.id) if row is not None else common.new_id()
    if row is None:
        tx.insert(
            tables.users,
            id=id,
            name=name,
            domain_id="default",
            enabled=True,
            options=dict(_OPTIONS),
            extra_values={},
            created_at=utc_now(),
            failed_count=0,
        )
    if hashed is not None:
        tx.delete_by(tables.passwords.c.user_id, id)
        tx.insert(
            tables.passwords, id=common.new_id(), user_id=id, hash=hashed, created_at=utc_now()
        )
    return id


def _catalog(tx: Tx, plan: Plan) -> None:
    if entities.get(tx, tables.regions, plan.region) is None:
        tx.insert(tables.regions, id=plan.region, description="", extra_values={})
    for entry in plan.catalog:
        service = entities.find(tx, tables.services, type=entry.type, name=entry.name)
        service_id = str(service.id) if service is not None else common.new_id()
        if service is None:
            tx.insert(
                tables.services,
                id=service_id,
                type=entry.type,
                name=entry.name,
                enabled=True,
                description=entry.description,
                extra_values={},
            )
        for interface in ("public", "internal", "admin"):
            _endpoint(tx, service_id, plan.region, interface, getattr(entry, interface))


def _endpoint(tx: Tx, service_id: str, region: str, interface: str, url: str) -> None:
    table = tables.endpoints
    row = entities.find(tx, table, service_id=service_id, region_id=region, interface=interface)
    if row is None:
        tx.insert(
            table,
            id=common.new_id(),
            service_id=service_id,
            region_id=region,
            interface=interface,
            url=url,
            enabled=True,
            extra_values={},
        )
    elif row.url != url:  # the cloud's own address moved
        tx.update_by(table.c.id, row.id, url=url)

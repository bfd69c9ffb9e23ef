"""Projects and users that other services name, against Keystone.

Owns: that comparison. Must not: delete what a person made: only the limits, key pairs and default groups
that every project leaves behind go by themselves.
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial

import sqlalchemy as sa

from gureum.audit.finding import CannotLook, Finding, Mend
from gureum.audit.world import World
from gureum.core.db.engine import Database
from gureum.glance.store import tables as glance
from gureum.keystone.store.tables import domains, projects, users
from gureum.keystone.store.tables import metadata as keystone
from gureum.neutron.store import tables as neutron
from gureum.nova.store import tables as nova

USERS_ELSEWHERE = "directory_entries"
"""Table of the users of directories, whose rows are not in `users`."""


def compare(world: World) -> Iterator[Finding]:
    """Find what belongs to projects and users that are gone."""
    with world.keystone.read() as tx:
        known = {row.id for row in tx.all(sa.select(projects.c.id))}
        known |= {row.id for row in tx.all(sa.select(domains.c.id))}
        people = {row.id for row in tx.all(sa.select(users.c.id))}
        elsewhere = keystone.tables.get(USERS_ELSEWHERE)
        if elsewhere is not None and "id" in elsewhere.c:
            people |= {row.id for row in tx.all(sa.select(elsewhere.c.id))}
    yield from _limits(world, known)
    yield from _key_pairs(world, people)
    yield from _default_groups(world, known)
    yield from _belongings(world, known)


def _gone(database: Database, column: "sa.Column[str]", known: set[str]) -> list[str]:
    with database.read() as tx:
        named = {row[0] for row in tx.all(sa.select(column).distinct())}
    return sorted(one for one in named - known if one)


def _limits(world: World, known: set[str]) -> Iterator[Finding]:
    places = (
        ("nova_api", world.nova.api, nova.quotas),
        ("neutron", world.neutron, neutron.quotas),
    )
    for where, database, table in places:
        for project_id in _gone(database, table.c.project_id, known):
            yield Finding(
                "quota", project_id, where, "its project does not exist", "remove it",
                partial(_remove, database, table, table.c.project_id, project_id),
            )  # fmt: skip


def _key_pairs(world: World, people: set[str]) -> Iterator[Finding]:
    table = nova.keypairs
    for user_id in _gone(world.nova.api, table.c.user_id, people):
        yield Finding(
            "key-pairs", user_id, "nova_api", "their user does not exist", "remove them",
            partial(_remove, world.nova.api, table, table.c.user_id, user_id),
        )  # fmt: skip


def _remove(database: Database, table: sa.Table, column: "sa.Column[str]", value: str) -> None:
    with database.write() as tx:
        tx.delete(table, column == value)


def _default_groups(world: World, known: set[str]) -> Iterator[Finding]:
    with world.neutron.read() as tx:
        rows = tx.all(sa.select(neutron.default_security_groups))
        worn = {
            row.security_group_id
            for row in tx.all(sa.select(neutron.port_security_groups.c.security_group_id))
        }
    for row in rows:
        if row.project_id in known or row.security_group_id in worn:
            continue
        yield Finding(
            "default-security-group", row.security_group_id, "neutron",
            f"its project {row.project_id} does not exist, and no port wears it", "delete it",
            partial(_delete_group, world, row.security_group_id),
        )  # fmt: skip


def _delete_group(world: World, group_id: str) -> None:
    reply = world.session.request("DELETE", "network", f"/v2.0/security-groups/{group_id}")
    if reply.status >= 400 and reply.status != 404:
        raise CannotLook(f"neutron refused to delete security group {group_id}: {reply.status}")


def _belongings(world: World, known: set[str]) -> Iterator[Finding]:
    """What people made in a project that is gone: only people can say what becomes of it."""
    live = nova.server_mappings.c.deleted_at.is_(None)
    places: tuple[tuple[str, Database, sa.Table, sa.ColumnElement[bool] | None], ...] = (
        ("nova_api", world.nova.api, nova.server_mappings, live),
        ("glance", world.glance, glance.images, None),
        ("neutron", world.neutron, neutron.networks, None),
        ("neutron", world.neutron, neutron.routers, None),
        ("neutron", world.neutron, neutron.floatingips, None),
    )
    for where, database, table, only in places:
        wanted = sa.select(table.c.project_id)
        with database.read() as tx:
            rows = tx.all(wanted if only is None else wanted.where(only))
        counts = Counter(row.project_id for row in rows if row.project_id)
        noun = "servers" if table is nova.server_mappings else table.name
        for project_id in sorted(set(counts) - known):
            nothing: Mend | None = None
            yield Finding(
                noun, project_id, where,
                f"{counts[project_id]} {noun} belong to a project that does not exist",
                "nothing: delete them, or make a project and move them", nothing,
            )  # fmt: skip

"""Domains whose users come from a directory: what it says is mirrored in our own tables.

A user or group of a directory has a row as every other: its id is made of the domain and what the directory
knows it by, so it stays the same for ever. Passwords stay in the directory. Rows are looked up again when a
user logs in, is shown, or has a token checked, at most every `directory_cache_s`; who is no longer there is
disabled, and nothing that was granted is lost. No call to a directory is made inside a transaction; one that
did not answer is not asked again for some seconds, so that nobody waits for it in a row.
"""

from __future__ import annotations

import configparser
import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from gureum.core import log, reading
from gureum.core.db import Conflict, Database, Tx
from gureum.core.db.engine import assert_no_transaction
from gureum.core.db.types import utc_now
from gureum.core.spec import Forbidden, ServiceUnavailable
from gureum.keystone.drivers.base import Directory, DirectoryUnavailable, GroupEntry, UserEntry
from gureum.keystone.logic import domain_options
from gureum.keystone.store import entities, tables

_log = log.get(__name__)
_E = tables.directory_entries
_LOOK_EVERY_S = 1.0
_AWAY = "The directory of the domain does not answer."
Make = Callable[[Mapping[str, Any]], Directory]


def _ldap(options: Mapping[str, Any]) -> Directory:
    from gureum.keystone.drivers.ldap import LdapDirectory  # most clouds have no directory

    return LdapDirectory(options)


def public_id(domain_id: str, kind: str, local_id: str) -> str:
    """Return the id of a user or group of a directory."""
    return hashlib.sha256(f"{domain_id}\n{kind}\n{local_id}".encode()).hexdigest()


def read_files(folder: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the options in files called `keystone.DOMAIN.conf`, by the name of the domain.

    Raises: ValueError (an option that there is not).
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    place = Path(folder)
    for path in sorted(place.glob("keystone.*.conf")) if place.is_dir() else ():
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(path.read_text(encoding="utf-8"), str(path))
        name = path.name.removeprefix("keystone.").removesuffix(".conf")
        raw = {group: dict(parser[group]) for group in parser.sections()}
        found[name] = {
            group: {key: domain_options.typed(group, key, text) for key, text in values.items()}
            for group, values in raw.items()
        }
    return found


@dataclass(slots=True)
class _Known:
    """A domain's directory, and until when its configuration need not be looked at."""

    directory: Directory | None
    stamp: bytes
    until: float


class Directories:
    """The directories of a cloud's domains. Thread-safe."""

    def __init__(
        self,
        database: Database,
        *,
        config_dir: str = "",
        cache_s: float = 60.0,
        make: Make = _ldap,
        away_s: float = 5.0,
    ) -> None:
        self._database = database
        self._files = read_files(config_dir)
        self._cache_s = cache_s
        self._make = make
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._away: dict[str, float] = {}  # until when a directory is not asked
        self._away_s = away_s
        self._fresh: dict[str, float] = {}  # what was asked of a directory, and when that gets old

    # -- which domain has which ----------------------------------------------------------------

    def forget(self) -> None:
        """Options of a domain have changed."""
        with self._lock:
            for known in self._known.values():
                known.until = 0.0

    def of(self, tx: Tx, domain_id: str) -> Directory | None:
        """Return the directory of a domain. Opens no connection."""
        known = self._known.get(domain_id)
        if known is not None and known.until > time.monotonic():
            return known.directory
        options = self._options(tx, domain_id)
        stamp = msgspec.json.encode(options)
        with self._lock:
            known = self._known.get(domain_id)
            if known is None or known.stamp != stamp:
                if known is not None and known.directory is not None:
                    known.directory.close()
                has_one = options.get("identity", {}).get("driver") == "ldap"
                directory = self._make(options["ldap"]) if has_one else None
                known = self._known[domain_id] = _Known(directory, stamp, 0.0)
                self._fresh.clear()
            known.until = time.monotonic() + _LOOK_EVERY_S
            return known.directory

    def _options(self, tx: Tx, domain_id: str) -> dict[str, dict[str, Any]]:
        """Return identity and ldap options; what the API has set wins over a file."""
        domain = entities.get(tx, tables.domains, domain_id)
        own = domain_options.get(tx, domain_id)
        file = self._files.get(domain.name, {}) if domain is not None else {}
        return {
            group: {
                **domain_options.DEFAULTS[group],
                **file.get(group, {}),
                **own.get(group, {}),
            }
            for group in ("identity", "ldap")
        }

    def refuse_write(self, tx: Tx, domain_id: str) -> None:
        """Refuse to change what belongs to a directory. Raises: Forbidden."""
        if self.of(tx, domain_id) is not None:
            raise Forbidden("The users and groups of this domain are managed in its directory.")

    def _directory(self, domain_id: str) -> Directory | None:
        with self._database.read() as tx:
            return self.of(tx, domain_id)

    # -- looking up ----------------------------------------------------------------------------

    def find(self, domain_id: str, name: str) -> bool:
        """Mirror the user of a name before a login; whether the domain has a directory."""
        directory = self._directory(domain_id)
        if directory is None:
            return False
        entry = self._ask(domain_id, lambda: directory.user(name=name))
        if entry is not None:
            self._mirror_user(domain_id, directory, entry)
            return True
        with self._database.read() as tx:
            row = entities.find(tx, tables.users, domain_id=domain_id, name=name)
            known = row and entities.find(tx, _E, public_id=row.id, kind="user")
        if known is not None:
            self._gone("user", known.public_id)
        return True

    def refresh(self, user_id: str, *, always: bool = False) -> None:
        """Mirror a user anew when that is due. A directory that is away changes nothing (but `always`).

        Raises: ServiceUnavailable (with `always`).
        """
        assert_no_transaction("directory")
        if not always and not self.due(user_id):
            return
        with self._database.read() as tx:
            known = entities.find(tx, _E, public_id=user_id, kind="user")
            directory = self.of(tx, known.domain_id) if known is not None else None
        self._remember(user_id)
        if known is None or directory is None:
            return
        try:
            ask = self._ask
            entry = ask(known.domain_id, lambda: directory.user(local_id=known.local_id))
            if entry is None:
                self._gone("user", user_id)
            else:
                self._mirror_user(known.domain_id, directory, entry)
        except ServiceUnavailable:
            if always:
                raise

    def due(self, what: str) -> bool:
        """Whether something must be asked of a directory again."""
        return self._fresh.get(what, 0.0) <= time.monotonic()

    def _remember(self, what: str) -> None:
        if len(self._fresh) > 50_000:
            self._fresh.clear()
        self._fresh[what] = time.monotonic() + self._cache_s

    def dn_of(self, user_id: str) -> tuple[Directory, str] | None:
        """Return where the password of a user is checked, or None when that is here."""
        with self._database.read() as tx:
            known = entities.find(tx, _E, public_id=user_id, kind="user")
            directory = self.of(tx, known.domain_id) if known is not None else None
        return (directory, known.dn) if known is not None and directory is not None else None

    def check(self, domain_id: str, user_id: str | None, password: str) -> bool | None:
        """Whether a password is right, or None when the domain has no directory.

        Raises: ServiceUnavailable.
        """
        directory = self._directory(domain_id)
        if directory is None:
            return None
        place = self.dn_of(user_id) if user_id is not None else None
        dn = place[1] if place else None
        matches: bool = self._ask(domain_id, lambda: directory.authenticate(dn, password))
        return matches

    def _ask(self, domain_id: str, work: Callable[[], Any]) -> Any:
        """Ask a directory. Raises: ServiceUnavailable."""
        assert_no_transaction("directory")
        reading.elsewhere()
        if self._away.get(domain_id, 0.0) > time.monotonic():
            raise ServiceUnavailable(_AWAY)
        try:
            return work()
        except DirectoryUnavailable as error:
            self._away[domain_id] = time.monotonic() + self._away_s
            _log.warning("directory is away", domain_id=domain_id, reason=str(error))
            raise ServiceUnavailable(_AWAY) from error

    # -- lists ---------------------------------------------------------------------------------

    def sync_users(self, domain_id: str) -> None:
        """Mirror every user of a domain when that is due. Raises: ServiceUnavailable."""
        directory = self._listing(domain_id, "users")
        if directory is None:
            return
        seen = set()
        for entry in self._ask(domain_id, lambda: list(directory.users())):
            seen.add(self._write_user(domain_id, entry))
        self._drop_others(domain_id, "user", seen)
        self._remember(f"{domain_id} users")

    def sync_groups(self, domain_id: str) -> None:
        """Mirror every group of a domain when that is due. Raises: ServiceUnavailable."""
        directory = self._listing(domain_id, "groups")
        if directory is None:
            return
        entries = self._ask(domain_id, lambda: list(directory.groups()))
        seen = {self._write_group(domain_id, entry) for entry in entries}
        self._drop_others(domain_id, "group", seen)
        self._remember(f"{domain_id} groups")

    def sync_members(self, group_id: str) -> None:
        """Mirror the members of a group when that is due. Raises: ServiceUnavailable."""
        with self._database.read() as tx:
            known = entities.find(tx, _E, public_id=group_id, kind="group")
        directory = self._listing(known.domain_id, group_id) if known is not None else None
        if known is None or directory is None:
            return
        group = self._ask(known.domain_id, lambda: directory.group(known.local_id))
        members: list[UserEntry] = []
        if group is not None:
            members = self._ask(known.domain_id, lambda: list(directory.members(group)))
        ids = {self._write_user(known.domain_id, entry) for entry in members}
        m = tables.memberships
        with self._database.write() as tx:
            ids &= set(entities.by_ids(tx, tables.users, sorted(ids)))
            have = {row.user_id for row in entities.rows_of(tx, m, m.c.group_id == group_id)}
            rows = [{"user_id": id, "group_id": group_id} for id in sorted(ids - have)]
            tx.insert_many(m, rows)
            for id in sorted(have - ids):
                tx.delete(m, sa.and_(m.c.group_id == group_id, m.c.user_id == id))
            if have != ids:
                entities.bump(tx)
        self._remember(f"{known.domain_id} {group_id}")

    def _listing(self, domain_id: str, what: str) -> Directory | None:
        directory = self._directory(domain_id)
        key = f"{domain_id} {what}"
        return directory if directory is not None and self.due(key) else None

    # -- the mirror ----------------------------------------------------------------------------

    def _mirror_user(self, domain_id: str, directory: Directory, entry: UserEntry) -> str:
        """Mirror a user with its groups; returns its id."""
        groups = self._ask(domain_id, lambda: list(directory.groups(of=entry)))
        group_ids = {self._write_group(domain_id, group) for group in groups}
        user_id = self._write_user(domain_id, entry)
        m = tables.memberships
        with self._database.write() as tx:
            if entities.get(tx, tables.users, user_id) is None:
                return user_id  # its name belongs to another; that has been logged
            group_ids &= set(entities.by_ids(tx, tables.groups, sorted(group_ids)))
            theirs = sa.select(_E.c.public_id).where(
                _E.c.domain_id == domain_id, _E.c.kind == "group"
            )
            mine = sa.and_(m.c.user_id == user_id, m.c.group_id.in_(theirs))
            have = {row.group_id for row in entities.rows_of(tx, m, mine)}
            rows = [{"user_id": user_id, "group_id": id} for id in sorted(group_ids - have)]
            tx.insert_many(m, rows)
            lost = sorted(have - group_ids)
            tx.delete(m, sa.and_(m.c.user_id == user_id, m.c.group_id.in_(lost)))
            if have != group_ids:
                entities.bump(tx)
        self._remember(user_id)
        return user_id

    def _write_user(self, domain_id: str, entry: UserEntry) -> str:
        values: dict[str, Any] = {
            "name": entry.name,
            "enabled": entry.enabled,
            "description": entry.description,
            "email": entry.email,
        }
        if entry.default_project_id:
            values["default_project_id"] = entry.default_project_id
        new = {"options": {}, "extra_values": {}, "created_at": utc_now(), "failed_count": 0}
        return self._write(domain_id, "user", tables.users, entry, values, new)

    def _write_group(self, domain_id: str, entry: GroupEntry) -> str:
        values = {"name": entry.name, "description": entry.description}
        return self._write(domain_id, "group", tables.groups, entry, values, {"extra_values": {}})

    def _write(
        self,
        domain_id: str,
        kind: str,
        table: sa.Table,
        entry: UserEntry | GroupEntry,
        values: dict[str, Any],
        new: dict[str, Any],
    ) -> str:
        """Write a row and its entry, when anything differs; two processes may do so at once."""
        id = public_id(domain_id, kind, entry.local_id)
        with self._database.read() as tx:
            row, known = entities.get(tx, table, id), entities.find(tx, _E, public_id=id)
        same = row is not None and all(getattr(row, name) == v for name, v in values.items())
        if same and known is not None and known.dn == entry.dn:
            return id
        try:
            with self._database.write() as tx:
                self._free_name(tx, table, domain_id, id, values["name"])
                if tx.update_by(table.c.id, id, **values) == 0:
                    tx.insert(table, id=id, domain_id=domain_id, **values, **new)
                if tx.update_by(_E.c.public_id, id, dn=entry.dn, seen_at=utc_now()) == 0:
                    tx.insert(
                        _E,
                        public_id=id,
                        domain_id=domain_id,
                        kind=kind,
                        local_id=entry.local_id,
                        dn=entry.dn,
                        seen_at=utc_now(),
                    )
                entities.bump(tx)
        except Conflict:
            _log.info("entry mirrored by another process", kind=kind, domain_id=domain_id)
        return id

    @staticmethod
    def _free_name(tx: Tx, table: sa.Table, domain_id: str, id: str, name: str) -> None:
        """Let go of a name that another entry had before: in a directory names may wander."""
        other = entities.find(tx, table, domain_id=domain_id, name=name)
        if other is None or other.id == id:
            return
        if entities.find(tx, _E, public_id=other.id) is None and len(other.id) != len(id):
            _log.error("name is taken by one that is not of the directory", name=name, id=other.id)
        else:
            tx.update_by(table.c.id, other.id, name=f"{name[:40]} {other.id[:16]}")

    def _gone(self, kind: str, id: str) -> None:
        """The directory has it no longer: disabled, and forgotten as an entry; grants stay."""
        with self._database.write() as tx:
            tx.delete(_E, sa.and_(_E.c.public_id == id, _E.c.kind == kind))
            if kind == "user":
                tx.update_by(tables.users.c.id, id, enabled=False)
            else:
                tx.delete_by(tables.memberships.c.group_id, id)
            entities.bump(tx)
        _log.warning("no longer in the directory", kind=kind, id=id)

    def _drop_others(self, domain_id: str, kind: str, seen: Iterable[str]) -> None:
        with self._database.read() as tx:
            where = sa.and_(_E.c.domain_id == domain_id, _E.c.kind == kind)
            known = {row.public_id for row in entities.rows_of(tx, _E, where)}
        for id in sorted(known - set(seen)):
            self._gone(kind, id)


def present(directory: Directory | None, table: sa.Table) -> list[sa.ColumnElement[bool]]:
    """Return the condition that leaves out rows of what a directory has no longer."""
    return [] if directory is None else [table.c.id.in_(sa.select(_E.c.public_id))]

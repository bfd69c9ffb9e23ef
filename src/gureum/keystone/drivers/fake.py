"""A directory in memory: for tests, and to try domains with a directory without one."""

from __future__ import annotations

from collections.abc import Iterator

from gureum.keystone.drivers.base import Directory, DirectoryUnavailable, GroupEntry, UserEntry


class FakeDirectory(Directory):
    """Entries and passwords in dicts; `down` makes every call fail."""

    def __init__(self) -> None:
        self.people: dict[str, UserEntry] = {}
        self.passwords: dict[str, str] = {}
        self.teams: dict[str, GroupEntry] = {}
        self.belongs: dict[str, set[str]] = {}  # group -> users, by local ids
        self.down = False

    def add(self, name: str, password: str, *, enabled: bool = True) -> UserEntry:
        """Add or replace a user, whose local id is its name."""
        entry = UserEntry(name, f"cn={name}", name, enabled, None, f"{name}@x.example")
        self.people[name], self.passwords[entry.dn] = entry, password
        return entry

    def add_group(self, name: str, *members: str) -> GroupEntry:
        """Add or replace a group, whose local id is its name."""
        self.teams[name], self.belongs[name] = GroupEntry(name, f"ou={name}", name), set(members)
        return self.teams[name]

    def _up(self) -> None:
        if self.down:
            raise DirectoryUnavailable("switched off")

    def authenticate(self, dn: str | None, password: str) -> bool:
        """Compare."""
        self._up()
        return bool(password) and dn is not None and self.passwords.get(dn) == password

    def user(self, *, local_id: str | None = None, name: str | None = None) -> UserEntry | None:
        """Look up."""
        self._up()
        return self.people.get(local_id or name or "")

    def users(self) -> Iterator[UserEntry]:
        """Every user."""
        self._up()
        return iter(list(self.people.values()))

    def group(self, local_id: str) -> GroupEntry | None:
        """Look up."""
        self._up()
        return self.teams.get(local_id)

    def groups(self, *, of: UserEntry | None = None) -> Iterator[GroupEntry]:
        """Every group, or those of a user."""
        self._up()
        return iter(
            [
                group
                for group in self.teams.values()
                if of is None or of.local_id in self.belongs[group.local_id]
            ]
        )

    def members(self, group: GroupEntry) -> Iterator[UserEntry]:
        """The users in a group."""
        self._up()
        return iter([self.people[id] for id in sorted(self.belongs[group.local_id])])

    def close(self) -> None:
        """Nothing is open."""

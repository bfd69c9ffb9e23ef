"""What a directory of users and groups must be able to do. Read-only.

Must not: know a table; what a directory says is mirrored by logic/directories.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass


class DirectoryUnavailable(Exception):
    """The directory does not answer, refuses our own account, or gives up half-way."""


@dataclass(frozen=True, slots=True)
class UserEntry:
    """A user as the directory says. local_id: what it is known by there; dn: where it lies."""

    local_id: str
    dn: str
    name: str
    enabled: bool
    description: str | None = None
    email: str | None = None
    default_project_id: str | None = None


@dataclass(frozen=True, slots=True)
class GroupEntry:
    """A group as the directory says."""

    local_id: str
    dn: str
    name: str
    description: str = ""


class Directory(ABC):
    """Users and groups of one domain. Every call may raise DirectoryUnavailable."""

    @abstractmethod
    def authenticate(self, dn: str | None, password: str) -> bool:
        """Whether a password belongs to an entry; None costs about the same and is False."""

    @abstractmethod
    def user(self, *, local_id: str | None = None, name: str | None = None) -> UserEntry | None:
        """Find one user by id or by name."""

    @abstractmethod
    def users(self) -> Iterator[UserEntry]:
        """Return every user."""

    @abstractmethod
    def group(self, local_id: str) -> GroupEntry | None:
        """Find one group by id."""

    @abstractmethod
    def groups(self, *, of: UserEntry | None = None) -> Iterator[GroupEntry]:
        """Return every group, or those of a user."""

    @abstractmethod
    def members(self, group: GroupEntry) -> Iterator[UserEntry]:
        """Return the users in a group."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""

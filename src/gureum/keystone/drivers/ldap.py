"""A directory that speaks LDAP, through ldap3. Nothing is ever written to it.

Every value that comes from a user is escaped before it becomes part of a filter (RFC 4515). An empty password
is refused here: for LDAP it would be an anonymous bind that succeeds (RFC 4513, 5.1.2).
Follows: RFC 4511 to 4519, RFC 2696 (paging); the names of the classic `[ldap]` options.
"""

from __future__ import annotations

import contextlib
import queue
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ldap3  # type: ignore[import-untyped]
from ldap3.core.exceptions import (  # type: ignore[import-untyped]
    LDAPException,
    LDAPSASLPrepError,
)
from ldap3.utils.conv import escape_filter_chars  # type: ignore[import-untyped]

from gureum.keystone.drivers.base import Directory, DirectoryUnavailable, GroupEntry, UserEntry

_SCOPES = {"one": ldap3.LEVEL, "sub": ldap3.SUBTREE}
_ALIASES = {
    "never": ldap3.DEREF_NEVER,
    "searching": ldap3.DEREF_SEARCH,
    "finding": ldap3.DEREF_BASE,
    "always": ldap3.DEREF_ALWAYS,
    "default": ldap3.DEREF_ALWAYS,
}
_CERTIFICATES = {"demand": ssl.CERT_REQUIRED, "allow": ssl.CERT_OPTIONAL, "never": ssl.CERT_NONE}
_NESTED = "1.2.840.113556.1.4.1941"  # matching rule of Active Directory: member of a member
_INVALID_CREDENTIALS, _NO_SUCH_OBJECT = 49, 32
_REFUSED = (_INVALID_CREDENTIALS, _NO_SUCH_OBJECT, 48, 53)  # inappropriate, unwilling to perform

Attributes = Mapping[str, Sequence[Any]]


class LdapDirectory(Directory):
    """One LDAP directory. options: the group `ldap` of a domain, with every default filled in."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._o = options
        self._timeout_s = _positive(options["connection_timeout"], 10.0)
        self._servers = ldap3.ServerPool(
            [self._server(url.strip()) for url in str(options["url"]).split(",") if url.strip()],
            ldap3.FIRST,
            active=1,
            exhaust=5,
        )
        self._idle: queue.LifoQueue[tuple[float, Any]] = queue.LifoQueue()

    def _server(self, url: str) -> Any:
        o = self._o
        tls = None
        if o["use_tls"] or url.lower().startswith("ldaps"):
            tls = ldap3.Tls(
                validate=_CERTIFICATES[o["tls_req_cert"]],
                ca_certs_file=o["tls_cacertfile"],
                ca_certs_path=o["tls_cacertdir"],
            )
        return ldap3.Server(url, tls=tls, connect_timeout=self._timeout_s, get_info=ldap3.NONE)

    # -- connections ---------------------------------------------------------------------------

    def _connect(self, user: str | None, password: str | None) -> Any:
        """Return a bound connection. Raises: LDAPException."""
        connection = ldap3.Connection(
            self._servers,
            user=user or None,
            password=password or None,
            receive_timeout=max(1, round(self._timeout_s)),
            read_only=True,
            auto_referrals=bool(self._o["chase_referrals"]),
            raise_exceptions=False,
        )
        connection.open()
        if self._o["use_tls"] and not connection.start_tls():
            raise LDAPException(f"no TLS: {connection.result.get('description')}")
        if not connection.bind():
            code = connection.result.get("result")
            connection.unbind()
            raise _Refused(code)
        return connection

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        """Lend a connection of our own account. Raises: DirectoryUnavailable."""
        connection = None
        try:
            connection = self._take()
            yield connection
        except (LDAPException, OSError) as error:
            if connection is not None:
                with contextlib.suppress(LDAPException, OSError):
                    connection.unbind()
            raise DirectoryUnavailable(str(error) or type(error).__name__) from error
        else:
            if self._o["use_pool"] and self._idle.qsize() < int(self._o["pool_size"]):
                self._idle.put((time.monotonic(), connection))
            else:
                connection.unbind()

    def _take(self) -> Any:
        life_s = float(self._o["pool_connection_lifetime"])
        while True:
            try:
                since, connection = self._idle.get_nowait()
            except queue.Empty:
                try:
                    return self._connect(self._o["user"], self._o["password"])
                except _Refused as refusal:
                    text = f"our own bind was refused with code {refusal.code}"
                    raise DirectoryUnavailable(text) from None
            if time.monotonic() - since < life_s and not connection.closed:
                return connection
            with contextlib.suppress(LDAPException, OSError):
                connection.unbind()

    def close(self) -> None:
        """Close idle connections."""
        while True:
            try:
                _, connection = self._idle.get_nowait()
            except queue.Empty:
                return
            with contextlib.suppress(LDAPException, OSError):
                connection.unbind()

    def authenticate(self, dn: str | None, password: str) -> bool:
        """Bind as an entry; for None as one that is not there, which takes as long."""
        if not password:
            return False
        try:
            self._connect(dn or f"cn=nobody,{self._o['suffix']}", password).unbind()
        except _Refused as refusal:
            if refusal.code in _REFUSED:
                return False
            raise DirectoryUnavailable(f"bind refused with code {refusal.code}") from None
        except LDAPSASLPrepError:
            return False  # a password that none can have, such as one of control characters
        except (LDAPException, OSError) as error:
            raise DirectoryUnavailable(str(error)) from error
        return dn is not None

    # -- searching -----------------------------------------------------------------------------

    def _search(
        self, base: str, scope: Any, wanted: str, attributes: Sequence[str]
    ) -> list[tuple[str, Attributes]]:
        """Return (dn, attributes by lower-case name). Raises: DirectoryUnavailable."""
        page = int(self._o["page_size"])
        common: dict[str, Any] = {
            "search_base": base,
            "search_filter": wanted,
            "search_scope": scope,
            "dereference_aliases": _ALIASES[self._o["alias_dereferencing"]],
            "attributes": sorted(set(attributes)),
        }
        found: list[tuple[str, Attributes]] = []
        cookie: bytes | None = None
        with self._connected() as connection:
            while True:
                if page:
                    common.update(paged_size=page, paged_cookie=cookie)
                connection.search(**common)
                code = connection.result["result"]
                if code == _NO_SUCH_OBJECT:
                    return found
                if code != 0:
                    raise DirectoryUnavailable(
                        f"search in {base}: {connection.result['description']}"
                    )
                found += [_entry(one) for one in connection.response if "raw_attributes" in one]
                controls = connection.result.get("controls") or {}
                value = controls.get("1.2.840.113556.1.4.319", {}).get("value", {})
                cookie = value.get("cookie")
                if not page or not cookie:
                    return found

    def _base(self, kind: str) -> str:
        default = {"user": "ou=Users", "group": "ou=UserGroups"}[kind]
        return str(self._o[f"{kind}_tree_dn"] or f"{default},{self._o['suffix']}")

    def _filter(self, kind: str, *conditions: str) -> str:
        parts = [f"(objectClass={self._o[f'{kind}_objectclass']})", *conditions]
        own = str(self._o[f"{kind}_filter"] or "").strip()
        if own:
            parts.append(own if own.startswith("(") else f"({own})")
        return f"(&{''.join(parts)})" if len(parts) > 1 else parts[0]

    def _equal(self, kind: str, option: str, value: str) -> str:
        return f"({self._o[f'{kind}_{option}_attribute']}={escape_filter_chars(value)})"

    def _attributes(self, kind: str, *options: str) -> list[str]:
        names = [self._o[f"{kind}_{name}_attribute"] for name in ("id", "name", *options)]
        ignored = {str(name).lower() for name in self._o[f"{kind}_attribute_ignore"]}
        return [name for name in names if name and name.lower() not in ignored]

    # -- users ---------------------------------------------------------------------------------

    _USER = ("description", "mail", "enabled", "default_project_id")

    def _found_users(self, base: str, scope: Any, *conditions: str) -> Iterator[UserEntry]:
        wanted = self._filter("user", *conditions)
        attributes = self._attributes("user", *self._USER)
        rows = self._search(base, scope, wanted, attributes)
        switched_on = self._switched_on() if rows else None
        for dn, values in rows:
            local_id = self._text(values, "user", "id") or _first_rdn(dn)
            name = self._text(values, "user", "name")
            if not local_id or not name or len(local_id) > 255 or len(name) > 255:
                continue
            enabled = self._enabled(values) if switched_on is None else _folded(dn) in switched_on
            yield UserEntry(
                local_id,
                dn,
                name,
                enabled,
                self._text(values, "user", "description"),
                self._text(values, "user", "mail"),
                self._text(values, "user", "default_project_id"),
            )

    def _text(self, values: Attributes, kind: str, option: str) -> str | None:
        found = values.get(str(self._o[f"{kind}_{option}_attribute"]).lower(), ())
        return _decoded(found[0]) if found else None

    def _enabled(self, values: Attributes) -> bool:
        """Read the attribute as a text or as a bit mask, possibly the other way round."""
        o = self._o
        text = self._text(values, "user", "enabled")
        value = text if text is not None else str(o["user_enabled_default"])
        mask = int(o["user_enabled_mask"])
        if mask:
            number = int(value) if value.lstrip("-").isdigit() else 0
            return bool(number & mask) == bool(o["user_enabled_invert"])
        return (value.lower() in ("true", "1", "yes", "on")) != bool(o["user_enabled_invert"])

    def _switched_on(self) -> set[str] | None:
        """Return who is enabled where a group says it (enabled_emulation), else None."""
        o = self._o
        if not o["user_enabled_emulation"]:
            return None
        base = o["user_enabled_emulation_dn"] or f"cn=enabled_users,{self._base('user')}"
        member = "member"
        if o["user_enabled_emulation_use_group_config"]:
            member = str(o["group_member_attribute"])
        rows = self._search(base, ldap3.BASE, "(objectClass=*)", [member])
        return {_folded(_decoded(v)) for _, values in rows for v in values.get(member.lower(), ())}

    def user(self, *, local_id: str | None = None, name: str | None = None) -> UserEntry | None:
        """Find one user by id or by name."""
        option, value = ("id", local_id) if local_id is not None else ("name", name)
        wanted = self._equal("user", option, value or "")
        return next(self._found_users(self._base("user"), self._scope, wanted), None)

    @property
    def _scope(self) -> Any:
        return _SCOPES[self._o["query_scope"]]

    def users(self) -> Iterator[UserEntry]:
        """Return every user."""
        return self._found_users(self._base("user"), self._scope)

    # -- groups --------------------------------------------------------------------------------

    def _found_groups(self, *conditions: str) -> Iterator[GroupEntry]:
        wanted = self._filter("group", *conditions)
        rows = self._search(
            self._base("group"), self._scope, wanted, self._attributes("group", "desc")
        )
        for dn, values in rows:
            local_id = self._text(values, "group", "id") or _first_rdn(dn)
            name = self._text(values, "group", "name")
            if local_id and name and len(local_id) <= 255 and len(name) <= 64:
                yield GroupEntry(local_id, dn, name, self._text(values, "group", "desc") or "")

    def group(self, local_id: str) -> GroupEntry | None:
        """Find one group by id."""
        return next(self._found_groups(self._equal("group", "id", local_id)), None)

    def groups(self, *, of: UserEntry | None = None) -> Iterator[GroupEntry]:
        """Return every group, or those of a user."""
        if of is None:
            return self._found_groups()
        value = of.local_id if self._o["group_members_are_ids"] else of.dn
        nested = f":{_NESTED}:" if self._o["group_ad_nesting"] else ""
        member = self._o["group_member_attribute"]
        return self._found_groups(f"({member}{nested}={escape_filter_chars(value)})")

    def members(self, group: GroupEntry) -> Iterator[UserEntry]:
        """Return the users in a group."""
        if self._o["group_ad_nesting"]:
            wanted = f"(memberOf:{_NESTED}:={escape_filter_chars(group.dn)})"
            yield from self._found_users(self._base("user"), self._scope, wanted)
            return
        member = str(self._o["group_member_attribute"])
        rows = self._search(group.dn, ldap3.BASE, "(objectClass=*)", [member])
        for value in (v for _, values in rows for v in values.get(member.lower(), ())):
            text = _decoded(value)
            if self._o["group_members_are_ids"]:
                found = self.user(local_id=text)
            else:
                found = next(self._found_users(text, ldap3.BASE), None)
            if found is not None:
                yield found


class _Refused(Exception):
    """The directory answered a bind with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _entry(found: Mapping[str, Any]) -> tuple[str, Attributes]:
    values = {name.lower(): raw for name, raw in found["raw_attributes"].items()}
    return found["dn"], values


def _decoded(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _folded(dn: str) -> str:
    """Return a DN so that two spellings of it are equal, as far as that is cheap."""
    return ",".join(part.strip() for part in dn.lower().split(","))


def _first_rdn(dn: str) -> str:
    return dn.split(",", 1)[0].partition("=")[2]


def _positive(value: Any, default: float) -> float:
    number = float(value if value is not None else -1)
    return number if number > 0 else default

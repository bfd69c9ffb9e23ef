"""How much the images of a project may take: by options, or by Keystone's unified limits.

Limits are read before a transaction (a call to another service inside one is refused) and what is used is
counted inside it.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from gureum.core.db import Tx
from gureum.core.http.client import RemoteError, RemoteUnavailable
from gureum.core.spec import ServiceUnavailable
from gureum.glance.config import GIB, GlanceOptions
from gureum.glance.errors import QuotaExceeded
from gureum.glance.store import images as store
from gureum.keystone.client import Session

_UNITS = {"TB": 1 << 40, "GB": GIB, "MB": 1 << 20, "KB": 1 << 10, "B": 1, "": 1}
_MIB = 1 << 20
NAMES = ("image_size_total", "image_stage_total", "image_count_total", "image_count_uploading")


def quota_bytes(text: str) -> int | None:
    """Read `user_storage_quota`; None for no limit. Raises: ValueError."""
    word = text.strip().upper()
    digits = word.rstrip("TGMKB")
    unit = word[len(digits) :]
    if not digits.isdigit() or unit not in _UNITS:
        raise ValueError(f"{text!r} is no amount such as 10GB")
    return int(digits) * _UNITS[unit] or None


@dataclass(frozen=True, slots=True)
class Allowed:
    """The limits of one project; None is no limit."""

    stored_bytes: int | None = None
    staged_bytes: int | None = None
    images: int | None = None
    uploading: int | None = None

    def bytes_left(self, used: store.Usage, *, staged: bool) -> int | None:
        """How many bytes may still come."""
        limit, have = (
            (self.staged_bytes, used.staged_bytes)
            if staged
            else (self.stored_bytes, used.stored_bytes)
        )
        return None if limit is None else max(0, limit - have)

    def check_new(self, tx: Tx, project_id: str | None) -> None:
        """Refuse one more image. Raises: QuotaExceeded."""
        if self.images is not None and store.usage(tx, project_id).images >= self.images:
            raise QuotaExceeded(what="image_count_total", limit=f"{self.images} images")

    def check_upload(self, tx: Tx, project_id: str | None, without: str) -> None:
        """Refuse one more upload. Raises: QuotaExceeded."""
        if self.uploading is None:
            return
        if store.usage(tx, project_id, without=without).uploading >= self.uploading:
            raise QuotaExceeded(what="image_count_uploading", limit=f"{self.uploading} images")

    def check_bytes(
        self, tx: Tx, project_id: str | None, without: str, more: int, **kind: bool
    ) -> None:
        """Refuse more bytes than are left. Raises: QuotaExceeded."""
        left = self.bytes_left(store.usage(tx, project_id, without=without), **kind)
        if left is not None and more > left:
            name = "image_stage_total" if kind.get("staged") else "image_size_total"
            raise QuotaExceeded(what=name, limit=f"{left} more bytes")


class Limits(ABC):
    """Says what projects may have."""

    @abstractmethod
    def of(self, project_id: str | None) -> Allowed:
        """Return a project's limits. Raises: ServiceUnavailable."""


class OptionLimits(Limits):
    """The same limits for every project, from the options."""

    def __init__(self, options: GlanceOptions) -> None:
        count = options.image_count_quota
        self._allowed = Allowed(
            stored_bytes=quota_bytes(options.user_storage_quota),
            images=None if count < 0 else count,
        )

    def of(self, project_id: str | None) -> Allowed:
        return self._allowed


class KeystoneLimits(Limits):
    """Keystone's registered limits of the image service, and what is set for a project."""

    def __init__(self, session: Session, region: str | None, cache_s: float) -> None:
        self._session = session
        self._region = region
        self._cache_s = cache_s
        self._lock = threading.Lock()
        self._known: dict[str | None, tuple[float, Allowed]] = {}
        self._service: str | None = None

    def of(self, project_id: str | None) -> Allowed:
        now = time.monotonic()
        with self._lock:
            found = self._known.get(project_id)
        if found is not None and found[0] > now:
            return found[1]
        try:
            allowed = self._ask(project_id)
        except (RemoteError, RemoteUnavailable) as error:
            raise ServiceUnavailable("Keystone cannot be asked about limits.") from error
        with self._lock:
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[project_id] = (now + self._cache_s, allowed)
        return allowed

    def _ask(self, project_id: str | None) -> Allowed:
        service = self._service_id()
        given: dict[str, int] = {}
        for row in self._get("/registered_limits", "registered_limits", service_id=service):
            if row.get("region_id") in (None, self._region):
                given[row["resource_name"]] = int(row["default_limit"])
        if project_id is not None:
            asked = {"service_id": service, "project_id": project_id}
            for row in self._get("/limits", "limits", **asked):
                if row.get("region_id") in (None, self._region):
                    given[row["resource_name"]] = int(row["resource_limit"])
        # A resource without a registered limit is not limited by it being forgotten: nothing is allowed.
        values = {name: given.get(name, 0) for name in NAMES}
        return Allowed(
            _times(values["image_size_total"], _MIB),
            _times(values["image_stage_total"], _MIB),
            _times(values["image_count_total"], 1),
            _times(values["image_count_uploading"], 1),
        )

    def _service_id(self) -> str:
        if self._service is None:
            found = self._get("/services", "services", type="image")
            if not found:
                raise RemoteUnavailable("Keystone has no service of type image")
            self._service = str(found[0]["id"])
        return self._service

    def _get(self, path: str, key: str, **params: str) -> list[dict[str, Any]]:
        session = self._session
        url = session.credentials.auth_url + path
        headers = {"x-auth-token": session.token()}
        reply = session.http.request("GET", url, params=params, headers=headers)
        if reply.status != 200:
            raise RemoteError("GET", url, reply.status, reply.body[:200].decode(errors="replace"))
        return list(reply.json()[key])


def _times(value: int, unit: int) -> int | None:
    return None if value < 0 else value * unit

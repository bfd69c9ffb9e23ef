"""What Nova's API asks Glance and Neutron, as facts; in the caller's name, so that their policy decides.

Owns: `ImageFacts`, `NetworkFacts`, `PortFacts`, `GroupFacts` and the two facades. Must not: be called in
a transaction, or decide anything. Follows Image API v2 and Networking API v2.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gureum.core.context import Context
from gureum.core.http.client import HttpReply, RemoteUnavailable
from gureum.core.spec.errors import Forbidden, ServiceUnavailable
from gureum.glance.client import GlanceClient, ImageMissing, ImageRecord, ImageRefused
from gureum.keystone.client import Session, error_text
from gureum.nova.errors import Bad


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the image service says of an image. Sizes are in bytes, `min_disk` GiB, `min_ram` MiB."""

    id: str
    name: str = ""
    status: str = "active"
    size: int = 0
    virtual_size: int = 0
    min_disk: int = 0
    min_ram: int = 0
    disk_format: str = "raw"
    container_format: str = "bare"
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None
    kernel_id: str | None = None
    ramdisk_id: str | None = None
    properties: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """A network the caller can see."""

    id: str
    name: str
    project_id: str
    shared: bool = False
    external: bool = False
    subnets: tuple[str, ...] = ()
    admin_state_up: bool = True


@dataclass(frozen=True, slots=True)
class PortFacts:
    """A port the caller can see."""

    id: str
    network_id: str
    device_id: str = ""
    mac_address: str = ""
    status: str = "DOWN"
    fixed_ips: tuple[dict[str, str], ...] = ()
    security_groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A security group."""

    id: str
    name: str
    project_id: str = ""
    description: str = ""
    rules: tuple[dict[str, Any], ...] = ()


class Images(Protocol):
    """What the image service is asked."""

    def get(self, ctx: Context, image_id: str) -> ImageFacts | None:
        """Return an image the caller can see, or None. Raises: ServiceUnavailable."""
        ...


class Networks(Protocol):
    """What the network service is asked. Every method raises ServiceUnavailable."""

    def networks(self, ctx: Context, ids: Sequence[str] | None = None) -> list[NetworkFacts]:
        """Return the networks the caller can see: those of the ids, or all."""
        ...

    def ports(self, ctx: Context, ids: Sequence[str]) -> list[PortFacts]:
        """Return the ports of the ids that the caller can see."""
        ...

    def ports_of_servers(self, ctx: Context, server_ids: Sequence[str]) -> list[PortFacts]:
        """Return the ports whose device is one of the servers."""
        ...

    def groups(
        self, ctx: Context, project_id: str | None = None, ids: Sequence[str] | None = None
    ) -> list[GroupFacts]:
        """Return the security groups of a project, or of the ids."""
        ...

    def set_port_groups(self, ctx: Context, port_id: str, group_ids: Sequence[str]) -> None:
        """Give a port its security groups. Raises: what the caller may not."""
        ...


_BATCH = 100
"""Ids in one query string."""
_FIELDS = {
    "networks": (
        "id", "name", "project_id", "shared", "router:external", "subnets", "admin_state_up",
    ),
    "ports": (
        "id", "network_id", "device_id", "mac_address", "status", "fixed_ips", "security_groups",
    ),
    "security-groups": ("id", "name", "project_id", "description", "security_group_rules"),
}  # fmt: skip
"""What is read of each noun: the network service looks up no more."""


_BROKEN = "{what} does not answer as it should. Try again later."


def _is_broken(status: int) -> bool:
    """Whether the fault is the other service's, or ours towards it, and not the caller's."""
    return status >= 500 or status == 401


def _json(reply: HttpReply, what: str) -> Any:
    if _is_broken(reply.status):
        raise ServiceUnavailable(_BROKEN.format(what=what))
    if reply.status >= 400:
        return None
    return reply.json()


class GlanceImages:
    """`Images` over the Image API."""

    def __init__(self, session: Session) -> None:
        self._glance = GlanceClient(session)

    def get(self, ctx: Context, image_id: str) -> ImageFacts | None:
        """Return what the caller sees of an image; None when he may not. Raises: ServiceUnavailable."""
        try:
            return _facts(self._glance.show(image_id, ctx.token))
        except RemoteUnavailable as error:
            raise ServiceUnavailable("The image service cannot be reached.") from error
        except ImageMissing:
            return None
        except ImageRefused as error:
            if _is_broken(error.status):
                raise ServiceUnavailable(_BROKEN.format(what="The image service")) from error
            return None


def _facts(image: ImageRecord) -> ImageFacts:
    apart = ("kernel_id", "ramdisk_id")
    return ImageFacts(
        id=image.id,
        name=image.name,
        status=image.status,
        size=image.size,
        virtual_size=image.virtual_size,
        min_disk=image.min_disk,
        min_ram=image.min_ram,
        disk_format=image.disk_format,
        container_format=image.container_format,
        checksum=image.checksum,
        os_hash_algo=image.os_hash_algo,
        os_hash_value=image.os_hash_value,
        kernel_id=image.kernel_id,
        ramdisk_id=image.ramdisk_id,
        properties={key: text for key, text in image.properties.items() if key not in apart},
    )


class NeutronNetworks:
    """`Networks` over the Networking API."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def _get(self, ctx: Context, noun: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        params = {"fields": _FIELDS[noun], **params}
        try:
            reply = self._session.request(
                "GET", "network", f"/v2.0/{noun}", params=params, user_token=ctx.token
            )
        except RemoteUnavailable as error:
            raise ServiceUnavailable("The network service cannot be reached.") from error
        body = _json(reply, "The network service")
        return [] if body is None else list(body[noun.replace("-", "_")])

    def _by_ids(
        self, ctx: Context, noun: str, key: str, ids: Sequence[str]
    ) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for start in range(0, len(ids), _BATCH):
            found += self._get(ctx, noun, {key: list(ids[start : start + _BATCH])})
        return found

    def networks(self, ctx: Context, ids: Sequence[str] | None = None) -> list[NetworkFacts]:
        rows = (
            self._get(ctx, "networks", {})
            if ids is None
            else self._by_ids(ctx, "networks", "id", ids)
        )
        return [
            NetworkFacts(
                id=row["id"],
                name=row.get("name") or "",
                project_id=row.get("project_id") or row.get("tenant_id") or "",
                shared=bool(row.get("shared")),
                external=bool(row.get("router:external")),
                subnets=tuple(row.get("subnets") or ()),
                admin_state_up=bool(row.get("admin_state_up", True)),
            )
            for row in rows
        ]

    def ports(self, ctx: Context, ids: Sequence[str]) -> list[PortFacts]:
        return [_port(row) for row in self._by_ids(ctx, "ports", "id", ids)]

    def ports_of_servers(self, ctx: Context, server_ids: Sequence[str]) -> list[PortFacts]:
        return [_port(row) for row in self._by_ids(ctx, "ports", "device_id", server_ids)]

    def groups(
        self, ctx: Context, project_id: str | None = None, ids: Sequence[str] | None = None
    ) -> list[GroupFacts]:
        if ids is not None:
            rows = self._by_ids(ctx, "security-groups", "id", ids)
        else:
            rows = self._get(ctx, "security-groups", {"project_id": project_id})
        return [
            GroupFacts(
                id=row["id"],
                name=row.get("name") or "",
                project_id=row.get("project_id") or row.get("tenant_id") or "",
                description=row.get("description") or "",
                rules=tuple(row.get("security_group_rules") or ()),
            )
            for row in rows
        ]

    def set_port_groups(self, ctx: Context, port_id: str, group_ids: Sequence[str]) -> None:
        try:
            reply = self._session.request(
                "PUT",
                "network",
                f"/v2.0/ports/{port_id}",
                json={"port": {"security_groups": list(group_ids)}},
                user_token=ctx.token,
            )
        except RemoteUnavailable as error:
            raise ServiceUnavailable("The network service cannot be reached.") from error
        if reply.status == 403:
            raise Forbidden()
        if reply.status in (400, 404, 409):
            raise Bad(error_text(reply))
        _json(reply, "The network service")


def _port(row: Mapping[str, Any]) -> PortFacts:
    return PortFacts(
        id=row["id"],
        network_id=row["network_id"],
        device_id=row.get("device_id") or "",
        mac_address=row.get("mac_address") or "",
        status=row.get("status") or "DOWN",
        fixed_ips=tuple(row.get("fixed_ips") or ()),
        security_groups=tuple(row.get("security_groups") or ()),
    )

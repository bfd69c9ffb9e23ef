"""The Image API on a database and a store of its own, with tokens that say who they are."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from databases import fresh

from gureum.core.context import Context
from gureum.core.db.migrate import migrate
from gureum.core.http.dispatch import Dispatcher
from gureum.core.http.messages import BodyStream, Request
from gureum.core.policy import Policy
from gureum.core.runner import Runner
from gureum.core.spec import Unauthorized
from gureum.glance.config import GlanceOptions
from gureum.glance.drivers.file import FileStore
from gureum.glance.inspector.check import ChildInspector, Found, Inspector
from gureum.glance.logic.deps import Deps
from gureum.glance.reconcilers.leftovers import Leftovers
from gureum.glance.service import SERVICE

PATCH = "application/openstack-images-v2.1-json-patch"


class Tokens:
    """A token is PROJECT:ROLE."""

    def authenticate(self, token: str, service_token: str | None, request_id: str) -> Context:
        project, colon, role = token.partition(":")
        if not colon:
            raise Unauthorized()
        implied = {"admin": ("admin", "member", "reader"), "member": ("member", "reader")}
        roles = implied.get(role, (role,))
        return Context(
            request_id=request_id, user_id=f"user-{project}", project_id=project, roles=roles
        )


class Trusting(Inspector):
    """Takes every file as plain bytes, without the cost of a process."""

    def look(self, path: Any, qemu_format: str) -> Found:
        return Found("raw")


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass
class Cloud:
    """One Image API with its parts."""

    dispatcher: Dispatcher
    deps: Deps
    sent: int = field(default=0)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = "mine:member",
        media: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        path, _, query = path.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        sent = dict(headers or {})
        if token is not None:
            sent["x-auth-token"] = token
        if media is not None:
            sent["content-type"] = media
        data = msgspec.json.encode(body) if body is not None else b""
        return self._send(Request(method, path, pairs, sent, data, base="http://glance"))

    def _send(self, request: Request) -> Answer:
        reply = self.dispatcher.handle(request)
        content = reply.body
        if reply.file is not None:
            with open(reply.file.path, "rb") as source:
                source.seek(reply.file.offset)
                content = source.read(-1 if reply.file.length is None else reply.file.length)
        elif reply.stream is not None:
            content = b"".join(reply.stream)
        return Answer(reply.status, {n.lower(): v for n, v in reply.headers}, content)

    def upload(
        self,
        id: str,
        content: bytes | Iterator[bytes],
        *,
        token: str = "mine:member",
        verb: str = "file",
        length: int | None = None,
        media: str = "application/octet-stream",
    ) -> Answer:
        chunks = iter([content]) if isinstance(content, bytes) else content
        stream = BodyStream(lambda: next(chunks, b""), length)
        sent = {"x-auth-token": token, "content-type": media}
        return self._send(Request("PUT", f"/v2/images/{id}/{verb}", [], sent, stream=stream))

    def create(self, token: str = "mine:member", **values: Any) -> dict[str, Any]:
        body = {"disk_format": "raw", "container_format": "bare", **values}
        answer = self.call("POST", "/v2/images", body, token=token)
        assert answer.status == 201, answer.body
        return dict(answer.json())

    def active(
        self, content: bytes = b"bytes", token: str = "mine:member", **values: Any
    ) -> dict[str, Any]:
        image = self.create(token, **values)
        answer = self.upload(image["id"], content, token=token)
        assert answer.status == 204, answer.body
        return self.show(image["id"], token)

    def show(self, id: str, token: str = "mine:member") -> dict[str, Any]:
        answer = self.call("GET", f"/v2/images/{id}", token=token)
        assert answer.status == 200, answer.body
        return dict(answer.json())

    def names(self, query: str = "", token: str = "mine:member") -> list[str]:
        answer = self.call("GET", f"/v2/images{query}", token=token)
        assert answer.status == 200, answer.body
        return [image["name"] for image in answer.json()["images"]]

    def patch(self, id: str, *steps: Any, token: str = "mine:member", media: str = PATCH) -> Answer:
        return self.call("PATCH", f"/v2/images/{id}", list(steps), token=token, media=media)

    def reconcile(self) -> int:
        return Leftovers(self.deps).reconcile()

    def kept(self) -> set[str]:
        return set(self.deps.store.keys())

    def unpublished(self) -> int:
        folder = self.deps.store._uploads  # type: ignore[attr-defined]
        return sum(1 for path in folder.glob("*/*"))


def build(tmp_path: Any, *, inspect: bool = False, **options: Any) -> Cloud:
    database = fresh("glance", f"sqlite:///{tmp_path}/glance.sqlite")
    migrate(database, "gureum.glance.store.migrations")
    settings = GlanceOptions(filesystem_store_datadir=str(tmp_path / "images"), **options)
    policy = Policy(SERVICE.rules)
    inspector: Inspector = ChildInspector(settings, Runner()) if inspect else Trusting()
    store = FileStore(settings.filesystem_store_datadir)
    deps = Deps(database, settings, policy, store, inspector)
    database.deps = deps
    return Cloud(Dispatcher(SERVICE, policy, Tokens(), {"": database}, deps), deps)


def sha512(content: bytes) -> str:
    return hashlib.sha512(content).hexdigest()

"""The Image API on a database and a store of its own, with tokens that say who they are."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
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
from gureum.core.saga import Engine, SagaStore
from gureum.core.spec import Unauthorized
from gureum.glance import sagas
from gureum.glance.config import GlanceOptions, ImportOptions
from gureum.glance.drivers.cache import ImageCache
from gureum.glance.drivers.fetch import Fetcher, Filters
from gureum.glance.drivers.file import FileStore
from gureum.glance.drivers.http import HttpStore
from gureum.glance.drivers.memory import MemoryStore
from gureum.glance.drivers.stores import Stores
from gureum.glance.inspector.check import ChildInspector, Found, Inspector
from gureum.glance.inspector.convert import QemuConverter
from gureum.glance.logic.deps import Deps
from gureum.glance.logic.limits import OptionLimits
from gureum.glance.reconcilers.cacher import Cacher
from gureum.glance.reconcilers.leftovers import Leftovers
from gureum.glance.service import SERVICE
from gureum.glance.store import tables

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
    clock: Any = None

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
        headers: dict[str, str] | None = None,
    ) -> Answer:
        chunks = iter([content]) if isinstance(content, bytes) else content
        stream = BodyStream(lambda: next(chunks, b""), length)
        sent = {"x-auth-token": token, "content-type": media, **(headers or {})}
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

    def fill_cache(self) -> int:
        return Cacher(self.deps).reconcile()

    def run_sagas(self) -> int:
        """Run every import to its end in this thread, past the waits between tries."""
        engine = Engine(self.deps.db, self.deps.sagas, sagas.ALL, deps=self.deps, name="test")
        done = 0
        for _ in range(40):
            ran = engine.run_due()
            done += ran
            with self.deps.db.read() as tx:
                if not self.deps.sagas.in_state(tx, ("running", "unwinding", "stuck", "queued")):
                    return done
            self.clock.now += 60.0
        raise AssertionError("the sagas do not end")

    def import_image(self, id: str, method: str = "glance-direct", **more: Any) -> Answer:
        details = more.pop("details", {})
        token = more.pop("token", "mine:member")
        body = {"method": {"name": method, **details}, **more}
        return self.call("POST", f"/v2/images/{id}/import", body, token=token)

    def kept(self, store: str = "file") -> set[str]:
        return set(self.deps.stores[store].keys())

    def staged(self) -> set[str]:
        return set(self.deps.staging.keys())

    def unpublished(self) -> int:
        folders = [self.deps.store._uploads, self.deps.staging._uploads]  # type: ignore[attr-defined]
        return sum(1 for folder in folders for path in folder.glob("*/*"))


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def build(
    tmp_path: Any,
    *,
    inspect: bool = False,
    filters: Filters | None = None,
    resolver: Any = None,
    imports: ImportOptions | None = None,
    more_stores: Any = (),
    runner: Runner | None = None,
    **options: Any,
) -> Cloud:
    tmp_path.mkdir(exist_ok=True)
    database = fresh("glance", f"sqlite:///{tmp_path}/glance.sqlite")
    migrate(database, "gureum.glance.store.migrations")
    settings = GlanceOptions(
        filesystem_store_datadir=str(tmp_path / "images"),
        image_cache_dir=str(tmp_path / "cache"),
        **options,
    )
    wanted = imports or ImportOptions()
    policy = Policy(SERVICE.rules)
    inspector: Inspector = ChildInspector(settings, Runner()) if inspect else Trusting()
    given = {"resolver": resolver} if resolver else {}
    fetcher = Fetcher(filters or Filters(), timeout_s=5, **given)
    stores = [FileStore(settings.filesystem_store_datadir), *more_stores]
    clock = Clock()
    deps = Deps(
        db=database,
        options=settings,
        imports=wanted,
        policy=policy,
        stores=Stores(stores, "file"),
        staging=FileStore(tmp_path / "staging", "staging"),
        inspector=inspector,
        converter=QemuConverter(wanted, runner or Runner()),
        fetcher=fetcher,
        sagas=SagaStore(tables.metadata, clock=clock),
        limits=OptionLimits(settings),
        cache=ImageCache(
            settings.image_cache_dir, max_bytes=settings.image_cache_max_size, stall_s=60
        ),
    )
    database.deps = deps
    return Cloud(Dispatcher(SERVICE, policy, Tokens(), {"": database}, deps), deps, clock)


def web_store(deps_or_fetcher: Fetcher, name: str = "web") -> HttpStore:
    return HttpStore(deps_or_fetcher, name)


__all__ = ["MemoryStore", "build", "sha512", "web_store"]


def sha512(content: bytes) -> str:
    return hashlib.sha512(content).hexdigest()

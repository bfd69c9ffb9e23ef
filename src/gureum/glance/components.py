"""Glance's one component."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from gureum.core.api import ApiComponent, open_policy
from gureum.core.config import Config
from gureum.core.db import Database
from gureum.core.http.dispatch import Authenticator
from gureum.core.http.edge import App
from gureum.core.reconcile import Reconcilers
from gureum.core.run import Runtime
from gureum.core.runner import Runner
from gureum.core.saga import Engine, SagaStore
from gureum.glance import notices, sagas
from gureum.glance.config import BackendOptions, FilterOptions, GlanceOptions, ImportOptions
from gureum.glance.drivers.cache import ImageCache
from gureum.glance.drivers.fetch import Fetcher, Filters
from gureum.glance.drivers.file import FileStore
from gureum.glance.drivers.open import open_stores
from gureum.glance.drivers.stores import Stores
from gureum.glance.front import Front
from gureum.glance.inspector.check import ChildInspector
from gureum.glance.inspector.convert import QemuConverter
from gureum.glance.logic.deps import Deps
from gureum.glance.logic.limits import KeystoneLimits, Limits, OptionLimits
from gureum.glance.reconcilers.cacher import NAME as CACHER
from gureum.glance.reconcilers.cacher import Cacher
from gureum.glance.reconcilers.leftovers import Leftovers
from gureum.glance.service import SERVICE
from gureum.glance.store import tables
from gureum.keystone.client import Session
from gureum.keystone.components import session_for, token_checker

PORT = 9292


def staging_folder(uri: str) -> Path:
    """Return the folder of `node_staging_uri`. Raises: ValueError."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc or not parts.path.startswith("/"):
        raise ValueError(f"node_staging_uri must be file:///FOLDER, not {uri!r}")
    return Path(parts.path)


def make_fetcher(options: FilterOptions) -> Fetcher:
    """Return what follows the URLs of users."""
    filters = Filters(
        options.allowed_schemes,
        options.disallowed_schemes,
        options.allowed_hosts,
        options.disallowed_hosts,
        options.allowed_ports,
        options.disallowed_ports,
        options.allowed_private_networks,
    )
    return Fetcher(filters, max_redirects=options.max_redirects)


def make_cache(options: GlanceOptions) -> ImageCache | None:
    """Return the image cache, or None when it is off."""
    if not options.image_cache_dir:
        return None
    return ImageCache(
        options.image_cache_dir,
        max_bytes=options.image_cache_max_size,
        stall_s=options.image_cache_stall_time,
    )


class GlanceApi(ApiComponent):
    """The Image API, the imports it began, and the loops that clean up."""

    name = "glance-api"
    service = SERVICE
    port = PORT

    def __init__(self) -> None:
        self._reconcilers: Reconcilers | None = None
        self._stores: Stores | None = None
        self._staging: FileStore | None = None
        self._engine: Engine | None = None

    def make_deps(self, runtime: Runtime, databases: dict[str, Database]) -> Deps:
        """Open the stores and collect the rest."""
        config: Config = runtime.config
        options, imports = config.get(GlanceOptions), config.get(ImportOptions)
        session = session_for(runtime, "glance")
        self._staging = FileStore(staging_folder(options.node_staging_uri), "staging")
        fetcher = make_fetcher(config.get(FilterOptions))
        self._stores = open_stores(options, config.named(BackendOptions), self._staging, fetcher)
        return Deps(
            db=databases[""],
            options=options,
            imports=imports,
            policy=open_policy(runtime, SERVICE),
            stores=self._stores,
            staging=self._staging,
            inspector=ChildInspector(options, Runner()),
            converter=QemuConverter(imports, Runner()),
            fetcher=fetcher,
            sagas=SagaStore(tables.metadata, wake=self._wake),
            limits=self._limits(runtime, options, session),
            cache=make_cache(options),
            session=session,
            wake_cacher=self._wake_cacher,
        )

    @staticmethod
    def _limits(runtime: Runtime, options: GlanceOptions, session: Session) -> Limits:
        own = OptionLimits(options)  # a bad amount stops the start, not an upload
        if not options.use_keystone_limits:
            return own
        return KeystoneLimits(session, runtime.cloud.region, options.keystone_limits_cache_s)

    def _wake(self) -> None:
        if self._engine is not None:
            self._engine.wake()

    def _wake_cacher(self) -> None:
        if self._reconcilers is not None:
            self._reconcilers.wake(CACHER)

    def authenticator(self, runtime: Runtime, deps: Deps) -> Authenticator:
        """Ask Keystone as the user glance."""
        return token_checker(runtime, "glance")

    def application(self, runtime: Runtime) -> App:
        """Return the application, with errors in the form that clients of images expect."""
        return App(Front(self.dispatcher), runtime.pools)

    def start(self, runtime: Runtime) -> None:
        """Serve the API, run imports, and look for leftovers from the start on."""
        super().start(runtime)
        deps: Deps = self.dispatcher.deps
        self._engine = Engine(
            deps.db,
            deps.sagas,
            sagas.ALL,
            deps=deps,
            name=f"glance-api/{runtime.instance}",
            workers=deps.options.import_workers,
            observers=[notices.imports(deps.db, runtime.events)] if runtime.events else [],
        )
        self._engine.start()
        self._reconcilers = Reconcilers([Leftovers(deps), Cacher(deps)], leases=None)
        self._reconcilers.start()

    def stop(self) -> None:
        """Stop imports at a step and the loops; release this process's place in the stores."""
        if self._engine is not None:
            self._engine.stop()
        if self._reconcilers is not None:
            self._reconcilers.stop()
        if self._stores is not None:
            self._stores.close()
        if self._staging is not None:
            self._staging.close()

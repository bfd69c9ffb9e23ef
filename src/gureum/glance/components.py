"""Glance's one component."""

from __future__ import annotations

from gureum.core.api import ApiComponent, open_policy
from gureum.core.db import Database
from gureum.core.http.dispatch import Authenticator
from gureum.core.reconcile import Reconcilers
from gureum.core.run import Runtime
from gureum.core.runner import Runner
from gureum.glance.config import GlanceOptions
from gureum.glance.drivers.base import Store
from gureum.glance.drivers.file import FileStore
from gureum.glance.drivers.memory import MemoryStore
from gureum.glance.inspector.check import ChildInspector
from gureum.glance.logic.data import quota_bytes
from gureum.glance.logic.deps import Deps
from gureum.glance.reconcilers.leftovers import Leftovers
from gureum.glance.service import SERVICE
from gureum.keystone.components import token_checker

PORT = 9292


def open_store(options: GlanceOptions) -> Store:
    """Open the store that the options name."""
    if options.store == "memory":
        return MemoryStore()
    return FileStore(options.filesystem_store_datadir)


class GlanceApi(ApiComponent):
    """The Image API."""

    name = "glance-api"
    service = SERVICE
    port = PORT

    def __init__(self) -> None:
        self._reconcilers: Reconcilers | None = None
        self._store: Store | None = None

    def make_deps(self, runtime: Runtime, databases: dict[str, Database]) -> Deps:
        """Open the store and collect the rest."""
        options = runtime.config.get(GlanceOptions)
        quota_bytes(options.user_storage_quota)  # a bad amount stops the start, not an upload
        self._store = open_store(options)
        return Deps(
            db=databases[""],
            options=options,
            policy=open_policy(runtime, SERVICE),
            store=self._store,
            inspector=ChildInspector(options, Runner()),
        )

    def authenticator(self, runtime: Runtime, deps: Deps) -> Authenticator:
        """Ask Keystone as the user glance."""
        return token_checker(runtime, "glance")

    def start(self, runtime: Runtime) -> None:
        """Serve the API, and look for leftovers from the start on."""
        super().start(runtime)
        self._reconcilers = Reconcilers([Leftovers(self.dispatcher.deps)], leases=None)
        self._reconcilers.start()

    def stop(self) -> None:
        """Stop the loops; release this process's place in the store."""
        if self._reconcilers is not None:
            self._reconcilers.stop()
        if self._store is not None:
            self._store.close()

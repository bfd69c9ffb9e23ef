"""The component that serves one service's API: databases, policy, dispatcher, port.

A service derives one small class from `ApiComponent`; what differs is its `Service`, its port, its deps
object and how it learns who a token belongs to.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import replace
from typing import Any

from gureum.core.announce import announced
from gureum.core.db import Database
from gureum.core.events import Events
from gureum.core.http.dispatch import Authenticator, Dispatcher
from gureum.core.http.edge import App
from gureum.core.policy import Policy
from gureum.core.run import Component, Runtime
from gureum.core.service import Service
from gureum.core.spec.versions import BASE


def open_databases(runtime: Runtime, service: Service) -> dict[str, Database]:
    """Return the service's databases by name, the first one also as ""."""
    databases = {spec.name: runtime.database(spec.name) for spec in service.databases}
    if service.databases:
        databases[""] = databases[service.databases[0].name]
    return databases


def open_policy(runtime: Runtime, service: Service) -> Policy:
    """Return the service's rules with the overrides of `CONFIG_DIR/SERVICE/policy.yaml` if there."""
    path = os.path.join(runtime.cloud.config_dir, service.name, "policy.yaml")
    return Policy(service.rules, path if os.path.exists(path) else None)


def announcing(service: Service, events: Events | None) -> Service:
    """Return a service whose operations tell events, as its notices say; the same one without events."""
    if events is None or service.notices is None:
        return service
    newest = service.versions.maximum if service.versions is not None else BASE
    told = announced(service.operations, service.notices, events, newest)
    return replace(service, operations=told)


class ApiComponent(Component):
    """Serves one API at one port.

    Class attributes: `service`, `port` (before the cloud's offset). `start` leaves `self.dispatcher`.
    """

    service: Service
    port: int
    dispatcher: Dispatcher

    @abstractmethod
    def authenticator(self, runtime: Runtime, deps: Any) -> Authenticator:
        """Return what turns tokens into contexts."""

    @abstractmethod
    def make_deps(self, runtime: Runtime, databases: dict[str, Database]) -> Any:
        """Return the service's own object: options, clients, saga engine. Put on every transaction."""

    def start(self, runtime: Runtime) -> None:
        """Build the dispatcher, mount it, and let this process's clients call it without a socket."""
        databases = open_databases(runtime, self.service)
        deps = self.make_deps(runtime, databases)
        for database in databases.values():
            database.deps = deps
        base = f"http://{runtime.cloud.address}:{runtime.port(self.port)}"
        self.dispatcher = Dispatcher(
            announcing(self.service, runtime.events),
            open_policy(runtime, self.service),
            self.authenticator(runtime, deps),
            databases,
            deps,
            observe=runtime.metrics.observe_request,
            www_authenticate=f'Keystone uri="http://{runtime.cloud.address}:{runtime.port(5000)}"',
        )
        runtime.client.bind(base, self.dispatcher)
        runtime.http.mount(
            self.name,
            runtime.cloud.bind_address,
            runtime.port(self.port),
            self.application(runtime),
        )

    def application(self, runtime: Runtime) -> Any:
        """Return the ASGI application of the dispatcher; a service with older paths wraps it."""
        return App(self.dispatcher, runtime.pools)

    def stop(self) -> None:
        """Nothing of its own runs; the process drains the port."""

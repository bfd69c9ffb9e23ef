"""Nova's components of the control process: the API and the metadata service.

nova-scheduler, nova-conductor and nova-novncproxy are in folders of their own.
"""

from __future__ import annotations

from typing import Any

from gureum.core.api import ApiComponent, open_policy
from gureum.core.bus.base import Service as BusService
from gureum.core.bus.contract import FAST
from gureum.core.db.engine import Database
from gureum.core.http.dispatch import Authenticator
from gureum.core.run import Component, Runtime
from gureum.core.saga.store import SagaStore
from gureum.keystone.components import session_for, token_checker
from gureum.nova import sagas
from gureum.nova.agent.config import LibvirtOptions
from gureum.nova.agent.contract import ComputeAgent
from gureum.nova.conductor.component import NovaConductor, waker
from gureum.nova.conductor.contract import ConductorHints
from gureum.nova.config import ConsoleAuthOptions, NovaOptions, QuotaOptions, VncOptions
from gureum.nova.console.component import NovaNovncproxy
from gureum.nova.console.config import NovncProxyOptions
from gureum.nova.console.contract import ConsoleAuth
from gureum.nova.console_auth import ConsoleAuthWorker
from gureum.nova.deps import Deps
from gureum.nova.guest_metadata import GuestMetadata
from gureum.nova.legacy import LegacyPaths
from gureum.nova.metadata.app import MetadataApp
from gureum.nova.metadata.config import MetadataOptions
from gureum.nova.outside import GlanceImages, NeutronNetworks
from gureum.nova.scheduler.component import NovaScheduler
from gureum.nova.service import SERVICE
from gureum.nova.store.tables import CELL, DATABASE_OF_CELL

__all__ = [
    "NovaApi",
    "NovaConductor",
    "NovaMetadataApi",
    "NovaNovncproxy",
    "NovaScheduler",
]

PORT = 8774
PAGE = "vnc_lite.html"


def novnc_url(runtime: Runtime) -> str:
    """Return the URL of the console page, without a token."""
    base = runtime.config.get(VncOptions).novncproxy_base_url
    if base:
        return base if base.endswith(".html") else f"{base.rstrip('/')}/{PAGE}"
    port = runtime.port(runtime.config.get(NovncProxyOptions).novncproxy_port)
    return f"http://{runtime.cloud.address}:{port}/{PAGE}"


def open_cells(runtime: Runtime) -> dict[str, Database]:
    """Return the cells' databases by cell."""
    return {cell: runtime.database(name) for cell, name in DATABASE_OF_CELL.items()}


class NovaApi(ApiComponent):
    """The Compute API, and the answers to the console proxy."""

    name = "nova-api"
    service = SERVICE
    port = PORT

    def __init__(self) -> None:
        self._served: BusService | None = None

    def make_deps(self, runtime: Runtime, databases: dict[str, Database]) -> Deps:
        """Collect databases, options and the ways to others."""
        session = session_for(runtime, "nova")
        hints = runtime.bus.client(ConductorHints)

        def compute(host: str) -> ComputeAgent:
            return runtime.bus.client(ComputeAgent, host, timeout_s=FAST)

        return Deps(
            api=databases["nova_api"],
            cells=open_cells(runtime),
            policy=open_policy(runtime, self.service),
            saga_store=SagaStore(CELL, wake=waker(runtime.bus)),
            sagas=sagas.BY_NAME,
            images=GlanceImages(session),
            networks=NeutronNetworks(session),
            compute=compute,
            options=runtime.config.get(NovaOptions),
            quotas=runtime.config.get(QuotaOptions),
            vnc=runtime.config.get(VncOptions),
            consoles=runtime.config.get(ConsoleAuthOptions),
            instance_name_template=runtime.config.get(LibvirtOptions).instance_name_template,
            novnc_url=novnc_url(runtime),
            refresh_ports=hints.refresh_ports,
        )

    def authenticator(self, runtime: Runtime, deps: Any) -> Authenticator:
        """Ask Keystone as the user nova."""
        return token_checker(runtime, "nova")

    def application(self, runtime: Runtime) -> LegacyPaths:
        """Serve /v2 too."""
        return LegacyPaths(super().application(runtime))

    def start(self, runtime: Runtime) -> None:
        """Serve the API, then the console proxy's questions."""
        super().start(runtime)
        worker = ConsoleAuthWorker(self.dispatcher.deps)
        self._served = runtime.bus.serve(ConsoleAuth, worker, runtime.host, workers=2)

    def stop(self) -> None:
        """Stop answering the console proxy."""
        if self._served is not None:
            self._served.close()
            self._served = None


class NovaMetadataApi(Component):
    """What a guest reads at 169.254.169.254, behind the metadata agents."""

    name = "nova-metadata-api"

    def __init__(self) -> None:
        self._app: MetadataApp | None = None

    def start(self, runtime: Runtime) -> None:
        """Mount the metadata application."""
        options = runtime.config.get(MetadataOptions)
        zone = runtime.config.get(NovaOptions).default_availability_zone
        guests = GuestMetadata(runtime.database("nova_api"), open_cells(runtime), options, zone)
        self._app = MetadataApp(options, guests.lookup, guests.store_password)
        runtime.http.mount(
            self.name,
            runtime.cloud.bind_address,
            runtime.port(options.metadata_port),
            self._app,
        )

    def stop(self) -> None:
        """Stop the lookups."""
        if self._app is not None:
            self._app.close()

"""Databases brought up to date and filled with what a service cannot do without.

Owns: migrating every database of every service, calling each service's bootstrap, the endpoint URLs of the
catalogue. Must not: know a table. All of it may run again at any time.
"""

import importlib
import importlib.util

from gureum import components
from gureum.core.config import CloudOptions
from gureum.core.db.migrate import migrate
from gureum.core.run import Runtime
from gureum.core.service import Service
from gureum.keystone.bootstrap import CatalogEntry, Plan
from gureum.keystone.bootstrap import bootstrap as bootstrap_identity
from gureum.keystone.components import make_deps
from gureum.keystone.config import ServicePasswordOptions, ServiceUserOptions
from gureum.provision.options import InstallOptions

PREFIX_IN_CATALOG = frozenset({"keystone", "nova"})
"""Services whose endpoint carries the version; clients find the others' by discovery."""


def names() -> list[str]:
    """Every database of every service."""
    return [spec.name for service in components.services() for spec in service.databases]


def migrate_all(runtime: Runtime) -> list[str]:
    """Apply missing migrations; returns a line for each applied."""
    lines: list[str] = []
    for service in components.services():
        for spec in service.databases:
            for step in migrate(runtime.database(spec.name), spec.migrations):
                lines.append(f"{spec.name}: {step.number:04} {step.name}")
    return lines


def bootstrap_all(runtime: Runtime) -> None:
    """Let every service make its first rows; Keystone first, as the others log in with it."""
    _bootstrap_identity(runtime)
    for service in components.services():
        module = f"gureum.{service.name}.bootstrap"
        if service.name != "keystone" and importlib.util.find_spec(module) is not None:
            importlib.import_module(module).bootstrap(runtime)


def _bootstrap_identity(runtime: Runtime) -> None:
    """Keystone alone is told what only the installer knows."""
    accounts = runtime.config.get(ServiceUserOptions)
    passwords = {
        accounts.name_prefix + name: options.password
        for name, options in runtime.config.named(ServicePasswordOptions).items()
    }
    database = runtime.database("keystone")
    plan = Plan(
        admin_password=runtime.config.get(InstallOptions).admin_password,
        region=runtime.cloud.region,
        catalog=catalog(runtime.cloud),
        service_users=passwords,
        service_project=accounts.project_name,
    )
    bootstrap_identity(database, make_deps(runtime, database), plan)


def catalog(cloud: CloudOptions) -> list[CatalogEntry]:
    """The endpoints of every service of this cloud; one URL for all three interfaces."""
    found: list[CatalogEntry] = []
    for service in components.services():
        url = endpoint_url(cloud, service)
        if url is None:
            continue
        found.append(CatalogEntry(service.name, service.type, url, url, url, service.title))
    return found


def endpoint_url(cloud: CloudOptions, service: Service) -> str | None:
    """Where users reach a service; None when nothing of this program serves it."""
    ports = [
        components.COMPONENTS[name].port
        for name in components.names(components.CONTROL)
        if components.COMPONENTS[name].where.startswith(f"gureum.{service.name}.")
    ]
    port = next((port for port in ports if port is not None), None)
    if port is None:
        return None
    prefix = service.prefix if service.name in PREFIX_IN_CATALOG else ""
    return f"http://{cloud.address}:{port + cloud.port_offset}{prefix}"

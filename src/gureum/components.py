"""The map of the program: every component, the class that is it, and where its options stand.

Read this first. `gureum run NAME…` runs any of these in one process; `gureum up` runs the control
components without root in one process and the node components as root in another.

Must not: import a component at import time. A name is resolved when it is asked for.
"""

import importlib
import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from gureum.core.config import collect
from gureum.core.options import CORE_SECTIONS

if TYPE_CHECKING:
    from gureum.core.run import Component
    from gureum.core.service import Service


@dataclass(frozen=True, slots=True)
class Entry:
    """One component: `where` is "module:Class", `process` the half of `gureum up` it runs in.

    port: the usual port of its API, before the cloud's offset.
    """

    where: str
    process: str
    text: str
    port: int | None = None

    @property
    def module(self) -> str:
        """The module part of `where`."""
        return self.where.split(":", 1)[0]


CONTROL = "control"
NODE = "node"

SIMULATED = "simulated"

COMPONENTS: dict[str, Entry] = {
    "keystone": Entry(
        "gureum.keystone.components:KeystoneApi", CONTROL, "Identity API: tokens, catalogue.", 5000
    ),
    "glance-api": Entry(
        "gureum.glance.components:GlanceApi", CONTROL, "Image API: metadata and bytes.", 9292
    ),
    "placement-api": Entry(
        "gureum.placement.components:PlacementApi",
        CONTROL,
        "Inventories, allocations, candidates.",
        8778,
    ),
    "neutron-server": Entry(
        "gureum.neutron.components:NeutronServer",
        CONTROL,
        "Network API, ML2, answers to agents.",
        9696,
    ),
    "nova-api": Entry("gureum.nova.components:NovaApi", CONTROL, "Compute API.", 8774),
    "nova-metadata-api": Entry(
        "gureum.nova.components:NovaMetadataApi", CONTROL, "What a guest asks about itself.", 8775
    ),
    "nova-scheduler": Entry(
        "gureum.nova.scheduler.component:NovaScheduler", CONTROL, "Chooses a host for a server."
    ),
    "nova-conductor": Entry(
        "gureum.nova.conductor.component:NovaConductor",
        CONTROL,
        "Runs the sagas; stands before the database.",
    ),
    "nova-novncproxy": Entry(
        "gureum.nova.components:NovaNovncproxy", CONTROL, "Screens of guests in a browser.", 6080
    ),
    "neutron-openvswitch-agent": Entry(
        "gureum.neutron.agents.l2.component:OpenvswitchAgent", NODE, "Ports of guests on a host."
    ),
    "neutron-dhcp-agent": Entry(
        "gureum.neutron.agents.dhcp.component:DhcpAgent", NODE, "Addresses for guests: dnsmasq."
    ),
    "neutron-l3-agent": Entry(
        "gureum.neutron.agents.l3.component:L3Agent", NODE, "Routers and floating addresses."
    ),
    "neutron-metadata-agent": Entry(
        "gureum.neutron.agents.metadata.component:MetadataAgent", NODE, "169.254.169.254."
    ),
    "neutron-simulated-agents": Entry(
        "gureum.neutron.agents.simulated:SimulatedAgents",
        SIMULATED,
        "Stand in for the network agents of a simulated cloud.",
    ),
    "nova-compute": Entry(
        "gureum.nova.agent.component:NovaCompute", NODE, "Guests of a host, through libvirt."
    ),
}

SERVICES: tuple[str, ...] = (
    "gureum.keystone.service",
    "gureum.placement.service",
    "gureum.glance.service",
    "gureum.neutron.service",
    "gureum.nova.service",
)
"""The table of contents of every service: a module with `SERVICE`."""

OPTION_MODULES: tuple[str, ...] = (
    "gureum.core.trace_otlp",
    "gureum.provision.options",
    "gureum.keystone.config",
    "gureum.glance.config",
    "gureum.placement.config",
    "gureum.nova.config",
    "gureum.nova.conductor.config",
    "gureum.nova.scheduler.config",
    "gureum.nova.agent.config",
    "gureum.neutron.config",
    "gureum.nova.metadata.config",
    "gureum.nova.console.config",
    "gureum.neutron.agents.l2.config",
    "gureum.neutron.agents.l3.config",
    "gureum.neutron.agents.dhcp.config",
    "gureum.neutron.agents.metadata.config",
)
"""The `config.py` of every service and agent."""


class UnknownComponent(Exception):
    """Nobody knows a component of this name."""


def load(name: str) -> "Component":
    """Make a component. Raises: UnknownComponent."""
    from gureum.core.run import Component  # commands that only read settings do without

    entry = COMPONENTS.get(name)
    if entry is None:
        raise UnknownComponent(f"no component is called {name}; known: {', '.join(COMPONENTS)}")
    module, _, cls = entry.where.partition(":")
    component = getattr(importlib.import_module(module), cls)()
    if not isinstance(component, Component):
        raise TypeError(f"{entry.where} is not a Component")
    return component


def names(process: str | None = None) -> list[str]:
    """The components of one half (None: of both), in starting order."""
    return [
        name
        for name, entry in COMPONENTS.items()
        if process in (None, entry.process) and _exists(entry.module)
    ]


def simulated_names() -> list[str]:
    """The components of a simulated cloud, in starting order."""
    return [*names(CONTROL), *names(SIMULATED), "nova-compute"]


def services() -> "list[Service]":
    """The table of contents of every service."""
    return [importlib.import_module(name).SERVICE for name in SERVICES if _exists(name)]


def sections() -> tuple[type, ...]:
    """Every options class of the program."""
    modules: list[ModuleType] = [
        importlib.import_module(name) for name in OPTION_MODULES if _exists(name)
    ]
    found = [cls for module in modules for cls in collect(module)]
    return tuple(dict.fromkeys([*CORE_SECTIONS, *found]))


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


_SERVICE = re.compile(r"^gureum\.(\w+)\.(\w+)")
_OF_CONDUCTOR = ("sagas", "reconcilers", "conductor")
_OF_COMPUTE = ("drivers",)


@cache
def of_module(module: str) -> str:
    """The component that works in a module; nothing for modules that many share."""
    found = _SERVICE.match(module)
    if found is None or found[1] == "core":
        return ""
    service, layer = found.groups()
    if layer in _OF_CONDUCTOR and f"{service}-conductor" in COMPONENTS:
        return f"{service}-conductor"
    if layer in _OF_COMPUTE and f"{service}-compute" in COMPONENTS:
        return f"{service}-compute"
    best, length = "", 0
    for name, entry in COMPONENTS.items():
        package = entry.module.rsplit(".", 1)[0]
        if module == entry.module:
            return name
        if (module + ".").startswith(package + ".") and len(package) > length:
            best, length = name, len(package)
    return best

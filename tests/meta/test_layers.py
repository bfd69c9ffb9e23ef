"""Who may import whom: docs/architecture.md, "Imports"."""

import re

from source import SERVICES, Module, modules

ABOVE_SERVICES = ("audit", "cli", "provision", "pages", "components", "__main__")
WITH_AGENTS = ("nova", "neutron")
PUBLIC_OF_A_SERVICE = ("client", "config")
"""What another service may import of a service; an agent's contract besides, for those that ask it."""


def layer(module: Module) -> str:
    """The layer of a service's module: its folder, or its own name."""
    parts = module.parts
    if parts[0] not in SERVICES or len(parts) < 2:
        return ""
    if parts[1] == "agents" or parts[1] == "agent":
        return "agent"
    return parts[1]


def target_layer(name: str) -> tuple[str, str, tuple[str, ...]]:
    """(service, layer, further parts) of a dotted name."""
    parts = tuple(name.split(".")[1:])
    if parts[0] not in SERVICES or len(parts) < 2:
        return parts[0], "", parts
    kind = "agent" if parts[1] in ("agent", "agents") else parts[1]
    return parts[0], kind, parts[2:]


def violations(refuse) -> list[str]:
    found = []
    for module in modules():
        for name, line, _top in module.imports():
            reason = refuse(module, name)
            if reason:
                found.append(f"{module.name}:{line} imports {name}: {reason}")
    return found


def test_core_knows_no_service():
    def refuse(module: Module, name: str) -> str:
        if module.parts[:1] != ("core",):
            return ""
        return "" if name.startswith("gureum.core") else "core imports core only"

    assert violations(refuse) == []


def test_services_do_not_know_the_program_around_them():
    def refuse(module: Module, name: str) -> str:
        if not module.parts or module.parts[0] not in SERVICES:
            return ""
        return "that is above" if name.split(".")[1] in ABOVE_SERVICES else ""

    assert violations(refuse) == []


def test_another_service_is_reached_through_its_client_only():
    def refuse(module: Module, name: str) -> str:
        if not module.parts or module.parts[0] not in SERVICES:
            return ""
        service, kind, rest = target_layer(name)
        if service not in SERVICES or service == module.parts[0]:
            return ""
        if kind in PUBLIC_OF_A_SERVICE or (kind == "agent" and "contract" in rest):
            return ""
        if kind == "components" and layer(module) == "components":
            return ""  # where a process is put together
        return f"{service} is reached through gureum.{service}.client"

    assert violations(refuse) == []


def test_api_and_logic_and_store_stand_on_each_other():
    allowed_below = {
        "store": {"sagas", "api", "logic", "agent", "drivers", "reconcilers"},
        "logic": {"api", "sagas_run", "agent", "drivers"},
        "model": {"api", "logic", "store", "sagas", "agent", "drivers", "client"},
    }

    def refuse(module: Module, name: str) -> str:
        own = layer(module)
        service, kind, rest = target_layer(name)
        if kind == "agent" and rest[:1] == ("contract",):
            return ""  # words that both sides share
        if kind == "drivers" and service not in WITH_AGENTS:
            return ""  # its API stands on the drivers itself
        if own in allowed_below and service == module.parts[0] and kind in allowed_below[own]:
            return f"{own} stands below {kind}"
        return ""

    assert violations(refuse) == []


def test_agents_and_drivers_never_see_a_store():
    def refuse(module: Module, name: str) -> str:
        if layer(module) not in ("agent", "drivers"):
            return ""
        _service, kind, _rest = target_layer(name)
        if kind in ("store", "api", "logic", "sagas", "reconcilers", "scheduler"):
            return "agents and drivers never see a database"
        return "" if not name.startswith("gureum.core.db.engine.Database") else "no database"

    assert violations(refuse) == []


NOUNS = re.compile(
    r"\b(flavou?rs?|hypervisors?|tenants?|subnets?|keystone|nova|neutron|glance"
    r"|cinder|swift|heat|placement|floating[ _]ips?|openstack\.)\b",
    re.IGNORECASE,
)


def test_no_noun_of_a_service_in_the_code_of_core():
    """Names and texts; examples in docstrings and comments may name a service."""
    import ast

    found = []
    for module in modules():
        if module.parts[:1] != ("core",):
            continue
        for node in ast.walk(module.tree):
            names: list[str] = []
            if isinstance(node, ast.Name):
                names = [node.id]
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.arg):
                names = [node.arg]
            elif isinstance(node, ast.Attribute):
                names = [node.attr]
            for name in names:
                words = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ")
                if NOUNS.search(words):
                    found.append(f"{module.name}:{node.lineno} {name}")
    assert found == []

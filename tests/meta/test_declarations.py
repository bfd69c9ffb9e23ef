"""What every declaration must say, and that the generated pages say it too."""

import dataclasses
import importlib
import tomllib
from pathlib import Path

import pytest

from gureum import components
from gureum.core.config import load, option_info, section_of
from gureum.core.config_docs import sample_toml
from gureum.core.run import Component
from gureum.core.spec.operations import PUBLIC, TOKEN
from gureum.pages import pages


def test_every_option_has_a_text_and_a_unit_in_its_name_or_declaration():
    found = []
    for cls in components.sections():
        for declared in dataclasses.fields(cls):
            info = option_info(declared)
            where = f"[{section_of(cls).path}] {declared.name}"
            if not info.text.strip().endswith("."):
                found.append(f"{where}: its text is not a sentence")
            if declared.name.endswith("_s") and info.unit != "s":
                found.append(f"{where}: say unit='s'")
    assert found == []


def test_every_section_is_declared_once():
    paths = [section_of(cls).path for cls in components.sections()]
    assert len(paths) == len(set(paths))


def test_defaults_pass_their_own_checks(tmp_path):
    path = tmp_path / "empty.toml"
    path.write_text("")
    load([path], components.sections())


def test_defaults_stay_inside_the_folders_of_the_cloud():
    """Several clouds live on one machine, so no default may name the machine's own folders."""
    found = []
    for cls in components.sections():
        for declared in dataclasses.fields(cls):
            default = str(declared.default)
            inside = ("/var/lib/gureum", "/run/gureum", "/etc/gureum", "/var/log/gureum")
            if default.startswith(inside) and section_of(cls).path != "gureum":
                found.append(f"[{section_of(cls).path}] {declared.name} = {default}")
    assert found == []


def test_sample_file_is_valid_toml():
    tomllib.loads(sample_toml(components.sections()))


@pytest.mark.parametrize("name", components.names())
def test_component_can_be_made_and_carries_its_name(name):
    entry = components.COMPONENTS[name]
    try:
        importlib.import_module(entry.module)
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] == "gureum":
            raise
        pytest.skip(f"{error.name} is not installed; it comes with `gureum up`")
    component = components.load(name)
    assert isinstance(component, Component)
    assert component.name == name


@pytest.mark.parametrize("service", components.services(), ids=lambda s: s.name)
def test_every_operation_has_text_and_a_known_rule(service):
    rules = {rule.name for rule in service.rules}
    found = []
    for op in (*service.root_operations, *service.operations):
        if not op.text.strip():
            found.append(f"{op.method} {op.path}: no text")
        if op.policy not in (PUBLIC, TOKEN) and op.policy not in rules:
            found.append(f"{op.method} {op.path}: unknown rule {op.policy}")
    assert found == []


@pytest.mark.parametrize("service", components.services(), ids=lambda s: s.name)
def test_every_rule_has_a_text(service):
    assert [rule.name for rule in service.rules if not rule.text.strip()] == []


@pytest.mark.parametrize("service", components.services(), ids=lambda s: s.name)
def test_components_of_a_service_are_on_the_map(service):
    known = {name: entry.where for name, entry in components.COMPONENTS.items()}
    for name, where in service.components.items():
        assert known.get(name) == where


@pytest.mark.parametrize("name", sorted(pages.pages()))
def test_generated_page_is_up_to_date(name):
    path = Path(pages.clone() / "docs" / name)
    assert path.exists(), f"docs/{name} is missing: ./gureum docs generate"
    same = path.read_text(encoding="utf-8") == pages.pages()[name]()
    assert same, f"docs/{name} is old: ./gureum docs generate"

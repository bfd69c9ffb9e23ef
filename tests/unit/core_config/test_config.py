"""What the configuration file may say, and what is answered when it says something else."""

import os
import tomllib
from dataclasses import dataclass

import pytest

from gureum.core import config as core_config
from gureum.core.config import CloudOptions, ConfigError, load, loads, option, section
from gureum.core.config_docs import dump, options_page, sample_toml


@section("demo", "A demonstration.")
@dataclass(frozen=True, slots=True)
class DemoOptions:
    workers: int = option("Worker threads.", default=4, min=1, max=64)
    timeout_s: float = option("How long to wait.", default=2.5, unit="s", min=0)
    enabled: bool = option("Whether it runs.", default=True)
    kind: str = option("Which kind.", default="qemu", choices=("qemu", "kvm"))
    names: tuple[str, ...] = option("Names.", default=("a",))
    mappings: dict[str, str] = option("Bridges.", default={})
    path: str = option("Where.", default="{state_dir}/demo/{service}.db")
    nothing: str | None = option("May be absent.", default=None)


@section("demo.deep")
@dataclass(frozen=True, slots=True)
class DeepOptions:
    password: str = option("A password.", default="", secret=True)


@section("demo.backend.*", "One back end each.")
@dataclass(frozen=True, slots=True)
class BackendOptions:
    driver: str = option("Driver.", default="fake")


ALL = (DemoOptions, DeepOptions, BackendOptions)


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, ALL)
    return [str(problem) for problem in caught.value.problems]


def test_empty_file_gives_every_default():
    demo = loads("", ALL).get(DemoOptions)
    assert (demo.workers, demo.timeout_s, demo.kind) == (4, 2.5, "qemu")
    assert demo.names == ("a",)
    assert demo.nothing is None


def test_values_of_the_file_are_typed():
    text = '[demo]\ntimeout_s = 3\nnames = ["x", "y"]\nmappings = { physnet1 = "br-ex" }\n'
    demo = loads(text, ALL).get(DemoOptions)
    assert demo.timeout_s == 3.0
    assert demo.names == ("x", "y")
    assert demo.mappings == {"physnet1": "br-ex"}


def test_places_are_filled_and_other_braces_stay():
    config = loads('[gureum]\nstate_dir = "/tmp/cloud"\n', ALL)
    assert config.get(DemoOptions).path == "/tmp/cloud/demo/{service}.db"
    assert config.get(CloudOptions).state_dir == "/tmp/cloud"


def test_unknown_option_is_an_error_with_line_and_suggestion():
    [problem] = problems_of("[demo]\n\nworker = 3\n")
    assert problem == "config:3: demo.worker: unknown option (value 3); did you mean workers?"


def test_unknown_section_is_an_error_with_suggestion():
    [problem] = problems_of("[demo.deap]\npassword = 'x'\n")
    assert "demo.deap: unknown section; did you mean [demo.deep]?" in problem


def test_option_in_the_wrong_section_names_the_right_one():
    [problem] = problems_of("[demo]\npassword = 'x'\n")
    assert "it belongs in [demo.deep]" in problem


def test_all_problems_are_told_at_once():
    found = problems_of("[demo]\nworkers = 0\nenabled = 'yes'\nkind = 'kwm'\ntimeout_s = -1\n")
    assert len(found) == 4
    assert "demo.workers: 0 is below 1; set 1 or more, at most 64" in found[0]
    assert "'yes' is not a boolean; write true or false, without quotes" in found[2]
    assert "'kwm' is not one of: qemu, kvm; did you mean kvm?" in found[3]


def test_value_above_the_range_names_unit_and_fix():
    assert "65 is above 64; set 64 or less" in problems_of("[demo]\nworkers = 65\n")[0]


def test_wrong_secret_is_not_shown():
    [problem] = problems_of("[demo.deep]\npassword = 12345\n")
    assert "12345" not in problem
    assert "(secret) is not a text" in problem


def test_secret_is_hidden_in_repr_and_dump():
    config = loads("[demo.deep]\npassword = 'hunter2'\n", ALL)
    assert "hunter2" not in repr(config)
    assert "hunter2" not in dump(config)
    assert config.get(DeepOptions).password == "hunter2"


def test_family_of_sections_is_read_by_name():
    backends = loads("[demo.backend.one]\n[demo.backend.two]\ndriver = 'lvm'\n", ALL)
    assert {name: b.driver for name, b in backends.named(BackendOptions).items()} == {
        "one": "fake",
        "two": "lvm",
    }


def test_later_file_wins_key_by_key(tmp_path):
    (tmp_path / "a.toml").write_text("[demo]\nworkers = 2\nkind = 'kvm'\n")
    (tmp_path / "b.toml").write_text("[demo]\nworkers = 9\n")
    demo = load([tmp_path / "a.toml", tmp_path / "b.toml"], ALL).get(DemoOptions)
    assert (demo.workers, demo.kind) == (9, "kvm")


def test_missing_file_and_broken_toml_are_both_told(tmp_path):
    (tmp_path / "b.toml").write_text("[demo\n")
    with pytest.raises(ConfigError) as caught:
        load([tmp_path / "a.toml", tmp_path / "b.toml"], ALL)
    assert len(caught.value.problems) == 2


def test_world_readable_secret_is_warned_of(tmp_path):
    path = tmp_path / "secrets.toml"
    path.write_text("[demo.deep]\npassword = 'x'\n")
    os.chmod(path, 0o644)
    assert "chmod 640" in load([path], ALL).warnings[0]
    os.chmod(path, 0o640)
    assert load([path], ALL).warnings == ()


def test_option_without_default_must_be_set():
    @section("need")
    @dataclass(frozen=True, slots=True)
    class Need:
        url: str = option("Where it is.")

    with pytest.raises(ConfigError, match=r"need.url: must be set: Where it is\."):
        loads("", (Need,))


def test_two_classes_for_one_section_is_a_mistake_of_the_programmer():
    @section("demo")
    @dataclass(frozen=True, slots=True)
    class Again:
        x: int = option("X.", default=1)

    with pytest.raises(TypeError, match=r"\[demo\] is declared by both"):
        loads("", (DemoOptions, Again))


def test_dataclass_field_without_option_is_refused():
    with pytest.raises(TypeError, match="declare it with option"):

        @section("bad")
        @dataclass(frozen=True, slots=True)
        class Bad:
            x: int = 1


def test_sample_is_toml_that_loads_when_uncommented():
    sample = sample_toml((CloudOptions, DemoOptions, DeepOptions))
    live = "\n".join(
        line[2:] if " = " in line and "(not set)" not in line else line
        for line in sample.splitlines()
        if "=" in line or line.startswith("[")
    )
    tomllib.loads(live)
    assert loads(live, ALL).get(DemoOptions) == loads("", ALL).get(DemoOptions)


def test_options_page_tells_every_option():
    page = options_page(ALL)
    for text in ("`workers`", "Unit: s.", "One of: qemu, kvm.", "From 1 to 64.", "list of text"):
        assert text in page


def test_collect_finds_the_sections_of_a_module():
    assert core_config.collect(core_config) == (CloudOptions,)

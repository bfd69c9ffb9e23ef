"""Rules of CONTRIBUTING.md that a program can check."""

import ast
import re
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest
from source import PACKAGE, modules

LIMIT_LINES = 800
ADVISED_LINES = 500
STARTS_PROGRAMS = {
    "gureum.core.runner",  # the one way
    "gureum.provision.supervisor",  # its children run as long as the cloud
    "gureum.cli.test",  # its children write to the terminal
}


def repository() -> Path:
    """The top of the clone."""
    for folder in PACKAGE.parents:
        if (folder / "pyproject.toml").exists():
            return folder
    pytest.skip("not run from a clone")


def test_no_file_is_longer_than_a_reader_can_hold():
    lengths = {m.name: len(m.text.splitlines()) for m in modules()}
    long = {name: lines for name, lines in lengths.items() if lines > LIMIT_LINES}
    for name, lines in lengths.items():
        if ADVISED_LINES < lines <= LIMIT_LINES:
            warnings.warn(f"{name} has {lines} lines; could it be split by noun?", stacklevel=1)
    assert long == {}


def test_every_module_says_what_it_is():
    missing = [m.name for m in modules() if m.text.strip() and not ast.get_docstring(m.tree)]
    missing = [name for name in missing if ".migrations" not in name]
    assert missing == []


def test_no_module_is_called_utils():
    assert [m.name for m in modules() if m.parts and "util" in m.parts[-1]] == []


def test_programs_are_started_through_the_runner_only():
    found = []
    for module in modules():
        if module.name in STARTS_PROGRAMS:
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                called = f"{node.value.id}.{node.attr}"
                if re.fullmatch(
                    r"subprocess\.(run|Popen|call|check_\w+)|os\.(system|popen)", called
                ):
                    found.append(f"{module.name}:{node.lineno} {called}")
    assert found == []


BORDERS = ("core.http", "core.saga", "core.bus", "core.reconcile")
"""Edge, saga runner, agent worker (the bus serves it), reconciler."""


def _catches_everything(node: ast.ExceptHandler) -> bool:
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return node.type is None or any(
        isinstance(kind, ast.Name) and kind.id == "Exception" for kind in kinds
    )


def test_everything_is_caught_at_the_borders_only():
    """A broad `except` elsewhere hides bugs; one that raises again is fine."""
    found = []
    for module in modules():
        dotted = ".".join(module.parts)
        if dotted.startswith(BORDERS):
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ExceptHandler) and _catches_everything(node):
                raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
                text = module.text.splitlines()[node.lineno - 1]
                if not raises and "border" not in text:
                    found.append(f"{module.name}:{node.lineno}")
    assert found == []


VERSION_WORDS = re.compile(r"(micro)?version", re.IGNORECASE)
COMPARES_VERSIONS = ("core.spec", "core.http")


def _literal_version(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"\d+\.\d+", node.value) is not None
    )


def test_microversions_are_compared_in_core_spec_only():
    found = []
    for module in modules():
        if ".".join(module.parts).startswith(COMPARES_VERSIONS):
            continue
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Compare):
                continue
            order = any(isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for op in node.ops)
            sides = [node.left, *node.comparators]
            named = any(
                "microversion" in ast.dump(side).lower() or "parse_version" in ast.dump(side)
                for side in sides
            )
            if named or (order and any(_literal_version(side) for side in sides)):
                found.append(f"{module.name}:{node.lineno}")
    assert found == []


def test_no_print_outside_the_command_line():
    allowed = ("cli", "provision", "guestimage", "__main__")
    found = [
        f"{module.name}:{node.lineno}"
        for module in modules()
        if module.parts
        and module.parts[0] not in allowed
        and module.parts[-1] != "child"  # its output is what its parent reads
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert found == []


def test_tracked_files_are_small_text_without_local_paths():
    top = repository()
    if not (top / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no git history here")
    done = subprocess.run(
        ["git", "-C", str(top), "ls-files", "-z"], capture_output=True, check=True, timeout=60
    )
    found = []
    for name in filter(None, done.stdout.decode().split("\0")):
        path = top / name
        if not path.is_file():
            continue
        if path.stat().st_size > 1 << 20:
            found.append(f"{name} is larger than 1 MiB")
        data = path.read_bytes()
        if b"\0" in data[:4096] and path.suffix != ".png":
            found.append(f"{name} is not text")
        home = re.search(rb"/(home|root)/[a-z.][\w.-]*/", data)
        if home and path.suffix in (".py", ".md", ".sh", ".toml"):
            found.append(f"{name} names {home[0].decode()}")
    assert found == []


def test_every_relative_link_of_the_docs_leads_somewhere():
    top = repository()
    found = []
    for path in [*top.glob("*.md"), *(top / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
            if "://" not in link and not (path.parent / link).exists():
                found.append(f"{path.relative_to(top)} -> {link}")
    assert found == []


def test_every_decision_is_in_the_index():
    folder = repository() / "docs" / "adr"
    index = (folder / "README.md").read_text(encoding="utf-8")
    files = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert files
    assert [name for name in files if f"({name})" not in index] == []


def test_every_folder_of_the_package_and_the_tests_is_on_the_map():
    top = repository()
    text = (top / "docs" / "architecture.md").read_text(encoding="utf-8")
    services = [path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()]
    kinds = [path.name for path in (top / "tests").iterdir() if any(path.glob("**/test_*.py"))]
    core = [path.name for path in (PACKAGE / "core").iterdir() if (path / "__init__.py").exists()]
    assert services and kinds and core
    missing = [name for name in [*services, *core] if f"{name}/" not in text]
    missing += [name for name in kinds if not re.search(rf"\b{name}\b", text)]
    assert missing == []


def test_modules_of_tests_have_names_of_their_own():
    """Pytest puts their folders on one path: of two with one name the second is not found."""
    seen: dict[str, list[str]] = {}
    for path in (repository() / "tests").rglob("*.py"):
        if path.name not in ("conftest.py", "__init__.py"):
            seen.setdefault(path.name, []).append(str(path))
    assert {name: paths for name, paths in seen.items() if len(paths) > 1} == {}


def test_no_test_imports_a_conftest():
    """Which one it would get depends on the order of the folders."""
    wrong = [
        str(path)
        for path in (repository() / "tests").rglob("*.py")
        if re.search(r"^(from conftest import|import conftest)", path.read_text(), re.MULTILINE)
    ]
    assert wrong == []

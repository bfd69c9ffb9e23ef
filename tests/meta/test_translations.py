"""A translation says what its source says: the same headings, commands, links and tables."""

import re
from collections import Counter
from pathlib import Path

import pytest

from gureum.pages import pages

CLONE = Path(pages.clone())
PAIRS = {
    "README.ko.md": "README.md",
    "docs/quickstart.ko.md": "docs/quickstart.md",
    "docs/how-a-server-boots.ko.md": "docs/how-a-server-boots.md",
}
_HANGUL = re.compile(r"[\uac00-\ud7a3]")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


def read(name: str) -> list[str]:
    return (CLONE / name).read_text(encoding="utf-8").splitlines()


def levels(lines: list[str]) -> list[tuple[int, str]]:
    """The headings: their depth and their number, if they have one."""
    found = []
    for line in lines:
        heading = re.match(r"^(#+) (\d+\.)?", line)
        if heading:
            found.append((len(heading[1]), heading[2] or ""))
    return found


def commands(lines: list[str]) -> list[str]:
    """Indented blocks, as they are: what a reader copies, and what programs printed."""
    found, drawing = [], False
    for line in lines:
        if line.startswith("```"):
            drawing = not drawing
        elif line.startswith("    ") and not drawing:
            found.append(line)
    return found


def arrows(lines: list[str]) -> list[str]:
    """Who talks to whom in a diagram; what is said may be translated."""
    return [line.split(":")[0].strip() for line in lines if "->>" in line]


def links(lines: list[str]) -> Counter[str]:
    """Where links lead; a page in the reader's language stands for its source."""
    found = _LINK.findall("\n".join(lines))
    return Counter(target.replace(".ko.md", ".md") for target in found)


def test_every_translation_is_checked():
    there = {str(path.relative_to(CLONE)) for path in CLONE.glob("*.ko.md")}
    there |= {str(path.relative_to(CLONE)) for path in (CLONE / "docs").rglob("*.ko.md")}
    assert there == set(PAIRS)


@pytest.mark.parametrize("name", PAIRS)
def test_translation_has_the_headings_of_its_source(name: str):
    assert levels(read(name)) == levels(read(PAIRS[name]))


@pytest.mark.parametrize("name", PAIRS)
def test_translation_has_the_commands_of_its_source(name: str):
    assert commands(read(name)) == commands(read(PAIRS[name]))


@pytest.mark.parametrize("name", PAIRS)
def test_translation_names_the_same_things_in_code(name: str):
    """Options, files and words of the program stay as they are, wherever the sentence puts them."""
    ours = Counter(_CODE.findall("\n".join(read(name))))
    theirs = Counter(_CODE.findall("\n".join(read(PAIRS[name]))))
    assert ours == theirs


@pytest.mark.parametrize("name", PAIRS)
def test_translation_has_the_tables_and_diagrams_of_its_source(name: str):
    lines, source = read(name), read(PAIRS[name])
    rows = [line.count("|") for line in lines if line.startswith("|")]
    assert rows == [line.count("|") for line in source if line.startswith("|")]
    assert arrows(lines) == arrows(source)


@pytest.mark.parametrize("name", PAIRS)
def test_links_lead_to_the_same_pages_that_are_there(name: str):
    lines = read(name)
    theirs = links(read(PAIRS[name]))
    own = Path(name).name.replace(".ko.md", ".md")
    ours = links(lines)
    theirs.pop(own, None)  # each names the other
    ours.pop(own, None)
    assert ours == theirs
    folder = (CLONE / name).parent
    for target in _LINK.findall("\n".join(lines)):
        if "://" not in target:
            assert (folder / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("name", PAIRS)
def test_translation_is_translated(name: str):
    """Paragraphs are in Korean; a new one that was only copied is found."""
    plain = [
        line
        for line in read(name)
        if len(line) > 60 and not line.startswith(("    ", "|", "!", "[", "-", " "))
    ]
    assert plain and [line for line in plain if not _HANGUL.search(line)] == []


@pytest.mark.parametrize("name", PAIRS)
def test_source_and_translation_name_each_other(name: str):
    source = PAIRS[name]
    assert f"({Path(name).name})" in (CLONE / source).read_text(encoding="utf-8")
    assert f"({Path(source).name})" in (CLONE / name).read_text(encoding="utf-8")

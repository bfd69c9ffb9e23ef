"""Long tests: which of them run this time, and how long each takes.

A file whose tests are marked `slow` or `real` is long. `seconds.json` beside this module says how long each
took when it was last measured. `--sample SECONDS --turn N` runs as many whole files as fit, beginning at a
place that moves with the turn, so that a check of bounded length sees all of them in time; `--shard K/N` runs
one of N equal parts; `--write-seconds` measures. What is left out is named at the end of the run.
"""

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SECONDS = HERE / "seconds.json"
UNKNOWN_S = 60.0
"""What a file counts that nobody has measured."""


def read_seconds() -> dict[str, float]:
    """Return the seconds by file, such as `tests/crash/test_nova_crash.py`."""
    return dict(json.loads(SECONDS.read_text())) if SECONDS.exists() else {}


def sample(
    files: Iterable[str], seconds: Mapping[str, float], budget_s: float, turn: int
) -> list[str]:
    """Return the files of a turn: from a place that moves on, as many as fit; at least one."""
    ring = sorted(files)
    if not ring:
        return []
    start = turn % len(ring)
    chosen: list[str] = []
    left = budget_s
    for name in ring[start:] + ring[:start]:
        cost = seconds.get(name, UNKNOWN_S)
        if cost <= left or not chosen:
            chosen.append(name)
            left -= cost
    return chosen


def shard(files: Iterable[str], seconds: Mapping[str, float], number: int, count: int) -> list[str]:
    """Return one of `count` parts (number from 1) that take about as long as each other."""
    parts: list[list[str]] = [[] for _ in range(count)]
    totals = [0.0] * count
    for name in sorted(files, key=lambda name: (-seconds.get(name, UNKNOWN_S), name)):
        shortest = totals.index(min(totals))
        parts[shortest].append(name)
        totals[shortest] += seconds.get(name, UNKNOWN_S)
    return parts[number - 1]


def is_long(item: pytest.Item) -> bool:
    """Whether a test belongs to the long ones."""
    return any(item.get_closest_marker(name) for name in ("slow", "real"))


class LongTests:
    """The pytest plugin."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._left: list[str] = []
        self._long: set[str] = set()
        self._ran: set[str] = set()
        self._spent: dict[str, float] = defaultdict(float)
        self._known = read_seconds()
        self._begun_at: float | None = None
        self._begun: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note which files are long, and take out the tests of those that are not due."""
        files = {_file(item) for item in items if is_long(item)}
        self._long = files
        budget = self._config.getoption("--sample")
        part = self._config.getoption("--shard")
        if budget is None and part is None:
            return
        if part is not None:
            number, count = map(int, part.split("/"))
            chosen = set(shard(files, self._known, number, count))
        else:
            chosen = set(sample(files, self._known, budget, self._config.getoption("--turn")))
        self._left = sorted(files - chosen)
        out = [item for item in items if is_long(item) and _file(item) not in chosen]
        self._config.hook.pytest_deselected(items=out)
        gone = set(map(id, out))
        items[:] = [item for item in items if id(item) not in gone]

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin no further file when the time of a turn is over: what was measured elsewhere may mislead."""
        budget = self._config.getoption("--sample")
        if budget is None or not is_long(item):
            return
        now = time.monotonic()
        if self._begun_at is None:
            self._begun_at = now
        if _file(item) not in self._begun and now - self._begun_at > budget:
            pytest.skip(f"the {budget:.0f} s of this turn are over")
        self._begun.add(_file(item))

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Add up what each file takes."""
        name = report.nodeid.partition("::")[0]
        self._spent[name] += report.duration
        if report.when == "call" and report.passed:
            self._ran.add(name)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Name what another turn runs."""
        if self._left:
            terminalreporter.write_line("not in this turn: " + " ".join(self._left))

    def pytest_sessionfinish(self) -> None:
        """Keep the seconds of long files, when asked to; one whose tests were all skipped is not measured."""
        if self._config.getoption("--write-seconds"):
            new = {name: self._spent[name] for name in self._long & self._ran}
            measured = measured_seconds(self._known, new, self._config.rootpath)
            SECONDS.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n")


def measured_seconds(
    known: Mapping[str, float], new: Mapping[str, float], top: Path
) -> dict[str, float]:
    """Return the seconds by file: as measured now, else as known; files that are gone are left out."""
    both = {**known, **new}
    return {name: round(value, 1) for name, value in both.items() if (top / name).exists()}


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def add_options(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("long tests")
    group.addoption("--sample", type=float, metavar="SECONDS", help="long tests for so long only")
    group.addoption("--turn", type=int, default=0, help="where the sample begins")
    group.addoption("--shard", metavar="K/N", help="one of N parts of the long tests")
    group.addoption("--write-seconds", action="store_true", help="measure into tests/seconds.json")


__all__: Sequence[str] = ["LongTests", "add_options", "sample", "shard"]

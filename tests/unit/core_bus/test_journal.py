"""A job that is asked twice is done once; an old runner's job is refused."""

import threading
import time
from dataclasses import dataclass

import pytest

from gureum.core.bus import Fenced, Journal


@dataclass(frozen=True, slots=True)
class Handle:
    name: str
    port: int


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


def test_finished_key_returns_its_stored_result(path):
    journal = Journal(path)
    assert journal.run("r/s/spawn", 1, lambda: Handle("a", 5), result=Handle) == Handle("a", 5)
    assert journal.run("r/s/spawn", 2, lambda: 1 / 0, result=Handle) == Handle("a", 5)


def test_finished_key_outlives_the_agent(path):
    first = Journal(path)
    first.run("r/s/spawn", 1, lambda: {"port": 5})
    first.close()
    assert Journal(path).run("r/s/spawn", 1, lambda: 1 / 0) == {"port": 5}


def test_failed_key_runs_again(path):
    journal = Journal(path)
    with pytest.raises(ZeroDivisionError):
        journal.run("r/s/spawn", 1, lambda: 1 / 0)
    assert journal.unfinished() == ["r/s/spawn"]
    assert journal.run("r/s/spawn", 1, lambda: "done") == "done"
    assert journal.unfinished() == []


def test_older_generation_of_the_resource_is_fenced(path):
    journal = Journal(path)
    journal.run("r/s2/delete", 7, lambda: None)
    with pytest.raises(Fenced):
        journal.run("r/s1/spawn", 6, lambda: pytest.fail("a stale runner's job ran"))
    assert journal.run("other/s1/spawn", 1, lambda: "fine") == "fine"


def test_fenced_job_leaves_no_trace(path):
    journal = Journal(path)
    journal.run("r/s2/delete", 7, lambda: None)
    with pytest.raises(Fenced):
        journal.run("r/s1/spawn", 6, lambda: None)
    assert journal.unfinished() == []
    assert journal.run("r/s1/spawn", 7, lambda: "first") == "first"


def test_fence_outlives_the_agent(path):
    Journal(path).run("r/s2/delete", 7, lambda: None)
    with pytest.raises(Fenced):
        Journal(path).run("r/s1/spawn", 6, lambda: None)


def test_resource_may_be_named_apart_from_the_key(path):
    journal = Journal(path)
    journal.run("s2/delete", 7, lambda: None, resource="server-1")
    with pytest.raises(Fenced):
        journal.run("s1/spawn", 6, lambda: None, resource="server-1")


def test_second_caller_of_a_running_key_gets_the_same_result(path):
    journal = Journal(path)
    running, go_on, results, runs = threading.Event(), threading.Event(), [], []

    def work():
        runs.append(1)
        running.set()
        assert go_on.wait(10)
        return "made"

    def ask():
        results.append(journal.run("r/s/spawn", 1, work))

    first = threading.Thread(target=ask)
    first.start()
    assert running.wait(10)
    second = threading.Thread(target=ask)
    second.start()
    go_on.set()
    first.join(10)
    second.join(10)
    assert (results, len(runs)) == (["made", "made"], 1)


def test_job_that_waited_behind_a_newer_one_is_fenced(path):
    journal = Journal(path)
    running, go_on, seen = threading.Event(), threading.Event(), []

    def first_work():
        running.set()
        assert go_on.wait(10)

    def late():
        with pytest.raises(Fenced):
            journal.run("r/s1/spawn", 2, lambda: seen.append("late"))

    holder = threading.Thread(target=journal.run, args=("r/s1/ports", 2, first_work))
    holder.start()
    assert running.wait(10)
    waiting = threading.Thread(target=late)
    waiting.start()
    delete = ("r/s2/delete", 3, lambda: seen.append("new"))
    newer = threading.Thread(target=journal.run, args=delete)
    newer.start()
    deadline = time.monotonic() + 10
    while not journal.superseded("r/s1/ports", 2):
        assert time.monotonic() < deadline
    go_on.set()
    for thread in (holder, waiting, newer):
        thread.join(10)
    assert "new" in seen and "late" not in seen


def test_prune_forgets_what_is_old(path):
    journal = Journal(path)
    journal.run("r/s/spawn", 5, lambda: "old")
    assert journal.prune(older_than_s=3600) == 0
    assert journal.prune(older_than_s=-1) == 1
    assert journal.run("r/s/spawn", 1, lambda: "new") == "new"

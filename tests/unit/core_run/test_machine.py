"""The random name of a machine."""

import threading
from datetime import datetime

from gureum.core.machine import FILE, HostNameTaken, machine_id, taken


def test_machine_keeps_its_name_and_another_has_another(tmp_path):
    first = machine_id(tmp_path / "a")
    assert machine_id(str(tmp_path / "a")) == first
    assert machine_id(tmp_path / "b") != first
    assert [path.name for path in (tmp_path / "a").iterdir()] == [FILE]


def test_processes_that_ask_at_once_agree(tmp_path):
    found, start = [], threading.Barrier(8)

    def ask():
        start.wait()
        found.append(machine_id(tmp_path))

    asking = [threading.Thread(target=ask) for _ in range(8)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert len(found) == 8 and len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_operator_may_name_the_machine_whose_place_this_one_takes(tmp_path):
    (tmp_path / FILE).write_text("the-old-one\n")
    assert machine_id(tmp_path) == "the-old-one"


def test_refusal_says_whose_the_name_is_and_what_to_do():
    error = taken("node-7", "1234", datetime(2026, 1, 2, 3, 4, 5))
    assert isinstance(error, HostNameTaken)
    for part in ("node-7", "1234", "2026-01-02 03:04:05", "[gureum] host", FILE, "delete"):
        assert part in error.text

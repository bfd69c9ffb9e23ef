"""Faults of simulated drivers: rules, counting, what a driver sees of them."""

import threading
import time

import pytest

from gureum.core import faults
from gureum.core.config import loads
from gureum.core.faults import BadRule, FaultPoint, SimulatedOptions
from gureum.testing import points


class Broken(Exception):
    pass


@pytest.fixture
def options(tmp_path):
    def make(**more):
        return SimulatedOptions(faults_file=str(tmp_path / "faults.json"), **more)

    return make


def point(options, component="nova-compute", host="h1", stopping=None):
    return FaultPoint(component, host, options, Broken, stopping)


def outcomes(one, verb, count):
    found = []
    for _ in range(count):
        try:
            one.act(verb)
            found.append("ok")
        except Broken:
            found.append("broken")
    return found


def test_the_third_spawn_fails_and_no_other(options):
    one = point(options())
    one.book.fail("spawn", nth=3)
    assert outcomes(one, "destroy", 3) == ["ok"] * 3
    assert outcomes(one, "spawn", 5) == ["ok", "ok", "broken", "ok", "ok"]
    assert one.book.rules() == []


def test_calls_are_counted_over_all_hosts_and_processes(options):
    first, second = point(options()), point(options(), host="h2")
    first.book.fail("spawn", nth=2, times=2, text="no disk")
    assert outcomes(first, "spawn", 1) == ["ok"]
    with pytest.raises(Broken, match="no disk"):
        second.act("spawn")
    assert outcomes(first, "spawn", 2) == ["broken", "ok"]


def test_a_rule_keeps_to_its_component_and_host(options):
    book = point(options()).book
    book.fail("*", component="neutron-*", host="h2", times=0)
    assert outcomes(point(options()), "spawn", 2) == ["ok", "ok"]
    assert outcomes(point(options(), "neutron-l3-agent"), "router", 1) == ["ok"]
    assert outcomes(point(options(), "neutron-l3-agent", "h2"), "router", 3) == ["broken"] * 3


def test_the_delay_of_the_nearest_setting_counts(options):
    waited = []
    stopping = threading.Event()
    stopping.wait = lambda seconds: waited.append(seconds) or False
    one = point(options(delays={"spawn": 9.0, "nova-compute.spawn": 2.0, "stop": 1.0}), stopping=stopping)
    for verb in ("spawn", "stop", "start"):
        one.act(verb)
    assert waited == [2.0, 1.0]


def test_the_second_and_third_call_are_slow(options):
    one = point(options())
    one.book.delay("spawn", 0.3, nth=2, times=2)
    seconds = []
    for _ in range(4):
        begun = time.monotonic()
        one.act("spawn")
        seconds.append(time.monotonic() - begun)
    assert [s > 0.25 for s in seconds] == [False, True, True, False]


def test_a_delay_that_is_cleared_ends(options):
    one, done = point(options()), threading.Event()
    rule = one.book.delay("spawn", 60)
    threading.Thread(target=lambda: (one.act("spawn"), done.set()), daemon=True).start()
    assert not done.wait(0.3)
    one.book.clear(rule.id)
    assert done.wait(5)


def test_a_silent_component_waits_until_it_is_let_go(options):
    one, done = point(options()), threading.Event()
    one.book.silence("nova-compute", 60)
    thread = threading.Thread(target=lambda: (one.act("inventory"), done.set()), daemon=True)
    thread.start()
    assert not done.wait(0.3)
    assert point(options(), "neutron-l3-agent").act("report") is None
    one.book.clear()
    assert done.wait(5)


def test_a_silence_ends_by_itself(options):
    one = point(options())
    one.book.silence("nova-*", 0.2)
    begun = time.monotonic()
    one.act("inventory")
    assert 0.1 < time.monotonic() - begun < 5


def test_a_stopping_process_waits_for_nothing(options):
    stopping = threading.Event()
    one = point(options(delays={"spawn": 3600.0}), stopping=stopping)
    one.book.silence("nova-compute", 3600)
    stopping.set()
    one.act("spawn")


def test_faults_of_the_configuration_happen_once_over_restarts(options):
    configured = options(faults=("fail spawn --nth 2", "fail destroy"))
    assert outcomes(point(configured), "spawn", 1) == ["ok"]
    again = point(configured)
    assert outcomes(again, "spawn", 2) == ["broken", "ok"]
    assert outcomes(point(configured), "spawn", 3) == ["ok"] * 3
    again.book.clear()
    assert outcomes(point(configured), "destroy", 1) == ["ok"]


def test_one_fault_is_cleared_by_its_id(options):
    book = point(options()).book
    kept, gone = book.fail("spawn"), book.fail("destroy")
    assert book.clear(gone.id) == 1
    assert [rule.id for rule in book.rules()] == [kept.id]
    assert book.clear("nonsense") == 0


@pytest.mark.parametrize(
    "words",
    [
        "fail spawn --nth 0",
        "delay spawn -1",
        "delay spawn",
        "silence nova-compute 0",
        "break spawn",
        "fail spawn --nht 3",
        "fail spawn --times -1",
    ],
)
def test_a_rule_that_says_nothing_is_refused(words):
    with pytest.raises(BadRule):
        faults.parse(words)


def test_a_rule_reads_as_it_is_written():
    for words in ("fail spawn --component nova-compute --nth 3", "delay plug 0.5 --host h1"):
        assert faults.parse(words).words() == words


def test_a_name_that_no_driver_has_is_refused_with_the_nearest():
    with pytest.raises(BadRule, match="did you mean spawn"):
        points.check(faults.failure("spwan"))
    with pytest.raises(BadRule, match="did you mean nova-compute"):
        points.check(faults.silence("nova-computer", 5))
    with pytest.raises(BadRule, match="no simulated driver has the verb spawn"):
        points.check(faults.failure("spawn", component="neutron-l3-agent"))
    assert points.check(faults.failure("spa*"))


def test_options_are_read_from_toml():
    text = '[simulated]\ndelays = { spawn = 2 }\nfaults = ["fail spawn"]\n'
    read = loads(text, [SimulatedOptions]).get(SimulatedOptions)
    assert read.delays == {"spawn": 2.0}
    assert read.faults_file.endswith("/faults.json")

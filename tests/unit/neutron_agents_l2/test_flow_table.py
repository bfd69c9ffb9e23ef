"""Flow tables as sets: only differences are sent, atomically, and a bad unit fails alone."""

import pytest

from gureum.core.runner import CommandFailed, Completed, FakeRunner
from gureum.neutron.agents.ovs.flows import MARK, Flow, FlowTable


class Switch:
    """What ovs-ofctl would do to a switch: flows by (table, priority, match)."""

    def __init__(self) -> None:
        self.flows: dict[str, tuple[int, str]] = {}
        self.bundles: list[list[str]] = []
        self.away = False
        self.runner = FakeRunner(self.answer)

    def answer(self, args: tuple[str, ...], stdin: bytes | None) -> str | Completed:
        if self.away:
            return Completed(args, 1, "", "ovs-ofctl: br is not a bridge or a socket")
        if "dump-flows" in args:
            cookies = [cookie for cookie, _ in self.flows.values() if cookie >> 56 == MARK]
            return "".join(f" cookie={cookie:#x}, table=0 actions=drop\n" for cookie in cookies)
        if "dump-aggregate" in args:
            return f"AGGREGATE reply: packet_count=0 byte_count=0 flow_count={len(self.flows)}"
        lines = (stdin or b"").decode().splitlines()
        if any("poison" in line for line in lines):
            return Completed(args, 1, "", "ovs-ofctl: -:1: poison: unknown keyword")
        self.bundles.append(lines)
        for line in lines:
            word, rest = line.split(" ", 1)
            cookie_text = rest.removeprefix("cookie=")
            if word == "delete":
                gone = int(cookie_text.split("/")[0], 16)
                self.flows = {k: v for k, v in self.flows.items() if v[0] != gone}
            else:
                cookie, flow = cookie_text.split(",", 1)
                key, actions = flow.split(" actions=")
                self.flows[key] = (int(cookie, 16), actions)
        return ""

    def actions(self) -> dict[str, str]:
        return {key: actions for key, (_, actions) in self.flows.items()}


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
def table(switch: Switch) -> FlowTable:
    return FlowTable("br", switch.runner)


A, B = Flow(0, 1, "in_port=1", "drop"), Flow(0, 1, "in_port=2", "drop")


def test_only_differences_are_sent_in_one_bundle(switch: Switch, table: FlowTable) -> None:
    table.stage(("ports", "a"), [A])
    table.stage(("ports", "b"), [B])
    assert table.commit().added == 2
    table.stage(("ports", "a"), [A])
    assert (table.commit().added, len(switch.bundles)) == (0, 1)
    table.stage(("ports", "a"), [Flow(0, 1, "in_port=1", "output:9")])
    done = table.commit()
    assert (done.added, done.deleted, len(switch.bundles)) == (1, 1, 2)
    assert switch.actions() == {
        "table=0,priority=1,in_port=1": "output:9",
        "table=0,priority=1,in_port=2": "drop",
    }


def test_restart_sends_nothing_when_nothing_changed(switch: Switch, table: FlowTable) -> None:
    table.stage(("ports", "a"), [A, B])
    table.commit()
    again = FlowTable("br", switch.runner)
    again.stage(("ports", "a"), [A, B])
    done = again.commit()
    assert (done.added, done.deleted, len(switch.bundles)) == (0, 0, 1)


def test_restart_removes_what_nobody_wants_and_keeps_foreign_flows(
    switch: Switch, table: FlowTable
) -> None:
    switch.flows["table=0,priority=1,in_port=77"] = (0, "NORMAL")
    table.stage(("ports", "a"), [A, B])
    table.commit()
    again = FlowTable("br", switch.runner)
    again.stage(("ports", "a"), [A])
    done = again.commit()
    assert (done.added, done.deleted) == (0, 1)
    assert set(switch.actions()) == {
        "table=0,priority=1,in_port=77",
        "table=0,priority=1,in_port=1",
    }


def test_bad_unit_fails_alone_and_keeps_its_flows(switch: Switch, table: FlowTable) -> None:
    table.stage(("ports", "bad"), [A])
    table.commit()
    table.stage(("ports", "bad"), [Flow(0, 1, "poison", "drop")])
    for number in range(9):
        table.stage(("ports", str(number)), [Flow(0, 1, f"in_port={number + 10}", "drop")])
    done = table.commit()
    assert set(done.failed) == {("ports", "bad")}
    assert done.added == 9
    assert len(switch.flows) == 10
    assert "table=0,priority=1,in_port=1" in switch.flows
    assert table.verify()


def test_bad_unit_at_the_start_fails_alone(switch: Switch, table: FlowTable) -> None:
    stale = FlowTable("br", switch.runner)
    stale.stage(("ports", "gone"), [B])
    stale.commit()
    table.stage(("ports", "bad"), [Flow(0, 1, "poison", "drop")])
    table.stage(("ports", "a"), [A])
    done = table.commit()
    assert set(done.failed) == {("ports", "bad")}
    assert set(switch.flows) == {"table=0,priority=1,in_port=1"}


def test_flow_that_moves_to_another_unit_stays(switch: Switch, table: FlowTable) -> None:
    table.stage(("ports", "a"), [A])
    table.commit()
    table.stage(("ports", "b"), [A])
    table.stage(("ports", "a"), ())
    done = table.commit()
    assert (done.added, done.deleted) == (0, 0)
    assert set(switch.flows) == {"table=0,priority=1,in_port=1"}


def test_match_that_moves_to_another_unit_gets_the_new_actions(
    switch: Switch, table: FlowTable
) -> None:
    table.stage(("ports", "a"), [A])
    table.commit()
    table.stage(("ports", "b"), [Flow(0, 1, "in_port=1", "output:5")])
    table.stage(("ports", "a"), ())
    assert not table.commit().failed
    assert switch.actions() == {"table=0,priority=1,in_port=1": "output:5"}


def test_two_units_with_one_match_are_refused(switch: Switch, table: FlowTable) -> None:
    table.stage(("ports", "a"), [A])
    table.commit()
    table.stage(("ports", "b"), [Flow(0, 1, "in_port=1", "output:5")])
    assert set(table.commit().failed) == {("ports", "b")}
    assert switch.actions() == {"table=0,priority=1,in_port=1": "drop"}


def test_lost_flows_are_noticed_and_repaired(switch: Switch, table: FlowTable) -> None:
    table.stage(("ports", "a"), [A, B])
    table.commit()
    assert table.verify()
    switch.flows.clear()
    assert not table.verify()
    assert table.commit().added == 2
    assert table.verify()


def test_unreachable_switch_raises_and_loses_no_wish(switch: Switch, table: FlowTable) -> None:
    table.stage(("ports", "a"), [A])
    switch.away = True
    with pytest.raises(CommandFailed):
        table.commit()
    switch.away = False
    assert table.commit().added == 1

"""Open vSwitch answers only when the switch itself does, not its database alone."""

import pytest

from gureum.core.runner import Completed, FakeRunner
from gureum.provision import host


@pytest.mark.parametrize(("code", "answers"), [(0, True), (1, False)])
def test_dead_switch_does_not_answer_though_its_database_does(
    monkeypatch: pytest.MonkeyPatch, code: int, answers: bool
):
    monkeypatch.setattr(host.shutil, "which", lambda name: f"/usr/bin/{name}")

    def answer(args: tuple[str, ...], body: bytes | None) -> Completed:
        if args[0] == "ovs-appctl":
            return Completed(args, code, "", "cannot connect")
        return Completed(args, 0, "[netdev, system]\n", "")

    assert host.switch_answers(FakeRunner(answer)) is answers

"""Steps, the ledger, and what is asked of a machine, against a scripted Runner."""

import io

import pytest

from gureum.core.runner import Completed, FakeRunner
from gureum.provision import host, network, packages
from gureum.provision.ledger import Ledger
from gureum.provision.network import Outside
from gureum.provision.steps import Progress, Step, StepFailed, run


def test_each_step_is_a_line_with_its_result_and_seconds():
    out = io.StringIO()
    run([Step("one", lambda s, p: f"did {s}"), Step("twelve", lambda s, p: "done")], "it", out)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("[ 1/2] one    did it")
    assert lines[1].startswith("[ 2/2] twelve done")
    assert lines[0].endswith(" s")


def test_failed_step_ends_the_run_and_is_named():
    def fail(subject: str, progress: Progress) -> str:
        raise StepFailed("no room", "make some")

    out = io.StringIO()
    after: list[str] = []
    with pytest.raises(StepFailed, match="no room"):
        run([Step("a", fail), Step("b", lambda s, p: after.append(s) or "")], "x", out)
    assert "a FAILED: no room" in out.getvalue()
    assert after == []


def test_ledger_remembers_each_thing_once(tmp_path):
    path = tmp_path / "etc" / "ledger.json"
    Ledger(path).note("bridges", "br-ex")
    Ledger(path).note("bridges", "br-ex")
    Ledger(path).note("daemons", "libvirtd")
    assert Ledger(path).entries.bridges == ["br-ex"]
    Ledger(path).forget("daemons", "libvirtd")
    assert Ledger(path).entries.daemons == []


def dpkg(*names: str) -> str:
    return "".join(f"ii  {name}\n" for name in names) + "rc  removed-one\n"


def quiet() -> Progress:
    return Progress("", io.StringIO())


def test_only_missing_packages_are_installed_and_all_that_came_is_noted(tmp_path):
    there = set(packages.PACKAGES) - {"haproxy"}

    def answer(args, input):
        if args[0] == "dpkg-query":
            return dpkg(*there)
        there.update({"haproxy", "liblua5.3-0"})
        return ""

    runner = FakeRunner(answer)
    ledger = Ledger(tmp_path / "ledger.json")
    assert packages.install(runner, ledger, quiet()).startswith("1 installed")
    apt = [call for call in runner.calls if call[0] == "apt-get"]
    assert len(apt) == 1
    assert apt[0][-2:] == ("install", "haproxy")
    assert "--no-install-recommends" in apt[0]
    assert Ledger(tmp_path / "ledger.json").entries.packages == ["haproxy", "liblua5.3-0"]


def test_second_run_calls_no_apt(tmp_path):
    runner = FakeRunner(lambda args, input: dpkg(*packages.PACKAGES))
    text = packages.install(runner, Ledger(tmp_path / "l.json"), quiet())
    assert text == f"all {len(packages.PACKAGES)} are there"
    assert {call[0] for call in runner.calls} == {"dpkg-query"}


def test_failed_apt_updates_the_lists_once_and_then_says_what_to_type(tmp_path):
    def answer(args, input):
        if args[0] == "dpkg-query":
            return dpkg("bash")
        return Completed(args, 0 if args[-1] == "update" else 100, "", "E: no network")

    runner = FakeRunner(answer)
    with pytest.raises(StepFailed) as caught:
        packages.install(runner, Ledger(tmp_path / "l.json"), quiet())
    assert "E: no network" in caught.value.fix
    assert "apt-get update && apt-get install" in caught.value.fix
    assert [call[-1] for call in runner.calls if call[0] == "apt-get"].count("update") == 1


def test_purge_sees_packages_that_apt_would_take_along():
    def answer(args, input):
        if args[0] == "dpkg-query":
            return dpkg("haproxy", "mine")
        return "Purg haproxy [2.6]\nPurg mine [1]\nRemv theirs [3]\n"

    gone = packages.would_also_remove(FakeRunner(answer), ["haproxy", "mine", "never-there"])
    assert gone == {"theirs"}


def test_both_ends_of_the_outside_pair_leave_checksums_to_the_kernel(tmp_path):
    """A user-space switch would else hand on packets without one, and TCP would hang."""
    runner = FakeRunner(
        lambda args, input: Completed(
            args, 1 if "br-exists" in args or "show" in args else 0, "", ""
        )
    )
    outside = Outside()
    ledger = Ledger(tmp_path / "l.json")
    network.make(runner, ledger, outside, "netdev")
    off = [call for call in runner.calls if "ethtool" in call]
    assert [call[-4:] for call in off] == [
        ("-K", outside.device, "tx", "off"),
        ("-K", outside.peer, "tx", "off"),
    ]
    assert ledger.entries.bridges == ["br-ex"]
    assert ledger.entries.namespaces == ["external"]
    assert ledger.entries.devices == [outside.device]


def test_outside_that_is_there_is_not_noted_as_ours(tmp_path):
    runner = FakeRunner(lambda args, input: "external (id: 0)\n" if "list" in args else "")
    ledger = Ledger(tmp_path / "l.json")
    assert network.make(runner, ledger, Outside(), "netdev").endswith("there")
    assert ledger.entries.bridges == []
    assert ledger.entries.namespaces == []


@pytest.mark.parametrize("name", ["upt", "a-very-long-name-of-a-cloud"])
def test_names_of_a_cloud_beside_others_fit_the_kernel(name):
    outside = Outside.named(name)
    names = (outside.bridge, outside.integration_bridge, outside.device, outside.peer)
    assert all(len(one) <= 15 and one.startswith(name[:8]) for one in names)
    assert len(set(names)) == 4


def test_running_libvirt_is_left_alone(tmp_path):
    runner = FakeRunner(lambda args, input: "")
    ledger = Ledger(tmp_path / "l.json")
    if not host.libvirt_answers(runner):
        pytest.skip("virsh is not installed")
    host.start_libvirt(runner, ledger, quiet())
    assert all(call[0] == "virsh" for call in runner.calls)
    assert ledger.entries.daemons == []

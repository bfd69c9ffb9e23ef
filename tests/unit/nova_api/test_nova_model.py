"""Nova's plain facts: states and how they are shown, host names, zones, regular expressions, keys."""

import pytest

from gureum.nova import model
from gureum.nova.errors import Bad
from gureum.nova.logic import ssh_keys
from gureum.nova.logic.saga_params import PARAMS, TASK_STATES
from gureum.nova.logic.server_find import flag, pattern


@pytest.mark.parametrize(
    ("vm_state", "task_state", "shown"),
    [
        ("building", "spawning", "BUILD"),
        ("active", None, "ACTIVE"),
        ("active", "rebooting", "REBOOT"),
        ("stopped", "rebooting_hard", "HARD_REBOOT"),
        ("stopped", None, "SHUTOFF"),
        ("error", "deleting", "ERROR"),
        ("strange", None, "UNKNOWN"),
    ],
)
def test_status_is_made_of_state_and_task(vm_state, task_state, shown):
    assert model.status(vm_state, task_state) == shown


@pytest.mark.parametrize("vm_state", model.VM_STATES)
def test_filter_by_a_shown_status_finds_the_state(vm_state):
    found = model.states_of_status(model.status(vm_state, None).lower())
    assert found == ((vm_state,), ())


def test_statuses_that_no_server_has_find_nothing_and_nonsense_is_unknown():
    assert model.states_of_status("SHELVED") == ((), ())
    assert model.states_of_status("NONSENSE") is None
    assert model.states_of_status("REBOOT") == (("active",), ("rebooting",))


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("web-1", "web-1"),
        ("Web Server_1", "web-server-1"),
        ("a..b", "a-b"),
        ("--x--", "x"),
        ("서버", "server-id"),
        ("x" * 80, "x" * 63),
    ],
)
def test_host_name_of_a_display_name(name, host):
    assert model.hostname_of(name, "id") == host


@pytest.mark.parametrize(
    ("zone", "parts"),
    [
        ("nova", ("nova", None, None)),
        ("nova:one", ("nova", "one", None)),
        ("nova:one:n", ("nova", "one", "n")),
        ("nova::n", ("nova", None, "n")),
        (":one", ("", "one", None)),
    ],
)
def test_zone_names_host_and_node(zone, parts):
    assert model.zone_parts(zone) == parts


@pytest.mark.parametrize(
    ("power", "before", "after"),
    [
        (1, "stopped", "active"),
        (4, "active", "stopped"),
        (6, "active", "stopped"),
        (3, "active", "paused"),
        (7, "active", "suspended"),
        (0, "active", "active"),
        (4, "building", "building"),
        (1, "error", "error"),
    ],
)
def test_state_follows_a_guest_that_changes_by_itself(power, before, after):
    assert model.vm_state_of_power(power, before) == after


def test_host_id_tells_hosts_apart_within_a_project_only():
    one = model.host_id("a", "h1")
    assert len({one, model.host_id("a", "h2"), model.host_id("b", "h1")}) == 3
    assert model.host_id("a", None) == ""


@pytest.mark.parametrize("text", ["a", "^a.*b$", "[a-z]+", r"a\*\*\*\*\*\*b", "(a|b)"])
def test_pattern_that_is_cheap_is_taken(text):
    assert pattern(text, "name") == text


@pytest.mark.parametrize("text", ["(a*)*", "(a|a)+$", ".*.*.*.*.*", "(", "a{2}{3}" * 3])
def test_pattern_that_is_dear_is_refused(text):
    with pytest.raises(Bad):
        pattern(text, "name")


def test_words_for_yes_and_no():
    assert flag("", "x") and flag("True", "x") and flag("1", "x")
    assert not flag("no", "x")
    with pytest.raises(Bad):
        flag("maybe", "x")


def test_made_keys_pass_their_own_check():
    private, public = ssh_keys.make_ssh()
    assert private.startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert len(ssh_keys.ssh_fingerprint(public).split(":")) == 16
    _, certificate = ssh_keys.make_x509("user")
    assert len(ssh_keys.x509_fingerprint(certificate).split(":")) == 20


def test_every_saga_is_registered_with_the_agreed_parameters():
    from gureum.nova import sagas

    assert {name: saga.params for name, saga in sagas.BY_NAME.items()} == PARAMS
    assert set(TASK_STATES) == set(PARAMS)

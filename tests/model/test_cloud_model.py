"""Random sequences of requests, faults and restarts, against a small model of what a cloud is.

The cloud is the whole one of the chaos tests, in this process and without threads, so a sequence that failed
fails again: `--hypothesis-seed=N` repeats a run, and a failure prints the blob that repeats it alone.
What the model cannot know (a fault may make a verb fail or not) it keeps as the set of possible outcomes,
and narrows it to what it sees once the cloud is idle. Bugs that it finds become named tests in tests/chaos.
"""

import contextlib
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "chaos"))

import chaos_paths  # noqa: F401
from faulty_bus import FAULTS, FaultyBus
from stranded import stranded
from verbs import attach, detach
from whole_cloud import MANY, WholeCloud

from gureum.core.db import Database
from gureum.core.saga.testing import Killed
from gureum.nova.conductor import compute_state
from gureum.nova.drivers.fake import Faults

QUOTA = 5
EXAMPLES = int(os.environ.get("GUREUM_MODEL_EXAMPLES", "15"))
"""How many lives the long test tries. GUREUM_MODEL_SHRINK: make a failing one as short as possible,
which takes minutes."""
GONE, ACTIVE, SHUTOFF, PAUSED, SUSPENDED, ERROR, BUILD = (
    None, "ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED", "ERROR", "BUILD")
VERBS = {  # verb: ({from: to}, its value)
    "os-stop": ({ACTIVE: SHUTOFF}, None),
    "os-start": ({SHUTOFF: ACTIVE}, None),
    "pause": ({ACTIVE: PAUSED}, None),
    "unpause": ({PAUSED: ACTIVE}, None),
    "suspend": ({ACTIVE: SUSPENDED}, None),
    "resume": ({SUSPENDED: ACTIVE}, None),
    "reboot": ({ACTIVE: ACTIVE, SHUTOFF: ACTIVE, PAUSED: ACTIVE, SUSPENDED: ACTIVE}, {"type": "HARD"}),
}
HOSTS = ("h1", "h2", "h3")


@dataclass
class Server:
    """What may be true of a server: pairs of its status and the number of its cards."""

    id: str
    possible: set = field(default_factory=set)
    busy: bool = False

    @property
    def sure(self):
        """The one thing that is true, or None when the model cannot tell."""
        return next(iter(self.possible)) if len(self.possible) == 1 and not self.busy else None


class KillPoints:
    """Ends the process, so to say, at the nth commit of the thread that runs sagas."""

    def __init__(self):
        self.left, self.after = 0, False

    @contextlib.contextmanager
    def armed(self, nth, *, after):
        import threading

        me, real, points = threading.get_ident(), Database.write, self
        self.left, self.after = nth, after

        @contextlib.contextmanager
        def write(database):
            mine = threading.get_ident() == me
            with real(database) as tx:
                yield tx
                if mine and points.hit(last=False):
                    raise Killed()
            if mine and points.hit(last=True):
                raise Killed()

        with mock.patch.object(Database, "write", write):
            yield

    def hit(self, *, last):
        if last:
            self.left -= 1
        return self.left == (0 if last else 1) and last == self.after


class CloudMachine(RuleBasedStateMachine):
    """The rules are what users ask, what fails, and what operators do."""

    servers = Bundle("servers")
    template: Path

    @initialize()
    def begin(self):
        self.directory = Path(tempfile.mkdtemp(prefix="gureum-model-"))
        shutil.copytree(self.template, self.directory, dirs_exist_ok=True)
        self.known, self.shaken = {}, False
        self.settle_s = mock.patch.object(compute_state, "SETTLE_S", 0.0)
        self.settle_s.start()
        self.cloud = self.open()
        self.network = self.cloud.net("GET", "/networks")["networks"][0]["id"]

    def open(self):
        self.bus = FaultyBus()
        import dataclasses

        quotas = dataclasses.replace(MANY, instances=QUOTA)
        return WholeCloud(self.directory, HOSTS, bus=self.bus, quotas=quotas)

    def restart(self):
        cloud = self.cloud
        cloud.close()
        now = cloud.clock.now
        self.cloud = self.open()
        self.cloud.clock.now = max(self.cloud.clock.now, now) + 60.0

    def teardown(self):
        if not hasattr(self, "cloud"):
            return
        try:
            self.calm()
            self.look()
            self.delete_all()
            assert stranded(self.cloud) == []
            assert self.cloud.guests() == {}
        finally:
            self.cloud.close()
            self.settle_s.stop()
            shutil.rmtree(self.directory, ignore_errors=True)

    def delete_all(self):
        for server in self.known.values():
            answer = self.cloud.ask("DELETE", f"/servers/{server.id}")
            assert answer.status in (204, 404), answer
        self.cloud.settle()
        assert self.cloud.ask("GET", "/servers")["servers"] == []

    # -- what users ask ---------------------------------------------------------------------------

    def counted(self):
        """How many servers count for quota, when that is sure; else None."""
        possible = [{status for status, _ in server.possible} for server in self.known.values()]
        if any(GONE in one and (len(one) > 1 or server.busy)
               for one, server in zip(possible, self.known.values(), strict=True)):
            return None
        return sum(one != {GONE} for one in possible)

    @rule(target=servers, card=st.booleans(), now=st.booleans())
    def create(self, card, now):
        answer = self.cloud.create(self.network if card else None)
        counted = self.counted()
        if answer.status == 403:
            assert counted is None or counted >= QUOTA
            return Server("none", {(GONE, 0)})
        assert answer.status == 202, answer
        assert counted is None or counted < QUOTA
        server = Server(answer["server"]["id"], {(ACTIVE, int(card))}, busy=True)
        self.known[server.id] = server
        if self.shaken:
            server.possible.add((ERROR, 0))
        if now:
            self.run()
        return server

    @rule(server=servers, verb=st.sampled_from(sorted(VERBS)), now=st.booleans())
    def act(self, server, verb, now):
        moves, value = VERBS[verb]
        sure, busy = server.sure, server.busy
        answer = self.cloud.act(server.id, verb, value)
        assert answer.status in (202, 404, 409), answer
        if sure is not None:
            status = sure[0]
            wanted = 404 if status is GONE else 202 if status in moves else 409
            if status != ERROR:
                assert answer.status == wanted, (verb, sure, answer)
        elif busy and (GONE, 0) not in server.possible:
            assert answer.status == 409, (verb, server, answer)
        if answer.status == 202:
            before = set(server.possible)
            after = {(moves.get(status, ACTIVE), cards) for status, cards in before}
            server.possible = after | before | {(ERROR, c) for _, c in before} if self.shaken else after
            server.busy = True
        if now:
            self.run()

    @rule(server=servers, now=st.booleans())
    def delete(self, server, now):
        sure = server.sure
        answer = self.cloud.ask("DELETE", f"/servers/{server.id}")
        assert answer.status in (204, 404), answer
        if sure is not None:
            assert answer.status == (404 if sure[0] is GONE else 204)
        if answer.status == 204:
            server.busy = True
            server.possible = {(GONE, 0)}
            if self.shaken:
                server.possible |= {(ERROR, n) for n in range(8)}
        if now:
            self.run()

    @precondition(lambda self: not self.shaken)
    @rule(server=servers)
    def attach(self, server):
        self.calm()
        self.look()
        status, cards = server.sure
        answer = attach(self.cloud, server.id, self.network)
        wanted = 404 if status is GONE else 200 if status in (ACTIVE, SHUTOFF, PAUSED) else 409
        if status not in (ERROR, SUSPENDED):
            assert answer.status == wanted, (server, answer)
        if answer.status == 200:
            server.possible = {(status, cards + 1)}

    @precondition(lambda self: not self.shaken)
    @rule(server=servers, now=st.booleans())
    def detach(self, server, now):
        self.calm()
        self.look()
        status, cards = server.sure
        answer = detach(self.cloud, server.id, self.network)
        if cards == 0 or status is GONE:
            assert answer.status in (404, 409), (server, answer)
        elif status in (ACTIVE, SHUTOFF, PAUSED):
            assert answer.status == 202, (server, answer)
        if answer.status == 202:
            server.possible, server.busy = {(status, cards - 1)}, True
        if now:
            self.run()

    # -- time, faults, restarts -------------------------------------------------------------------

    def run(self, **options):
        """Let time pass."""
        self.cloud.run(**options)
        self.bus.deliver_late()
        self.note_busy()

    def note_busy(self):
        """See which verbs are still under way."""
        busy = {saga.resource_id for saga in self.cloud.active()}
        for server in self.known.values():
            server.busy = server.id in busy

    def calm(self):
        """End all faults, and let everything come to its end."""
        self.bus.plan(0, None)
        self.cloud.session.down.clear()
        for driver in self.cloud.drivers.values():
            driver.faults = Faults()  # those that did not happen yet will not
        self.shaken = False
        self.cloud.settle()
        self.bus.deliver_late()
        self.cloud.settle()
        self.note_busy()

    def shake(self):
        """From here on verbs that are under way may fail."""
        self.shaken = True
        for server in self.known.values():
            if server.busy:
                cards = {n for _, n in server.possible} | {0}
                if server.possible != {(GONE, 0)}:
                    server.possible |= {(s, n) for s in (ACTIVE, SHUTOFF, PAUSED, SUSPENDED, ERROR)
                                        for n in cards}
                else:
                    server.possible |= {(ERROR, n) for n in range(8)}

    @rule(rounds=st.sampled_from([1, 2, 60]))
    def time_passes(self, rounds):
        self.run(rounds=rounds)

    @rule(nth=st.integers(1, 4), fault=st.sampled_from(FAULTS))
    def message_is_disturbed(self, nth, fault):
        self.shake()
        self.bus.plan(nth, fault)
        self.run()

    @rule(host=st.sampled_from(HOSTS), verb=st.sampled_from(
        ["spawn", "destroy", "stop", "start", "attach_interface", "detach_interface"]))
    def hypervisor_fails(self, host, verb):
        self.shake()
        self.cloud.drivers[host].faults.fail(verb)
        self.run()

    @rule(kind=st.sampled_from(["network", "placement"]), rounds=st.integers(1, 4))
    def service_is_away(self, kind, rounds):
        self.shake()
        self.cloud.session.down.add(kind)
        self.run(rounds=rounds)
        self.cloud.session.down.discard(kind)
        self.note_busy()

    @rule()
    def restart_in_order(self):
        self.restart()

    @rule(nth=st.integers(1, 12), after=st.booleans())
    def killed_at_a_commit(self, nth, after):
        self.shake()
        with contextlib.suppress(Killed), KillPoints().armed(nth, after=after):
            self.cloud.run()
        self.restart()
        self.note_busy()

    @precondition(lambda self: bool(self.known))
    @rule(server=servers)
    def guest_is_destroyed_underneath(self, server):
        self.calm()
        self.look()
        for driver in self.cloud.drivers.values():
            if any(state.guest_id == server.id for state in driver.guest_states()):
                driver.vanish(server.id)
                server.possible = {(ERROR, n) for _, n in server.possible}
        self.calm()

    @rule(server=consumes(servers))
    def forget(self, server):
        """Other rules have more to do with the servers that are left."""

    # -- what must be true ------------------------------------------------------------------------

    @rule()
    def look(self):
        """Everything comes to its end, and is as the model says."""
        self.calm()
        for server in self.known.values():
            seen = self.cloud.status(server.id), len(self.cloud.nics(server.id))
            assert seen in server.possible, (server, seen, self.cloud.story(server.id))
            server.possible, server.busy = {seen}, False
        listed = {row["id"] for row in self.cloud.ask("GET", "/servers")["servers"]}
        assert listed == {one.id for one in self.known.values() if one.possible != {(GONE, 0)}}
        # A guest that was destroyed underneath is told as ERROR; its cards are plugged nowhere.
        problems = stranded(self.cloud)
        assert problems == [], problems

    @invariant()
    def quota_holds(self):
        if hasattr(self, "cloud"):
            listed = self.cloud.ask("GET", "/servers")["servers"]
            assert len(listed) <= QUOTA


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    directory = tmp_path_factory.mktemp("template")
    cloud = WholeCloud(directory, HOSTS)
    cloud.furnish()
    cloud.close()
    return directory


def run(template, **options):
    CloudMachine.template = template
    run_state_machine_as_test(CloudMachine, settings=settings(
        deadline=None, database=None, print_blob=True, suppress_health_check=list(HealthCheck),
        **options))


def test_short_random_lives_of_a_cloud(template):
    run(template, max_examples=4, stateful_step_count=12, derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_long_random_lives_of_a_cloud(template):
    phases = tuple(Phase) if os.environ.get("GUREUM_MODEL_SHRINK") else (Phase.generate,)
    run(template, max_examples=EXAMPLES, stateful_step_count=30, phases=phases)

"""nova-compute's loops: the heartbeat, and guests that agree with the conductor's database.

Owns: when they run, and what follows from a difference. Must not: see a database; the conductor is
asked over the bus (`ComputeState`). Losing the bus loses time only: every round says all again.

What a difference leads to:
- a guest of a deleted server is removed (`running_deleted_instance_action = "reap"`);
- a guest that was destroyed underneath, or is in another power state, is reported;
- after a boot of the host, guests that should run are started;
- a guest that the conductor does not know at all is left alone and logged.

Until the first heartbeat is taken nothing else is done, and nothing any more once one is refused: the
host name is another machine's, and its guests would look as if they had vanished.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gureum.core import log
from gureum.core.bus.contract import AgentError, BusError
from gureum.core.machine import HostNameTaken
from gureum.nova.agent.config import ComputeOptions
from gureum.nova.agent.contract import (
    NOSTATE,
    RUNNING,
    SHUTDOWN,
    ComputeState,
    ExpectedGuest,
    GuestState,
    HostReport,
)
from gureum.nova.agent.worker import ComputeWorker

LOG = log.get(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
REPORT = "report"
HURRY_S = 0.5
"""How soon the first heartbeat is tried again."""
EARLY_S = 0.2
"""How long a burst of events is gathered before it is reported."""


@dataclass(slots=True)
class _Task:
    name: str
    every_s: float
    work: Callable[[], None]
    due: float = 0.0


class ComputeLoops:
    """One thread that runs every periodic work of a compute host.

    on_member: called in it when the conductor took this host's word, and when it took it no more.
    """

    def __init__(
        self,
        options: ComputeOptions,
        worker: ComputeWorker,
        state: ComputeState,
        boot_id: str | None = None,
        *,
        machine_id: str = "",
        on_member: Callable[[bool], None] = lambda member: None,
    ) -> None:
        self._options = options
        self._machine_id = machine_id
        self._on_member = on_member
        self.member = False
        self._worker = worker
        self._state = state
        self._boot_id = boot_id if boot_id is not None else _boot_id()
        self._boot_file = Path(options.state_path) / "boot_id"
        self._started_at = _now()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._touched: set[str] = set()
        self._strangers: set[str] = set()
        self._thread: threading.Thread | None = None
        self.last_report_at: float | None = None
        self.trouble = ""
        self._reconciling = threading.Lock()  # an audit asks for it too
        worker.reconcile = self.reconcile
        self._tasks = (
            _Task(REPORT, options.report_interval, self.report),
            _Task("cards", options.report_interval, worker.mend_cards),
            _Task("reconcile", options.sync_power_state_interval, self.reconcile),
            _Task("housekeep", options.image_cache_manager_interval, worker.driver.housekeep),
        )

    def start(self) -> None:
        """Begin to run."""
        self._worker.driver.watch(self.touch)
        self._thread = threading.Thread(target=self._run, name="compute-loops", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop; waits for the running round."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    def touch(self, guest_id: str) -> None:
        """Note that a guest changed by itself; its state is reported soon."""
        with self._lock:
            self._touched.add(guest_id)
        self._wake.set()

    def _run(self) -> None:
        for task in self._tasks:
            task.due = time.monotonic()
        while not self._stop.is_set():
            self._wake.wait(max(0.0, min(task.due for task in self._tasks) - time.monotonic()))
            if self._stop.is_set():
                return
            if self._wake.is_set():
                self._stop.wait(EARLY_S)
                self._wake.clear()
                if self.member:
                    self._attempt("events", self.report_touched)
            now = time.monotonic()
            for task in self._tasks:
                if task.due <= now and not self._stop.is_set():
                    if self.member or task.name == REPORT:
                        self._attempt(task.name, task.work)
                    task.due = time.monotonic() + self._pause_s(task)

    def _pause_s(self, task: _Task) -> float:
        """A host that was not heard yet hurries; one that was refused does not."""
        hurried = not self.member and not self.trouble.startswith(HostNameTaken.code)
        return min(task.every_s, HURRY_S) if hurried else task.every_s

    def _attempt(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except HostNameTaken as error:
            if self.trouble != str(error):
                LOG.error("this host is refused", host=self._worker.host, error=error.text)
            self.trouble = str(error)
            self._be_member(False)
        except (AgentError, BusError) as error:
            self.trouble = f"{name}: {error}"
            LOG.warning("round failed, it comes again", round=name, error=str(error))
        except Exception as error:  # border: the reconciler
            self.trouble = f"{name}: {type(error).__name__}"
            LOG.error("round failed", round=name, exc_info=True)
        else:
            refused = name == REPORT and self.trouble.startswith(HostNameTaken.code)
            if self.trouble.startswith(f"{name}:") or refused:
                self.trouble = ""

    def _be_member(self, member: bool) -> None:
        if member != self.member:
            self.member = member
            self._on_member(member)

    def report(self) -> None:
        """Send the heartbeat. Raises: HostNameTaken, and what the bus raises."""
        self._state.report(
            HostReport(
                host=self._worker.host,
                started_at=self._started_at,
                sent_at=_now(),
                inventory=self._worker.inventory(),
                capabilities=self._worker.capabilities(),
                boot_id=self._boot_id,
                machine_id=self._machine_id,
            )
        )
        self.last_report_at = time.monotonic()
        self._be_member(True)

    def report_touched(self) -> None:
        """Report guests that changed by themselves."""
        with self._lock:
            touched, self._touched = self._touched, set()
        touched = {guest_id for guest_id in touched if not self._worker.orders.busy(guest_id)}
        if not touched:
            return
        known = {state.guest_id: state for state in self._worker.power_states()}
        states = [known.get(one) or GuestState(one, NOSTATE, present=False) for one in touched]
        self._state.guest_states(self._worker.host, states)

    def reconcile(self) -> None:
        """Compare the host's guests with the conductor's."""
        with self._reconciling:
            self._reconcile()

    def _reconcile(self) -> None:
        found = {state.guest_id: state for state in self._worker.power_states()}
        leftovers = [one for one in self._worker.driver.leftovers() if one not in found]
        expected = self._state.expected_guests(self._worker.host, [*found, *leftovers])
        wanted = {guest.guest_id: guest for guest in expected.guests}
        for guest_id in expected.deleted:
            if guest_id not in wanted:
                self._deleted(guest_id)
        self._note_strangers(set(found) - set(wanted) - set(expected.deleted))
        booted = self._host_was_booted()
        different: list[GuestState] = []
        for guest in expected.guests:
            if guest.busy or self._worker.orders.busy(guest.guest_id):
                continue
            state = found.get(guest.guest_id)
            if state is not None and booted and self._resume(guest, state):
                continue
            if state is None:
                different.append(GuestState(guest.guest_id, NOSTATE, present=False))
            elif state.power_state != guest.power_state:
                different.append(state)
        if different:
            self._state.guest_states(self._worker.host, different)
        self._note_boot()

    def _deleted(self, guest_id: str) -> None:
        if self._worker.orders.busy(guest_id):
            return
        if self._options.running_deleted_instance_action == "log":
            LOG.error("guest of a deleted server is still here", server_id=guest_id)
            return
        LOG.warning("guest of a deleted server is removed", server_id=guest_id)
        self._worker.reap(guest_id)

    def _note_strangers(self, strangers: set[str]) -> None:
        for guest_id in strangers - self._strangers:
            LOG.warning("guest is unknown to the database and left alone", server_id=guest_id)
        self._strangers = strangers

    def _resume(self, guest: ExpectedGuest, state: GuestState) -> bool:
        if not self._options.resume_guests_state_on_host_boot:
            return False
        if guest.power_state != RUNNING or state.power_state != SHUTDOWN:
            return False
        LOG.info("guest is started after the host's boot", server_id=guest.guest_id)
        with self._worker.orders.working_on(guest.guest_id):
            try:
                self._worker.driver.power(guest.guest_id, "start", 0)
            except AgentError as error:
                LOG.error("guest does not start", server_id=guest.guest_id, error=str(error))
                return False
        return True

    def _host_was_booted(self) -> bool:
        """Whether this is another boot than the one of the last round."""
        try:
            return self._boot_file.read_text() != self._boot_id
        except FileNotFoundError:
            return False

    def _note_boot(self) -> None:
        self._boot_file.parent.mkdir(parents=True, exist_ok=True)
        part = self._boot_file.with_suffix(".part")
        part.write_text(self._boot_id)
        part.replace(self._boot_file)


def _boot_id() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _now() -> str:
    return datetime.now(UTC).isoformat()

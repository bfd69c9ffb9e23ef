"""Power actions on a domain.

Owns: the order of libvirt calls behind start, stop, reboots, pause, suspend. Every action looks at
the state first, so that asking again, also after a kill in the middle, ends in the same state.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt  # type: ignore[import-untyped]

from gureum.core import log
from gureum.nova.agent.contract import (
    PAUSED,
    RUNNING,
    SHUTDOWN,
    SUSPENDED,
    GuestStateConflict,
    HypervisorFailed,
    Unsupported,
)
from gureum.nova.drivers.libvirt import domains
from gureum.nova.drivers.libvirt.connection import Connection

LOG = log.get(__name__)

SAVE_TIMEOUT_S = 900.0
STOP_TIMEOUT_S = 120.0
_PRESS_AGAIN_S = 10.0
_LOOK_S = 1.0
_KILL_ATTEMPTS = 3


class Power:
    """Power actions, by the contract's names."""

    def __init__(self, connection: Connection, home: Path) -> None:
        self._connection = connection
        self._home = home
        self._actions: dict[str, Callable[[str, int], None]] = {
            "start": self._start,
            "stop": self._stop,
            "reboot_soft": self._reboot_soft,
            "reboot_hard": self._reboot_hard,
            "pause": self._pause,
            "unpause": self._unpause,
            "suspend": self._suspend,
            "resume": self._resume,
        }

    def do(self, guest_id: str, action: str, timeout_s: int) -> str:
        """Do an action; returns the power state it led to."""
        if action not in self._actions:
            raise Unsupported(f"no power action {action}")
        self._actions[action](guest_id, timeout_s)
        return self.state(guest_id)

    def state(self, guest_id: str) -> str:
        """Return a guest's power state. Raises: GuestNotFound."""
        return self._connection.call(
            lambda c: domains.power_state(domains.get(c, guest_id, self._home))
        )

    def kill(self, guest_id: str) -> None:
        """End a running domain at once; not running, or no such domain, is fine."""

        def ask(connection: Any) -> bool:
            domain = domains.find(connection, guest_id, self._home)
            if domain is None or not domain.isActive():
                return True
            try:
                domain.destroy()
            except libvirt.libvirtError as error:
                if error.get_error_code() in (
                    libvirt.VIR_ERR_OPERATION_INVALID,
                    libvirt.VIR_ERR_NO_DOMAIN,
                ):
                    return not domain.isActive()
                if error.get_error_code() == libvirt.VIR_ERR_SYSTEM_ERROR:
                    return False  # QEMU is stuck in the kernel; it is told again
                raise
            return True

        for _ in range(_KILL_ATTEMPTS):
            if self._connection.call(ask, STOP_TIMEOUT_S):
                return
        raise HypervisorFailed("the guest's process does not end")

    def _start(self, guest_id: str, _timeout_s: int) -> None:
        state = self.state(guest_id)
        if state == PAUSED:
            raise GuestStateConflict("the guest is paused; unpause it")
        if state == RUNNING:
            return

        def ask(connection: Any) -> None:
            domain = domains.get(connection, guest_id, self._home)
            try:
                domain.create()
            except libvirt.libvirtError:
                if not domain.isActive():
                    raise

        self._connection.call(ask, SAVE_TIMEOUT_S)

    def _stop(self, guest_id: str, timeout_s: int) -> None:
        state = self.state(guest_id)
        if state == SUSPENDED:
            self._forget_saved(guest_id)
        elif state != SHUTDOWN and not (
            state == RUNNING and timeout_s and self._shut_down(guest_id, timeout_s)
        ):
            self.kill(guest_id)

    def _reboot_soft(self, guest_id: str, timeout_s: int) -> None:
        state = self.state(guest_id)
        if state == PAUSED:
            raise GuestStateConflict("the guest is paused; reboot it hard")
        if state == RUNNING and not self._shut_down(guest_id, timeout_s):
            LOG.warning("guest did not shut down, it is rebooted hard", server_id=guest_id)
            self.kill(guest_id)
        self._start(guest_id, 0)

    def _reboot_hard(self, guest_id: str, _timeout_s: int) -> None:
        self.state(guest_id)
        self.kill(guest_id)
        self._forget_saved(guest_id)
        self._start(guest_id, 0)

    def _pause(self, guest_id: str, _timeout_s: int) -> None:
        self._only_from(guest_id, "pause", {RUNNING: "suspend", PAUSED: ""})

    def _unpause(self, guest_id: str, _timeout_s: int) -> None:
        self._only_from(guest_id, "unpause", {PAUSED: "resume", RUNNING: ""})

    def _suspend(self, guest_id: str, _timeout_s: int) -> None:
        self._only_from(
            guest_id, "suspend", {RUNNING: "managedSave", PAUSED: "managedSave", SUSPENDED: ""}
        )

    def _resume(self, guest_id: str, _timeout_s: int) -> None:
        self._only_from(guest_id, "resume", {SUSPENDED: "create", RUNNING: ""})

    def _only_from(self, guest_id: str, action: str, methods: dict[str, str]) -> None:
        """Call the libvirt method that the current state asks for ("": it is there already)."""
        state = self.state(guest_id)
        if state not in methods:
            raise GuestStateConflict(f"cannot {action} a guest that is {state}")
        method = methods[state]
        if method:
            self._connection.call(
                lambda c: getattr(domains.get(c, guest_id, self._home), method)(), SAVE_TIMEOUT_S
            )

    def _forget_saved(self, guest_id: str) -> None:
        def ask(connection: Any) -> None:
            domain = domains.get(connection, guest_id, self._home)
            if domain.hasManagedSaveImage():
                domain.managedSaveRemove()

        self._connection.call(ask)

    def _shut_down(self, guest_id: str, timeout_s: int) -> bool:
        """Press the power button until the guest is off; returns whether it went off in time."""

        def press(connection: Any) -> None:
            domain = domains.get(connection, guest_id, self._home)
            try:
                domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
            except libvirt.libvirtError:
                if domain.isActive():
                    raise

        end = time.monotonic() + timeout_s
        press_at = time.monotonic()
        serial = self._connection.wait_change(-1, 0)
        while (now := time.monotonic()) < end:
            if now >= press_at:
                self._connection.call(press)
                press_at = now + _PRESS_AGAIN_S
            if self.state(guest_id) == SHUTDOWN:
                return True
            serial = self._connection.wait_change(serial, min(_LOOK_S, max(0.0, end - now)))
        return self.state(guest_id) == SHUTDOWN

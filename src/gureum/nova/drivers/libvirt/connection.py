"""One connection to libvirtd, asked from a bounded pool of threads.

Owns: opening and reopening it, time limits, its events, and libvirt's errors as the contract's.
Must not: know what is asked. A call that libvirt never answers costs its caller the time limit and
one thread of the pool, not the process.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

import libvirt  # type: ignore[import-untyped]

from gureum.core import log
from gureum.nova.agent.contract import GuestNotFound, HypervisorDown, HypervisorFailed

LOG = log.get(__name__)

T = TypeVar("T")

_KEEPALIVE_S = 5
_KEEPALIVE_MISSES = 4
_LOST_CODES = (
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_AUTH_FAILED,
)
_LOST_DOMAINS = (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)

_events_lock = threading.Lock()
_events_thread: list[threading.Thread] = []


def _ensure_events() -> None:
    """Start libvirt's event loop; it is one per process by libvirt's own design."""
    with _events_lock:
        if _events_thread:
            return
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        thread = threading.Thread(target=_run_events, name="libvirt-events", daemon=True)
        _events_thread.append(thread)
        thread.start()


def _run_events() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            time.sleep(0.5)


class Connection:
    """libvirtd at a URI. Thread-safe."""

    def __init__(self, uri: str, workers: int, timeout_s: float) -> None:
        _ensure_events()
        self._uri = uri
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="libvirt")
        self._lock = threading.Lock()
        self._connection: Any = None
        self._changed = threading.Condition()
        self._serial = 0
        self._listener: Callable[[str], None] = lambda guest_id: None

    def call(self, ask: Callable[[Any], T], timeout_s: float | None = None) -> T:
        """Return what `ask(connection)` returns; a lost connection is opened again once.

        Raises: GuestNotFound, HypervisorDown, HypervisorFailed, whatever `ask` raises.
        """
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            future: Future[T] = self._pool.submit(self._ask, ask)
        except RuntimeError as error:
            raise HypervisorDown("the driver is closed") from error
        try:
            return future.result(limit_s)
        except FutureTimeoutError as error:
            future.cancel()
            raise HypervisorDown(f"libvirt did not answer in {limit_s} s") from error

    def listen(self, changed: Callable[[str], None]) -> None:
        """Call `changed` with a domain's uuid at each of its lifecycle events."""
        self._listener = changed

    def wait_change(self, seen: int, timeout_s: float) -> int:
        """Wait for an event after serial `seen`; returns the newest serial (0 asks for it)."""
        with self._changed:
            if self._serial <= seen:
                self._changed.wait(timeout_s)
            return self._serial

    def close(self) -> None:
        """Let go of libvirtd."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            connection, self._connection = self._connection, None
        _close(connection)

    def _ask(self, ask: Callable[[Any], T]) -> T:
        connection = self._open()
        try:
            return ask(connection)
        except libvirt.libvirtError as error:
            if not _is_lost(error, connection):
                raise _as_agent_error(error) from error
            LOG.warning("connection to libvirt was lost, opening it again")
        connection = self._open(instead_of=connection)
        try:
            return ask(connection)
        except libvirt.libvirtError as error:
            raise _as_agent_error(error) from error

    def _open(self, instead_of: Any = None) -> Any:
        with self._lock:
            if self._connection is not None and self._connection is not instead_of:
                return self._connection
            old, self._connection = self._connection, None
            _close(old)
            try:
                opened = libvirt.open(self._uri)
                opened.setKeepAlive(_KEEPALIVE_S, _KEEPALIVE_MISSES)
                opened.domainEventRegisterAny(
                    None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_event, None
                )
            except libvirt.libvirtError as error:
                raise HypervisorDown(f"libvirt at {self._uri}: {error.get_error_message()}") from (
                    error
                )
            self._connection = opened
            return opened

    def _on_event(
        self, _connection: Any, domain: Any, _event: int, _detail: int, _opaque: Any
    ) -> None:
        guest_id = domain.UUIDString()
        with self._changed:
            self._serial += 1
            self._changed.notify_all()
        self._listener(guest_id)


def _close(connection: Any) -> None:
    if connection is None:
        return
    try:
        connection.close()
    except libvirt.libvirtError:
        return


def _is_lost(error: Any, connection: Any) -> bool:
    if error.get_error_code() in _LOST_CODES or (
        error.get_error_domain() in _LOST_DOMAINS
        and error.get_error_code() in (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_INTERNAL_ERROR)
    ):
        return True
    try:
        return bool(connection.isAlive() != 1)
    except libvirt.libvirtError:
        return True


def _as_agent_error(error: Any) -> Exception:
    if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
        return GuestNotFound("no such guest on this host")
    return HypervisorFailed(error.get_error_message() or "libvirt failed")

"""Open vSwitch's database: a live picture of bridges and interfaces, and changes to them.

Owns: Ovsdb (one connection, one thread) and the snapshot types. Must not: touch flows, or rows
without being asked to by name. Follows RFC 7047 and ovs-vswitchd.conf.db(5). Interfaces carry their
port's id in `external_ids:iface-id`, as libvirt's `<virtualport type='openvswitch'>` writes it.
"""

import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import ovs.jsonrpc
import ovs.poller
import ovs.stream
from ovs.db import idl as ovs_idl

from gureum.core import log as logs
from gureum.neutron.agents.ovs.edit import COLUMNS, Edit, row_map, row_value

log = logs.get(__name__)

DEFAULT_REMOTE = "unix:/var/run/openvswitch/db.sock"
_BUSY_WAIT_MS = 5000


class OvsdbError(Exception):
    """The database refused a change, could not be reached, or took too long."""


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of a bridge. `ofport` is None until the switch has it, or when it cannot."""

    name: str
    bridge: str
    type: str = ""
    ofport: int | None = None
    error: str = ""
    mac_in_use: str = ""
    uuid: str = ""
    external_ids: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def port_id(self) -> str | None:
        """Return the id of the network port that this interface is for."""
        return self.external_ids.get("iface-id")

    @property
    def is_guest(self) -> bool:
        """Return whether a hypervisor, not an agent, made this interface."""
        return "vm-id" in self.external_ids or "vm-uuid" in self.external_ids


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge with its interfaces by name."""

    name: str
    datapath_type: str = ""
    fail_mode: str = ""
    external_ids: Mapping[str, str] = field(default_factory=dict)
    interfaces: Mapping[str, Interface] = field(default_factory=dict)


Snapshot = Mapping[str, Bridge]
_EMPTY: Snapshot = MappingProxyType({})


class Ovsdb:
    """A connection to the database, kept up by its own thread.

    `snapshot` is always readable; `on_change` is called in the thread of the connection after each
    change of it and must return at once.
    """

    def __init__(
        self, remote: str = DEFAULT_REMOTE, on_change: Callable[[], None] | None = None
    ) -> None:
        self.remote = remote
        self._on_change = on_change
        self._snapshot = _EMPTY
        self._changed = threading.Condition()
        self._ready = False
        self._stopping = False
        self._queue: list[tuple[Callable[[Edit], Any], Future[Any]]] = []
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._thread: threading.Thread | None = None

    def start(self, timeout_s: float = 10.0) -> None:
        """Connect and wait for the first snapshot. May be called again. Raises: OvsdbError."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ovsdb", daemon=True)
            self._thread.start()
        with self._changed:
            if not self._changed.wait_for(lambda: self._ready, timeout_s):
                raise OvsdbError(f"no answer from {self.remote} in {timeout_s} s")

    def close(self) -> None:
        """Disconnect."""
        self._stopping = True
        self._wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1.0)

    @property
    def snapshot(self) -> Snapshot:
        """Return the bridges by name, as last seen."""
        return self._snapshot

    def bridge(self, name: str) -> Bridge | None:
        """Return one bridge, or None."""
        return self._snapshot.get(name)

    def interface(self, bridge: str, name: str) -> Interface | None:
        """Return one interface of a bridge, or None."""
        found = self._snapshot.get(bridge)
        return found.interfaces.get(name) if found else None

    def wait_for(
        self, condition: Callable[[Snapshot], Any], timeout_s: float, what: str = "the change"
    ) -> Any:
        """Wait until `condition` is true of the snapshot; return its value. Raises: OvsdbError."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                value = condition(self._snapshot)
                if value:
                    return value
                left = deadline - time.monotonic()
                if left <= 0:
                    raise OvsdbError(f"{what} not seen in {timeout_s} s")
                self._changed.wait(left)

    def transact(self, change: Callable[[Edit], Any], timeout_s: float = 10.0) -> Any:
        """Apply `change` in one transaction and return its result. It may run more than once.

        Raises: OvsdbError.
        """
        done: Future[Any] = Future()
        with self._changed:
            self._queue.append((change, done))
        self._wake()
        try:
            return done.result(timeout_s)
        except TimeoutError as error:
            done.cancel()
            raise OvsdbError(f"no transaction with {self.remote} in {timeout_s} s") from error

    # --- what agents ask for ----------------------------------------------------------------------

    def ensure_bridge(
        self, name: str, *, datapath_type: str | None = None, fail_mode: str | None = None
    ) -> None:
        """Make the bridge unless it is there; an existing bridge keeps its datapath type."""
        found = self.bridge(name)
        if found is not None and (fail_mode is None or found.fail_mode == fail_mode):
            return
        self.transact(
            lambda edit: edit.ensure_bridge(name, datapath_type=datapath_type, fail_mode=fail_mode)
        )
        self.wait_for(lambda seen: name in seen, 10.0, f"bridge {name}")

    def unplug(self, bridge: str, name: str) -> None:
        """Remove a port of a bridge, if it is there."""
        self.transact(lambda edit: edit.delete_port(bridge, name))

    def set_external_ids(self, interface: str, values: Mapping[str, str]) -> None:
        """Set keys of an interface's external_ids; others stay."""
        self.transact(lambda edit: edit.set_external_ids("Interface", interface, values))

    # --- the connection's thread ------------------------------------------------------------------

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"x")
        except BlockingIOError:
            return  # it is awake already

    def _drain(self) -> None:
        try:
            while os.read(self._wake_read, 4096):
                continue
        except BlockingIOError:
            return

    def _run(self) -> None:
        backoff_s = 0.2
        while not self._stopping:
            try:
                idl = _open_idl(self.remote)
                self._serve(idl)
                idl.close()
            except Exception as error:  # border: an agent's worker
                log.warning("ovsdb connection broke", remote=self.remote, error=error)
                select.select([self._wake_read], [], [], backoff_s)
                self._drain()
                backoff_s = min(backoff_s * 2, 5.0)
        os.close(self._wake_read)
        self._fail_queue()

    def _serve(self, idl: Any) -> None:
        seen = None
        while not self._stopping:
            idl.run()
            if idl.has_ever_connected() and idl.change_seqno != seen:
                seen = idl.change_seqno
                self._publish(_read(idl))
            if idl.has_ever_connected():
                self._run_queue(idl)
            if idl.change_seqno != seen:
                continue
            poller = ovs.poller.Poller()
            idl.wait(poller)
            poller.fd_wait(self._wake_read, select.POLLIN)
            poller.block()
            self._drain()

    def _publish(self, snapshot: Snapshot) -> None:
        with self._changed:
            same = self._ready and snapshot == self._snapshot
            self._snapshot = snapshot
            self._ready = True
            self._changed.notify_all()
        if not same and self._on_change is not None:
            self._on_change()

    def _run_queue(self, idl: Any) -> None:
        while not self._stopping:
            with self._changed:
                if not self._queue:
                    return
                change, done = self._queue.pop(0)
            if not done.set_running_or_notify_cancel():
                continue
            try:
                done.set_result(_commit(idl, change))
            except Exception as error:  # border: the error belongs to who asked
                done.set_exception(error)

    def _fail_queue(self) -> None:
        with self._changed:
            for _change, done in self._queue:
                if done.set_running_or_notify_cancel():
                    done.set_exception(OvsdbError("closed"))
            self._queue.clear()


def _open_idl(remote: str) -> Any:
    """Open the IDL with just the columns that are used; statistics would change all the time."""
    schema = ovs_idl.SchemaHelper(schema_json=_schema(remote))
    for table, columns in COLUMNS.items():
        schema.register_columns(table, list(columns))
    return ovs_idl.Idl(remote, schema, probe_interval=5000)


def _schema(remote: str) -> Any:
    """Ask the server for its own schema, so that versions may differ."""
    code, stream = ovs.stream.Stream.open_block(ovs.stream.Stream.open(remote))
    if code:
        raise OvsdbError(f"cannot connect to {remote}: {os.strerror(code)}")
    rpc = ovs.jsonrpc.Connection(stream)
    try:
        ask = ovs.jsonrpc.Message.create_request("get_schema", ["Open_vSwitch"])
        code, reply = rpc.transact_block(ask)
        if code or reply.error:
            raise OvsdbError(f"no schema from {remote}: {reply.error if reply else code}")
        return reply.result
    finally:
        rpc.close()


def _commit(idl: Any, change: Callable[[Edit], Any]) -> Any:
    deadline = time.monotonic() + _BUSY_WAIT_MS / 1000
    while True:
        txn = ovs_idl.Transaction(idl)
        result = change(Edit(idl, txn))
        status = txn.commit_block()
        if status in (ovs_idl.Transaction.SUCCESS, ovs_idl.Transaction.UNCHANGED):
            return result
        error = txn.get_error()
        txn.abort()
        if status != ovs_idl.Transaction.TRY_AGAIN or time.monotonic() > deadline:
            raise OvsdbError(f"transaction ended as {status}: {error}")


def _read(idl: Any) -> Snapshot:
    bridges = {}
    for row in idl.tables["Bridge"].rows.values():
        interfaces = {}
        for port in row.ports:
            for interface in port.interfaces:
                interfaces[interface.name] = _interface(row.name, interface)
        bridges[row.name] = Bridge(
            name=row.name,
            datapath_type=row.datapath_type,
            fail_mode=row_value(row.fail_mode) or "",
            external_ids=row_map(row.external_ids),
            interfaces=interfaces,
        )
    return MappingProxyType(bridges)


def _interface(bridge: str, row: Any) -> Interface:
    ofport = row_value(row.ofport)
    return Interface(
        name=row.name,
        bridge=bridge,
        type=row.type,
        ofport=ofport if ofport is not None and ofport > 0 else None,
        error=row_value(row.error) or "",
        mac_in_use=row_value(row.mac_in_use) or "",
        uuid=str(row.uuid),
        external_ids=row_map(row.external_ids),
        options=row_map(row.options),
    )

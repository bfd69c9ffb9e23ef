"""Changes within one transaction of Open vSwitch's database.

Owns: Edit, and which columns are read at all. Must not: commit, or wait. Every method is idempotent
and addresses rows by name. Follows ovs-vswitchd.conf.db(5).
"""

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS: Mapping[str, Sequence[str]] = {
    "Open_vSwitch": ("bridges", "external_ids", "next_cfg", "cur_cfg"),
    "Bridge": ("name", "ports", "datapath_type", "fail_mode", "external_ids", "other_config"),
    "Port": ("name", "interfaces", "tag", "external_ids", "other_config"),
    "Interface": (
        "name",
        "type",
        "ofport",
        "error",
        "mac",
        "mac_in_use",
        "mtu_request",
        "options",
        "external_ids",
    ),
}


def row_value(column: Any) -> Any:
    """Return the value of an optional column, or None."""
    if isinstance(column, list):
        return column[0] if column else None
    return column


def row_map(column: Any) -> dict[str, str]:
    """Return a map column as a plain dict."""
    return {str(key): str(value) for key, value in dict(column).items()}


class Edit:
    """One transaction being put together."""

    def __init__(self, idl: Any, txn: Any) -> None:
        self._idl = idl
        self._txn = txn

    def find(self, table: str, name: str) -> Any | None:
        """Return the row with this name, or None."""
        for row in self._idl.tables[table].rows.values():
            if row.name == name:
                return row
        return None

    def ensure_bridge(
        self, name: str, *, datapath_type: str | None = None, fail_mode: str | None = None
    ) -> Any:
        """Return the bridge's row, made if it is missing; `datapath_type` counts only then."""
        bridge = self.find("Bridge", name)
        if bridge is None:
            bridge = self._txn.insert(self._idl.tables["Bridge"])
            bridge.name = name
            if datapath_type is not None:
                bridge.datapath_type = datapath_type
            root = next(iter(self._idl.tables["Open_vSwitch"].rows.values()))
            root.addvalue("bridges", bridge)
            self.ensure_port(bridge, name, type="internal")
        if fail_mode is not None and row_value(getattr(bridge, "fail_mode", None)) != fail_mode:
            bridge.fail_mode = fail_mode
        return bridge

    def ensure_port(
        self,
        bridge: Any,
        name: str,
        *,
        type: str = "",
        options: Mapping[str, str] | None = None,
        external_ids: Mapping[str, str] | None = None,
        mac: str | None = None,
        mtu_request: int | None = None,
    ) -> Any:
        """Return the interface's row of a one-interface port; `bridge` is a row or a name.

        Raises: LookupError (no such bridge, or the name is taken on another one).
        """
        if isinstance(bridge, str):
            found = self.find("Bridge", bridge)
            if found is None:
                raise LookupError(f"no bridge {bridge}")
            bridge = found
        port = self.find("Port", name)
        if port is None:
            port = self._txn.insert(self._idl.tables["Port"])
            port.name = name
            interface = self._txn.insert(self._idl.tables["Interface"])
            interface.name = name
            port.interfaces = [interface]
            # Not as a whole column: libvirt and the other agents add ports of their own meanwhile.
            bridge.addvalue("ports", port)
        else:
            if port not in list(bridge.ports):
                raise LookupError(f"port {name} is not on bridge {bridge.name}")
            interface = port.interfaces[0]
        self._set(interface, "type", type)
        self._set(interface, "mac", mac)
        self._set(interface, "mtu_request", mtu_request)
        for column, wanted in (("options", options), ("external_ids", external_ids)):
            for key, value in (wanted or {}).items():
                if row_map(getattr(interface, column, {})).get(key) != value:
                    interface.setkey(column, key, value)
        return interface

    def delete_port(self, bridge: str, name: str) -> None:
        """Remove a port of a bridge, if it is there."""
        row = self.find("Bridge", bridge)
        if row is None:
            return
        for port in list(row.ports):
            if port.name == name:
                row.delvalue("ports", port)

    def set_external_ids(self, table: str, name: str, values: Mapping[str, str]) -> None:
        """Set keys of a row's external_ids, where there is such a row."""
        row = self.find(table, name)
        if row is not None:
            for key, value in values.items():
                row.setkey("external_ids", key, value)

    @staticmethod
    def _set(row: Any, column: str, wanted: Any) -> None:
        # A row that this transaction inserts has no values to read yet.
        if wanted is not None and row_value(getattr(row, column, None)) != wanted:
            setattr(row, column, wanted)

"""What a libvirt host really holds: guests with their cards and files, and parts without a guest.

Owns: `HostLook`: one look at libvirt, the guests' folder, the taps and the switch; giving a card of a
running guest its tap back. Must not: decide what should be there, or touch what carries no mark of ours.
"""

import contextlib
import os
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libvirt  # type: ignore[import-untyped]

from gureum.core import log
from gureum.nova.agent.contract import AgentError, FoundCard, FoundGuest, FoundPart
from gureum.nova.drivers.base import Hold
from gureum.nova.drivers.libvirt import domains
from gureum.nova.drivers.libvirt.connection import Connection
from gureum.nova.drivers.libvirt.vif import SwitchPort, Vifs

LOG = log.get(__name__)

FOLDER, TAP, IMAGE_PART = "folder", "tap", "image-part"
NET = Path("/sys/class/net")
TAP_GONE = "its tap is gone"
_UNPLUG_S = 20.0
_LOOK_S = 0.5
_PATIENCE_S = 5.0
"""After so long one round of mending ends."""
_AGAIN_S = 300.0
"""When a card is tried again that its guest did not let go."""


@dataclass(frozen=True, slots=True)
class Card:
    """A card as a running domain's description names it; `text` is that part of the description."""

    mac: str
    device: str
    bridge: str
    port_id: str
    text: str = field(repr=False)

    @property
    def on_switch(self) -> bool:
        """Whether it belongs on an Open vSwitch, and not on a Linux bridge."""
        return bool(self.port_id)


def cards_of(description: str) -> list[Card]:
    """Return the cards of a domain that are plugged into a bridge."""
    found = []
    for element in ET.fromstring(description).findall("./devices/interface[@type='bridge']"):
        mac, source, target = (element.find(name) for name in ("mac", "source", "target"))
        if mac is None or source is None or target is None:
            continue
        parameters = element.find("./virtualport/parameters")
        found.append(
            Card(
                mac.get("address", ""),
                target.get("dev", ""),
                source.get("bridge", ""),
                parameters.get("interfaceid", "") if parameters is not None else "",
                ET.tostring(element, encoding="unicode"),
            )
        )
    return found


def trouble_of(card: Card, ports: Mapping[str, SwitchPort], net: Path = NET) -> str:
    """Say what is wrong with the host side of a running guest's card; "" when nothing is."""
    if not (net / card.device).exists():
        return TAP_GONE
    if not card.on_switch:
        with contextlib.suppress(OSError):
            if os.readlink(net / card.device / "master").rpartition("/")[2] == card.bridge:
                return ""
        return f"its tap is not on {card.bridge}"
    port = ports.get(card.device)
    if port is None or port.bridge != card.bridge:
        return f"its tap is not on {card.bridge}"
    return "" if port.port_id == card.port_id else "its tap is marked as another port's"


class HostLook:
    """Looks at everything of one cloud on one host."""

    def __init__(self, home: Path, connection: Connection, vifs: Vifs) -> None:
        self._home = home
        self._connection = connection
        self._vifs = vifs
        self._again_at: dict[str, float] = {}

    def look(self, folders: set[str]) -> tuple[list[FoundGuest], list[FoundPart]]:
        """Return guests, and parts without one; `folders` are the ids that have a folder."""
        ports = self._vifs.switch_ports()
        found, everybody = self._connection.call(self._describe)
        guests = [self._guest(*one, ports=ports, folders=folders) for one in found]
        known = {guest.guest_id for guest in guests}
        parts = [self._folder(guest_id) for guest_id in sorted(folders - known)]
        bridges = {card.bridge for one in found for card in cards_of(one[3])}
        parts += self._taps(guests, bridges, ports, everybody)
        parts += self._image_parts()
        return guests, parts

    def _describe(self, connection: Any) -> tuple[list[tuple[str, str, str, str]], set[str]]:
        """Return what libvirt says of our domains, and the ids of everybody's."""
        described, everybody = [], set()
        for domain in connection.listAllDomains():
            everybody.add(domain.UUIDString())
            try:
                if domains.is_ours(domain, self._home):
                    described.append(
                        (domain.UUIDString(), domain.name(), domains.power_state(domain),
                         domain.XMLDesc(0))
                    )  # fmt: skip
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:  # it went meanwhile
                    raise
        return described, everybody

    def _guest(
        self,
        guest_id: str,
        name: str,
        power_state: str,
        description: str,
        *,
        ports: Mapping[str, SwitchPort],
        folders: set[str],
    ) -> FoundGuest:
        active = _is_active(description)
        cards = tuple(
            FoundCard(
                card.mac, card.device, card.port_id, trouble_of(card, ports) if active else ""
            )
            for card in cards_of(description)
        )
        files = [Path(path) for path in domains.sources(description)]
        missing = [] if guest_id in folders else [str(self._home / guest_id)]
        missing += [str(path) for path in files if not path.exists()]
        return FoundGuest(guest_id, name, power_state, cards, tuple(dict.fromkeys(missing)))

    def _folder(self, guest_id: str) -> FoundPart:
        return FoundPart(
            FOLDER, str(self._home / guest_id), guest_id, _age_s(self._home / guest_id)
        )

    def _taps(
        self,
        guests: list[FoundGuest],
        bridges: set[str],
        ports: Mapping[str, SwitchPort],
        everybody: set[str],
    ) -> list[FoundPart]:
        """Ports with a guest's mark that are no card of it; other clouds' guests keep theirs."""
        cards = {card.device for guest in guests for card in guest.cards}
        ours = {guest.guest_id for guest in guests}
        return [
            FoundPart(TAP, name, port.guest_id)
            for name, port in sorted(ports.items())
            if port.guest_id
            and port.bridge in bridges
            and name not in cards
            and (port.guest_id in ours or port.guest_id not in everybody)
        ]

    def remove_tap(self, device: str) -> None:
        """Take a tap off its bridge, unless a domain has it as its card."""
        port = self._vifs.switch_ports().get(device)
        if port is None or not port.guest_id:
            return

        def used(connection: Any) -> bool:
            try:
                domain = connection.lookupByUUIDString(port.guest_id)
            except libvirt.libvirtError as error:
                if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                    return False
                raise
            return not domains.is_ours(domain, self._home) or device in {
                card.device for card in cards_of(domain.XMLDesc(0))
            }

        if not self._connection.call(used):
            LOG.warning("tap of no guest is taken off its bridge", tap=device)
            self._vifs.remove_tap(device)

    def _image_parts(self) -> list[FoundPart]:
        folder = self._home / "_base"
        names = sorted(path.name for path in folder.iterdir() if path.name.startswith("."))
        return [FoundPart(IMAGE_PART, name, "", _age_s(folder / name)) for name in names]

    # --- mending ----------------------------------------------------------------------------------

    def mend(self, folders: set[str], hold: Hold, busy: Callable[[str], bool]) -> int:
        """Give cards of running guests their host side back; returns how many got it."""
        running: list[tuple[str, list[Card]]] = self._connection.call(
            lambda c: self._running(c, folders)
        )
        if not any(cards for _, cards in running):
            return 0
        ports, count, began = self._vifs.switch_ports(), 0, time.monotonic()
        for guest_id, cards in running:
            bad = [card for card in cards if trouble_of(card, ports) and self._may_try(card)]
            if not bad or busy(guest_id):
                continue
            with hold(guest_id):
                count += sum(self._mend_card(guest_id, card) for card in bad)
            if time.monotonic() - began > _PATIENCE_S:
                break  # whoever asked has a heartbeat to send; the others have their turn next
        return count

    def _may_try(self, card: Card) -> bool:
        """Whether a card was not tried in vain lately: a guest that does not let it go costs time."""
        return time.monotonic() >= self._again_at.get(card.device, 0.0)

    def _running(self, connection: Any, folders: set[str]) -> list[tuple[str, list[Card]]]:
        found = []
        for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            if domain.UUIDString() in folders and domains.is_ours(domain, self._home):
                with contextlib.suppress(libvirt.libvirtError):  # it stops in this moment
                    found.append((domain.UUIDString(), cards_of(domain.XMLDesc(0))))
        return found

    def _mend_card(self, guest_id: str, card: Card) -> bool:
        trouble = trouble_of(card, self._vifs.switch_ports())
        if not trouble:
            return False
        try:
            if trouble == TAP_GONE:
                self._replug(guest_id, card)
            else:
                self._vifs.put_on_bridge(card.device, card.bridge, card.port_id, card.mac, guest_id)
        except AgentError as error:
            LOG.error("card is not mended", server_id=guest_id, tap=card.device, error=str(error))
            self._again_at[card.device] = time.monotonic() + _AGAIN_S
            return False
        self._again_at.pop(card.device, None)
        LOG.warning("card is mended", server_id=guest_id, tap=card.device, trouble=trouble)
        return True

    def _replug(self, guest_id: str, card: Card) -> None:
        """QEMU cannot take another tap for a card it has: the card is unplugged and comes back."""
        live = libvirt.VIR_DOMAIN_AFFECT_LIVE

        def domain_of(connection: Any) -> Any:
            return domains.get(connection, guest_id, self._home)

        def is_plugged(connection: Any) -> bool:
            return domains.card(domain_of(connection).XMLDesc(0), card.mac) is not None

        self._connection.call(lambda c: domain_of(c).detachDeviceFlags(card.text, live))
        deadline = time.monotonic() + _UNPLUG_S
        serial = self._connection.wait_change(-1, 0)
        while self._connection.call(is_plugged):
            if time.monotonic() > deadline:
                raise AgentError("card_stays", "the guest does not let the card go; reboot it")
            serial = self._connection.wait_change(serial, _LOOK_S)
        self._connection.call(lambda c: domain_of(c).attachDeviceFlags(card.text, live))


def _is_active(description: str) -> bool:
    return ET.fromstring(description).get("id") is not None


def _age_s(path: Path) -> float:
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return 0.0

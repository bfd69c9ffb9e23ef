"""What every hypervisor driver is, one small ABC per capability.

Owns: the ABCs and the order of work they are handed. Must not: know a hypervisor, the bus or a store;
of Nova it knows the contract's shapes only.

Every method is blocking, thread-safe and idempotent: asked again it finds what an earlier, possibly
killed run left, by the server's id. All outside effects of a guest carry that id, so that `destroy`
removes them whole whatever is missing.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from gureum.nova.agent.contract import (
    Capabilities,
    FoundGuest,
    FoundPart,
    GuestHandle,
    GuestSpec,
    GuestState,
    ImageSpec,
    Inventory,
    PortSpec,
    VncAddress,
)


class ImageSource(ABC):
    """Where a driver reads images from."""

    @abstractmethod
    def show(self, image_id: str) -> ImageSpec:
        """Return what the image service says. Raises: ImageUnavailable."""

    @abstractmethod
    def read(self, image_id: str) -> Iterator[bytes]:
        """Yield the image's bytes. Raises: ImageUnavailable."""


def _no_checkpoint() -> None:
    return None


@dataclass(frozen=True, slots=True)
class SpawnOrder:
    """A guest to make, and what making it takes.

    `config_drive` maps paths to contents (None: no drive). `checkpoint` is called between actions;
    it raises when the work is no longer wanted.
    """

    guest: GuestSpec
    images: ImageSource | None = None
    config_drive: Mapping[str, bytes] | None = field(default=None, repr=False)
    checkpoint: Callable[[], None] = _no_checkpoint


Hold = Callable[[str], AbstractContextManager[None]]
"""Holds a guest against jobs."""

GuestChanged = Callable[[str], None]
"""Called with a guest's id when its state changed; may be called from any thread."""


class ComputeDriver(ABC):
    """Guests' lives."""

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """Say what this driver can do."""

    @abstractmethod
    def inventory(self) -> Inventory:
        """Count what the host has and uses. Raises: HypervisorDown."""

    @abstractmethod
    def spawn(self, order: SpawnOrder) -> GuestHandle:
        """Make and start a guest, or return the one that is there.

        Raises: ImageUnusable, ImageUnavailable, HostDiskFull, HypervisorFailed, HypervisorDown, and
        whatever `order.checkpoint` raises.
        """

    @abstractmethod
    def destroy(self, guest_id: str, *, delete_disks: bool) -> None:
        """Remove a guest whole, also one of which only parts are left, or nothing."""

    @abstractmethod
    def power(self, guest_id: str, action: str, timeout_s: int) -> GuestState:
        """Do one of POWER_ACTIONS; a guest that is there already stays as it is.

        Raises: GuestNotFound, GuestStateConflict, Unsupported, HypervisorFailed.
        """

    @abstractmethod
    def guest_states(self) -> list[GuestState]:
        """Return every guest that this driver made, never blocked by a busy one."""

    @abstractmethod
    def leftovers(self) -> list[str]:
        """Return ids of which parts are left (disks, a tap) without a guest."""

    @abstractmethod
    def inspect(self) -> tuple[list[FoundGuest], list[FoundPart]]:
        """Return every guest with its cards and files, and every part that has no guest."""

    def mend_cards(self, hold: Hold, busy: Callable[[str], bool]) -> int:
        """Give guests back the host side of cards that lost it; returns how many got it.

        Guests that are `busy` are left alone; one that is mended is held meanwhile.
        """
        return 0

    def remove_part(self, kind: str, name: str) -> None:  # noqa: B027 - none is a fair answer
        """Remove a part that `inspect` named and that is no guest's; gone is fine."""

    @abstractmethod
    def diagnostics(self, guest_id: str) -> dict[str, int | str]:
        """Return counters of a running guest. Raises: GuestNotFound, GuestStateConflict."""

    def housekeep(self) -> None:  # noqa: B027 - nothing to do is a fair answer
        """Do the driver's periodic work, such as ageing cached images."""

    def watch(self, changed: GuestChanged) -> None:  # noqa: B027 - polling stands in
        """Call `changed` when a guest changes by itself, as far as the hypervisor tells."""

    def close(self) -> None:  # noqa: B027
        """Let go of connections and threads; guests keep running."""


class HasConsoles(ABC):
    """A driver whose guests have a serial log and a screen."""

    @abstractmethod
    def console_log(self, guest_id: str, length: int | None) -> str:
        """Return the last `length` lines of the serial console. Raises: GuestNotFound."""

    @abstractmethod
    def vnc_console(self, guest_id: str) -> VncAddress:
        """Return where the screen listens. Raises: GuestNotFound, GuestStateConflict."""


class HasInterfaces(ABC):
    """A driver that can plug and unplug cards."""

    @abstractmethod
    def attach_interface(self, guest_id: str, port: PortSpec) -> GuestState:
        """Plug a card. Raises: GuestNotFound, HypervisorFailed."""

    @abstractmethod
    def detach_interface(self, guest_id: str, port: PortSpec) -> GuestState:
        """Unplug a card. Raises: GuestNotFound, HypervisorFailed."""


def last_lines(text: str, length: int | None) -> str:
    """Return the last `length` lines of a text (None or negative: all of them)."""
    if length is None or length < 0:
        return text
    if length == 0:
        return ""
    lines = text.splitlines(keepends=True)
    return "".join(lines[-length:])

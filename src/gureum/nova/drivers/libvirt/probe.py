"""Which kind of guests this host really runs.

Owns: the probe guest and the memory of its verdict. A device file proves nothing: /dev/kvm may exist
and its guests hang. So a tiny guest is started under KVM: a boot sector that switches to 64 bit with
paging, counts, and writes to QEMU's debug exit port. Only when it ends with the expected code in time
is KVM used.
"""

import os
import platform
import tempfile
from pathlib import Path

import msgspec

from gureum.core import log
from gureum.core.runner import CommandError, Runner
from gureum.nova.drivers.libvirt.files import write_atomically

LOG = log.get(__name__)

KVM_DEVICE = "/dev/kvm"
BOOT_ID = "/proc/sys/kernel/random/boot_id"

# Assembled by hand from these instructions; the guest's address 0x7c00 is its start.
_BOOT_CODE = bytes.fromhex(
    "fa 31c0 8ed8 8ec0 8ed0 bc007c"  # cli; xor ax,ax; mov ds,es,ss = ax; mov sp,0x7c00
    "6631c0 66bf00100000 0f22df"  # xor eax,eax; mov edi,0x1000; mov cr3,edi
    "b9000c 66f3ab"  # mov cx,0xc00; rep stosd: three empty page tables
    "c70600100320 c70600200330 c70600308300"  # PML4 -> PDPT -> PD -> one page of 2 MiB at 0
    "66b820000000 0f22e0"  # mov eax,0x20; mov cr4,eax: PAE
    "66b9800000c0 0f32 0d0001 0f30"  # rdmsr EFER; or ax,0x100; wrmsr: long mode
    "0f0116 9006"  # lgdt, its address filled in below
    "66b801000080 0f22c0"  # mov eax,0x80000001; mov cr0,eax: paging, protection
    "ea 0000 0800"  # ljmp 8:long, its address filled in below
)
_LONG_CODE = bytes.fromhex(
    "b980969800"  # mov ecx,10000000
    "4801c8 48890425 00500000 ffc9 75f1"  # add rax,rcx; mov [0x5000],rax; dec ecx; jnz
    "31c0 0fa2"  # xor eax,eax; cpuid: leaves to the hypervisor
    "b010 e6f4"  # mov al,0x10; out 0xf4,al: QEMU exits with 0x10 * 2 + 1
    "f4 ebfd"  # hlt; jmp to hlt
)
_EXIT_CODE = 0x10 * 2 + 1
_LOAD_AT = 0x7C00


def boot_sector() -> bytes:
    """Return the probe guest: 512 bytes."""
    code = bytearray(_BOOT_CODE)
    long_at = len(code)
    table_at = (long_at + len(_LONG_CODE) + 7) & ~7
    pointer_at = table_at + 16
    lgdt = bytes.fromhex("0f01169006")
    at = code.index(lgdt) + 3
    code[at : at + 2] = (_LOAD_AT + pointer_at).to_bytes(2, "little")
    code[long_at - 4 : long_at - 2] = (_LOAD_AT + long_at).to_bytes(2, "little")
    code += _LONG_CODE
    code += bytes(table_at - len(code))
    code += (0).to_bytes(8, "little") + 0x00209A0000000000.to_bytes(8, "little")
    code += (15).to_bytes(2, "little") + (_LOAD_AT + table_at).to_bytes(4, "little")
    return bytes(code) + bytes(510 - len(code)) + b"\x55\xaa"


class VirtTypeProbe:
    """Finds the kind of guests by trying; remembers it for this boot and QEMU in `memory`."""

    def __init__(self, runner: Runner, memory: Path, timeout_s: float) -> None:
        self._runner = runner
        self._memory = memory
        self._timeout_s = timeout_s

    def virt_type(self) -> str:
        """Return "kvm" or "qemu"."""
        key = f"{_read(BOOT_ID)} {self._qemu_version()}"
        remembered = self._remembered()
        if remembered.get("key") == key:
            return remembered["virt_type"]
        found = "kvm" if os.path.exists(KVM_DEVICE) and self.runs("kvm") else "qemu"
        LOG.info("kind of guests chosen by trying", virt_type=found)
        if found == "qemu":
            _warn_of_a_hidden_device()
        body = msgspec.json.encode({"key": key, "virt_type": found})
        write_atomically(self._memory, body)
        return found

    def runs(self, accelerator: str) -> bool:
        """Whether the probe guest runs under "kvm" or "tcg"."""
        with tempfile.NamedTemporaryFile(prefix="gureum-probe-") as image:
            image.write(boot_sector())
            image.flush()
            cpu = "host" if accelerator == "kvm" else "max"
            args = (
                *(qemu_binary(), "-accel", accelerator, "-cpu", cpu, "-machine", "pc", "-m", "16"),
                *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
                *("-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
                *("-drive", f"if=floppy,format=raw,readonly=on,file={image.name}"),
            )
            try:
                done = self._runner.run(args, timeout_s=self._timeout_s, check=False)
            except CommandError as error:
                LOG.info("probe guest did not end", accelerator=accelerator, error=error.text)
                return False
        if done.code != _EXIT_CODE:
            LOG.info("probe guest failed", accelerator=accelerator, code=done.code)
        return done.code == _EXIT_CODE

    def _qemu_version(self) -> str:
        try:
            done = self._runner.run((qemu_binary(), "--version"), timeout_s=10)
        except CommandError:
            return ""
        return done.stdout.splitlines()[0] if done.stdout else ""

    def _remembered(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._memory.read_bytes(), type=dict[str, str])
        except (OSError, msgspec.MsgspecError):
            return {}


def _warn_of_a_hidden_device() -> None:
    """libvirt's probe of QEMU finds a /dev/kvm that only root may open, libvirt's own look at it
    does not; so it calls its knowledge of QEMU outdated and gathers it anew, a minute long, at
    every start of a guest. udev gives the device to the group kvm; without udev nobody does."""
    try:
        mode = os.stat(KVM_DEVICE).st_mode
    except OSError:
        return
    if not mode & 0o066:
        LOG.warning(
            "every start of a guest will take a minute longer",
            because=f"{KVM_DEVICE} is root's alone",
            mend=f"chgrp kvm {KVM_DEVICE} && chmod 660 {KVM_DEVICE}",
        )


def qemu_binary() -> str:
    """Return the name of QEMU for this machine's architecture."""
    return f"qemu-system-{platform.machine()}"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""

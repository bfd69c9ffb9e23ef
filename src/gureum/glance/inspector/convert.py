"""Converting an image: qemu-img in a child process under limits, both formats always named.

Must not: convert what was not inspected before, or let a program guess a format. Abuse cases: 1, 4, 5, 7.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from pathlib import Path

from gureum.core import log
from gureum.core.runner import CommandError, CommandTimeout, Runner
from gureum.glance.config import ImportOptions

_log = log.get(__name__)

QEMU_NAMES = {
    "raw": "raw",
    "qcow2": "qcow2",
    "vmdk": "vmdk",
    "vdi": "vdi",
    "vhd": "vpc",
    "vhdx": "vhdx",
    "ploop": "parallels",
}
"""The image service's names of formats that can be converted, and QEMU's."""


class ConversionFailed(Exception):
    """The image cannot be converted. The text is for the caller."""


class Converter(ABC):
    """Makes a file of another format."""

    @abstractmethod
    def convert(self, source: Path, format: str, target: Path, new: str, most_bytes: int) -> None:
        """Write `target`, at most so large. Formats are the image service's. Raises: ConversionFailed."""


class QemuConverter(Converter):
    """Converts through a child process under limits."""

    def __init__(self, options: ImportOptions, runner: Runner) -> None:
        self._options = options
        self._runner = runner

    def convert(self, source: Path, format: str, target: Path, new: str, most_bytes: int) -> None:
        options = self._options
        if format not in QEMU_NAMES or new not in QEMU_NAMES:
            raise ConversionFailed(f"{format} cannot be converted to {new}")
        command = [
            sys.executable,
            "-m",
            "gureum.glance.inspector.convert_child",
            str(source),
            QEMU_NAMES[format],
            str(target),
            QEMU_NAMES[new],
            str(options.conversion_memory_mib),
            str(options.conversion_cpu_s),
            str(most_bytes),
        ]
        try:
            self._runner.run(command, timeout_s=options.conversion_timeout_s)
        except CommandTimeout:
            raise ConversionFailed("the conversion takes too long") from None
        except CommandError as error:
            _log.warning("an image could not be converted", reason=str(error)[-500:])
            raise ConversionFailed("the conversion fails") from None

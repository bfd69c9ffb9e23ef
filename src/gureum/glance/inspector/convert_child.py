"""The program that converts an image: run as a process of its own, never imported by the service.

It limits memory, processor time and the size of what it writes, then becomes qemu-img.
Usage: `… SOURCE FORMAT TARGET NEW_FORMAT MEMORY_MIB CPU_S MOST_BYTES`, formats in QEMU's words.
"""

from __future__ import annotations

import os
import resource
import sys


def main(args: list[str]) -> None:
    """Convert one file."""
    source, format, target, new, memory_mib, cpu_s, most_bytes = args
    memory, cpu = int(memory_mib) << 20, int(cpu_s)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(most_bytes), int(most_bytes)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    command = ["qemu-img", "convert", "-f", format, "-O", new, source, target]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])

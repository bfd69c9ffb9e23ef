"""`gureum run NAME…`: components in this process, until a signal."""

import argparse
import contextlib
import ctypes
import faulthandler
import fcntl
import gc
import logging
import os
import signal
import socket
import sys
import threading
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gureum import components
from gureum.cli import place
from gureum.cli.logfile import LogFile
from gureum.core import log, trace_otlp
from gureum.core.config import CloudOptions, Config
from gureum.core.listen import AddressInUse, nothing
from gureum.core.run import Component, Process, ProcessOptions, Runtime

LOG = log.get(__name__)

_PR_SET_PDEATHSIG = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Components, and how the process stands among others."""
    place.add_arguments(parser)
    parser.add_argument("name", nargs="*", help="components, or `control` or `node` for that half")
    parser.add_argument("--list", action="store_true", help="print the components and end")
    add_process_arguments(parser)


def add_process_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that the supervisor gives to a child."""
    parser.add_argument(
        "--bus", choices=("hub", "leaf"), help="host the Unix-socket bus, or join it"
    )
    parser.add_argument(
        "--process-name",
        help="name in logs, metrics and leases, one a process of this machine (gureum)",
    )
    parser.add_argument(
        "--share-ports",
        action="store_true",
        help="other processes run the same API at the same port",
    )
    parser.add_argument("--log-file", type=Path, help="log there instead of standard error")
    parser.add_argument(
        "--bootstrap", action="store_true", help="first migrate and fill the databases"
    )
    parser.add_argument("--die-with", type=int, metavar="PID", help=argparse.SUPPRESS)
    parser.add_argument(
        "--admin",
        metavar="HOST:PORT",
        help="also tell /healthz, /readyz, /healthcheck and /metrics there",
    )
    parser.add_argument("--ready-file", type=Path, help="made once every component has started")


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT."""
    if args.list:
        for name, entry in components.COMPONENTS.items():
            print(f"{name:28} {entry.process:8} {entry.text}")
        return 0
    wanted = expand(args.name)
    if not wanted:
        raise place.Unusable("name the components to run; see them with: ./gureum run --list")
    where = place.existing(args)
    config = place.read_config(where)
    return run_process(args, config, wanted)


def expand(words: Sequence[str]) -> list[str]:
    """Component names; `control`, `node` and `all` stand for several."""
    found: list[str] = []
    for word in words:
        if word in (components.CONTROL, components.NODE):
            found += components.names(word)
        elif word == components.SIMULATED:
            found += components.simulated_names()
        elif word in components.COMPONENTS:
            found.append(word)
        else:
            known = ", ".join(components.COMPONENTS)
            raise place.Unusable(
                f"no component is called {word}; known: control, node, simulated, {known}"
            )
    return list(dict.fromkeys(found))


def run_process(args: argparse.Namespace, config: Config, names: Sequence[str]) -> int:
    """Run components under the process arguments. Errors at the start are one plain line."""
    _follow_parent(args.die_with)
    _set_up_logs(args, config)
    args.process_name = take_name(config, args.process_name)
    runtime = Runtime(config, name=args.process_name, bus_role=args.bus)
    runtime.http.share_ports = args.share_ports
    tracing = trace_otlp.start(
        config.get(trace_otlp.TracingOptions),
        process=args.process_name,
        host=runtime.host,
        name_of=components.of_module,
    )
    loaded: list[Component] = [components.load(name) for name in names]
    if args.bootstrap:
        _bootstrap(runtime)
    if args.bus is not None:
        _ = runtime.bus  # others wait for the hub, whether a component of ours needs it or not
    if args.ready_file is not None:  # supervised: say how it is, also where no API listens
        own = f"{runtime.cloud.run_dir}/{args.process_name}.sock"
        runtime.http.mount(args.process_name, own, 0, nothing)
    if args.admin:
        runtime.http.mount(args.process_name, *_host_and_port(args.admin), nothing)
    process = Process(runtime, loaded, on_ready=_ready(args.ready_file))
    try:
        code = process.run()
        if tracing is not None:
            tracing.stop()
        if process.unstopped:
            os._exit(code)  # their threads would keep the interpreter from ending
        return code
    except AddressInUse as error:
        LOG.error("cannot start", text=str(error))
        print(f"gureum: {error}", file=sys.stderr)
        return 75  # EX_TEMPFAIL: the supervisor tries again, the port may be freed


_NAMES_HELD: list[int] = []
"""Locks of this process's name, open for as long as it lives."""


def take_name(config: Config, wanted: str | None) -> str:
    """Hold a process name of this machine; without a wish the first that is free.

    Two processes of one name would take each other's sagas for those of their own earlier life.
    Raises: place.Unusable.
    """
    folder = Path(config.get(CloudOptions).run_dir)
    for number in range(1, 100):
        name = wanted or ("gureum" if number == 1 else f"gureum-{number}")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = os.open(folder / f"{name}.lock", flags, 0o640)
        except OSError as error:
            raise place.Unusable(f"{folder} cannot be written to: {error.strerror}") from error
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(held)
            if wanted:
                break
            continue
        _NAMES_HELD.append(held)
        return name
    raise place.Unusable(f"a process called {wanted} runs already; choose another --process-name")


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise place.Unusable(f"--admin {text}: write it as 127.0.0.1:9100")
    return host.strip("[]") or "127.0.0.1", int(port)


def _bootstrap(runtime: Runtime) -> None:
    """In a process of its own where that is safe: what migrations need stays out of this one's memory.

    Raises: SystemExit when it failed there; the log says how.
    """
    if threading.active_count() > 1:  # a thread that holds a lock would hold it for ever in the other
        _bootstrap_here(runtime)
        return
    gc.freeze()  # a collection in the other process would copy every page that it looks at
    pid = os.fork()
    if pid == 0:
        gc.disable()
        code = 1
        try:
            _bootstrap_here(runtime)
            runtime.close()
            code = 0
        except BaseException as error:
            LOG.error("bootstrap failed", exc_info=error)
            raise
        finally:
            logging.shutdown()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise SystemExit(1)


def _bootstrap_here(runtime: Runtime) -> None:
    from gureum.provision.databases import bootstrap_all, migrate_all

    for line in migrate_all(runtime):
        LOG.info("migration applied", migration=line)
    bootstrap_all(runtime)


def _ready(path: Path | None) -> Callable[[], None]:
    def mark() -> None:
        if path is not None:
            path.write_text(f"{os.getpid()}\n")
        _notify("READY=1")

    return mark


def _notify(state: str) -> None:
    """Tell systemd, where it asked for that (sd_notify(3))."""
    named = os.environ.get("NOTIFY_SOCKET", "")
    if named[:1] not in ("/", "@"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line, contextlib.suppress(OSError):
        line.sendto(state.encode(), named.replace("@", "\0", 1) if named[0] == "@" else named)


def _set_up_logs(args: argparse.Namespace, config: Config) -> None:
    level = config.get(ProcessOptions).log_level
    if args.log_file is None:
        log.setup(level)
    else:
        stream = LogFile(args.log_file)
        stream.take_stderr()
        log.setup(level, stream)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR2, all_threads=True)  # a stuck process tells where
    threading.excepthook = _thread_failed
    sys.excepthook = _failed


def _thread_failed(args: Any) -> None:
    LOG.error("thread ended by an exception", thread=args.thread.name, exc_info=args.exc_value)


def _failed(
    kind: type[BaseException], error: BaseException, trace: types.TracebackType | None
) -> None:
    LOG.error("process ends by an exception", exc_info=(kind, error, trace))


def _follow_parent(pid: int | None) -> None:
    """End in order when the supervisor is killed, so that a new one finds the ports free."""
    if pid is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != pid:
        sys.exit(0)

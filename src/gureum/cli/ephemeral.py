"""`gureum up --simulated --ephemeral`: a cloud in this terminal, gone when it ends."""

import argparse
import gc
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from gureum import presets
from gureum.cli import place as places
from gureum.cli.place import Unusable
from gureum.core.run import give_back_memory
from gureum.provision import settings
from gureum.testing.cloud import Cloud, CloudFailed


def run(args: argparse.Namespace) -> int:
    """Run until Ctrl-C or SIGTERM. Raises: Unusable."""
    try:
        cloud = Cloud(
            preset=args.preset,
            port_offset=args.port_offset or 0,
            state_dir=args.state_dir,
            address=args.address or "127.0.0.1",
            log_level="INFO",
        )
    except presets.PresetError as error:
        raise Unusable(f"the preset cannot be used:\n{error}") from error
    stop = threading.Event()
    signal.signal(signal.SIGTERM, _interrupt)  # while it starts, both end the start in order
    try:
        cloud.start()
        sys.setswitchinterval(0.0005)
        gc.collect()
        gc.freeze()
        give_back_memory()
        _listen(cloud, stop)
        if args.openrc:
            _write_openrc(cloud, Path(args.openrc))
        _tell(cloud)
        stop.wait()
    except CloudFailed as error:
        raise Unusable(str(error)) from error
    finally:
        cloud.stop()
        if args.openrc:
            Path(args.openrc).unlink(missing_ok=True)
    print("The cloud is gone.")
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _listen(cloud: Cloud, stop: threading.Event) -> None:
    """The first signal ends the cloud in order, the second one at once."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            cloud.forget()
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)


def _write_openrc(cloud: Cloud, path: Path) -> None:
    """Whole at once: who waits for the file may read it as soon as it is there."""
    given = cloud.environ()
    text = settings.openrc(given["OS_AUTH_URL"], given["OS_PASSWORD"], given["OS_REGION_NAME"])
    part = path.with_name(path.name + ".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    os.replace(part, path)


def _tell(cloud: Cloud) -> None:
    launcher, folder = places.launcher(), cloud.state_dir
    print(f"The cloud is up ({cloud.seconds:.1f} s). It is gone when this command ends.")
    print(f"  APIs      {cloud.auth_url} (Keystone; the others are in its catalogue)")
    print(f"  folder    {folder}")
    print("\nIn another terminal:")
    print(f'  eval "$({launcher} openrc --state-dir {folder})"; openstack server list')
    print(f"  or: export OS_CLIENT_CONFIG_FILE={cloud.clouds_yaml} OS_CLOUD=gureum")
    print(f"  faults: {launcher} fault --help")
    print("\nCtrl-C ends it.", flush=True)

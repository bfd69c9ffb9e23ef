"""`gureum openrc`: shell lines for `eval`."""

import argparse
import shutil

from gureum.cli import place as places
from gureum.core.config import CloudOptions
from gureum.provision import client, settings
from gureum.provision.options import InstallOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which cloud."""
    places.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the administrator's credentials; and where `openstack` is, if it is not on the path."""
    config = places.read_config(places.existing(args))
    cloud = config.get(CloudOptions)
    auth_url = f"http://{cloud.address}:{5000 + cloud.port_offset}/v3"
    text = settings.openrc(auth_url, config.get(InstallOptions).admin_password, cloud.region)
    there = client.find()
    if there is not None and shutil.which("openstack") is None:
        # behind what is there: the client's environment has a python of its own
        text += f"export PATH=\"$PATH\":'{there.parent}'\n"
    print(text, end="")
    return 0

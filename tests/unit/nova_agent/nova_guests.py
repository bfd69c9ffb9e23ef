"""Guest orders that the tests of this folder share."""

import base64
import uuid
from typing import Any

from gureum.nova.agent.contract import (
    FlavorSpec,
    GuestSpec,
    ImageSpec,
    InjectedFile,
    KeyPairSpec,
    PortSpec,
    SubnetSpec,
)


def port(**changes: Any) -> PortSpec:
    """A port with one IPv4 subnet."""
    values: dict[str, Any] = {
        "port_id": "1f2e3d4c-0000-4000-8000-000000000001",
        "mac": "fa:16:3e:00:00:01",
        "network_id": "aaaaaaaa-0000-4000-8000-000000000001",
        "network_label": "private",
        "mtu": 1450,
        "subnets": (
            SubnetSpec(
                id="bbbbbbbb-0000-4000-8000-000000000001",
                cidr="10.0.0.0/24",
                ip_version=4,
                addresses=("10.0.0.5",),
                gateway="10.0.0.1",
                dns=("10.0.0.2",),
            ),
        ),
        "floating_ips": ("172.24.4.10",),
    }
    return PortSpec(**{**values, **changes})


def guest(**changes: Any) -> GuestSpec:
    """A small guest with a key, a file, user data and one port."""
    values: dict[str, Any] = {
        "server_id": str(uuid.uuid4()),
        "number": 42,
        "name": "Web One",
        "hostname": "web-one",
        "project_id": "a" * 32,
        "user_id": "b" * 32,
        "project_name": "demo",
        "user_name": "alice",
        "flavor": FlavorSpec("1", "m1.tiny", vcpus=1, memory_mib=128, disk_gib=1),
        "image": ImageSpec("c0ffee00-0000-4000-8000-000000000001", "guest", disk_format="qcow2"),
        "ports": (port(),),
        "metadata": {"role": "web"},
        "key_pair": KeyPairSpec("laptop", "ssh-ed25519 AAAA alice"),
        "user_data": base64.b64encode(b"#!/bin/sh\necho hi\n").decode(),
        "admin_pass": "s3cret-pass",
        "personality": (InjectedFile("/etc/motd", base64.b64encode(b"hello").decode()),),
        "reservation_id": "r-12345678",
        "security_groups": ("default",),
    }
    return GuestSpec(**{**values, **changes})

"""Every microversion of the Compute API: what it changed shows from it on, and not one version before.

A microversion that only touches operations that are not here yet says which.
"""

from dataclasses import dataclass
from typing import Any

import pytest
from nova_cloud import IMAGE, KEY, NET, make_cloud

FIRST, LAST = 1, 104


@dataclass(frozen=True)
class World:
    """A cloud with one of everything."""

    cloud: Any
    server: str
    port: str
    service: str
    group: str
    aggregate: int
    request: str


@pytest.fixture(scope="module")
def world():
    cloud = make_cloud()
    flavor = {"name": "small", "id": "1", "ram": 512, "vcpus": 1, "disk": 5}
    cloud("POST", "/flavors", {"flavor": flavor}, token="admin")
    specs = {"extra_specs": {"hw:cpu_policy": "shared"}}
    cloud("POST", "/flavors/1/os-extra_specs", specs, token="admin")
    service = cloud.host()
    cloud.host("two")
    cloud("POST", "/os-keypairs", {"keypair": {"name": "k", "public_key": KEY}})
    made = cloud("POST", "/os-server-groups", {"server_group": {
        "name": "g", "policies": ["affinity"]}})  # fmt: skip
    aggregate = cloud("POST", "/os-aggregates", {"aggregate": {"name": "a"}}, token="admin")
    server = cloud.up()
    request = cloud("GET", f"/servers/{server}/os-instance-actions")["instanceActions"][0]
    return World(
        cloud, server, cloud.plug(server), service, made["server_group"]["id"],
        aggregate["aggregate"]["id"], request["request_id"],
    )  # fmt: skip


def call(world, method, path, body=None, *, version, token="admin", headers=None):
    filled = path.format(w=world)
    return world.cloud(method, filled, body, version=version, token=token, headers=headers)


SHOW = "/servers/{w.server}"
CREATE = {"name": "v", "flavorRef": "1", "imageRef": IMAGE, "networks": [{"uuid": NET}]}
"""A body that every microversion takes."""


@dataclass(frozen=True)
class Key:
    """A key of an answer: there from the version on (or, with gone, until before it)."""

    path: str
    where: str
    key: str
    gone: bool = False
    token: str = "admin"

    def check(self, world, version, new):
        answer = call(world, "GET", self.path, version=version, token=self.token)
        assert answer.status == 200, answer.body
        found = answer.body
        for part in filter(None, self.where.split(".")):
            found = found[int(part) if part.isdigit() else part]
        assert (self.key in found) is (new != self.gone), (version, self.key, found)


@dataclass(frozen=True)
class Takes:
    """A part of a server create: refused before the version, taken from it on (or the reverse)."""

    values: dict
    refused: bool = False
    token: str = "admin"

    def check(self, world, version, new):
        body = {"server": {**CREATE, **self.values}}
        answer = call(world, "POST", "/servers", body, version=version, token=self.token)
        taken = answer.status == 202
        assert taken is (new != self.refused), (version, answer.body)
        if taken:
            world.cloud.gone(answer["server"]["id"])


@dataclass(frozen=True)
class Status:
    """The status of a call before the version and from it on."""

    method: str
    path: str
    body: Any
    before: int
    after: int
    token: str = "admin"

    def check(self, world, version, new):
        answer = call(world, self.method, self.path, self.body, version=version, token=self.token)
        assert answer.status == (self.after if new else self.before), (version, answer.body)


@dataclass(frozen=True)
class Value:
    """The value at a place of an answer before the version and from it on."""

    path: str
    where: str
    before: Any
    after: Any
    token: str = "admin"

    def check(self, world, version, new):
        found = call(world, "GET", self.path, version=version, token=self.token).body
        for part in self.where.split("."):
            found = found[int(part) if part.isdigit() else part]
        wanted = self.after if new else self.before
        assert wanted(found) if callable(wanted) else found == wanted, (version, found)


@dataclass(frozen=True)
class Message:
    """What a refusal says before the version and from it on."""

    method: str
    path: str
    body: Any
    before: str
    after: str

    def check(self, world, version, new):
        answer = call(world, self.method, self.path, self.body, version=version)
        [fault] = answer.body.values()
        assert (self.after if new else self.before) in fault["message"], (version, answer.body)


def action(body, before, after, token="member"):
    """Return the check of an action's status."""
    return Status("POST", SHOW + "/action", body, before, after, token)


def event(name):
    """Return the check that an event's name is known from a version on."""
    body = {"events": [{"name": name, "server_uuid": "9" * 8 + "-9999-4999-8999-" + "9" * 12}]}
    return Status("POST", "/os-server-external-events", body, 400, 207)


def is_text(value):
    return isinstance(value, str)


def is_object(value):
    return isinstance(value, dict)


def is_number(value):
    return isinstance(value, int)


KEYPAIR = {"keypair": {"name": "new", "public_key": KEY}}
CONSOLE = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
MKS = {"remote_console": {"protocol": "mks", "type": "novnc"}}
SPICE = {"remote_console": {"protocol": "spice", "type": "spice-direct"}}
QUOTA = "/os-quota-sets/" + "a" * 32

ABSENT = "only touches operations that are not here yet: "

MICROVERSIONS: dict[int, Any] = {
    1: [Status("GET", SHOW, None, 406, 200)],
    2: [Key("/os-keypairs/k", "keypair", "type", token="member")],
    3: [Key(SHOW, "server", "OS-EXT-SRV-ATTR:reservation_id")],
    4: ABSENT + "fixed addresses of nova-network",
    5: [Value("/servers?ip6=nowhere", "servers", len, lambda found: not found, token="member")],
    6: [
        Status("POST", SHOW + "/remote-consoles", CONSOLE, 404, 200, "member"),
        action({"os-getVNCConsole": {"type": "novnc"}}, 200, 400),
    ],
    7: [Status("POST", "/flavors/1/action", {"addTenantAccess": {"tenant": "t"}}, 200, 409)],
    8: [Message("POST", SHOW + "/remote-consoles", MKS, "is not one of", "Unavailable console")],
    9: [Key(SHOW, "server", "locked")],
    10: [Status("GET", "/os-keypairs/k?user_id=user-second", None, 200, 403, "member")],
    11: [Key("/os-services", "services.0", "forced_down")],
    12: ABSENT + "virtual interfaces of nova-network",
    13: [Key("/os-server-groups/{w.group}", "server_group", "project_id")],
    14: ABSENT + "evacuate",
    15: [
        Status(
            "POST",
            "/os-server-groups",
            {"server_group": {"name": "s", "policies": ["soft-affinity"]}},
            400,
            200,
        )
    ],
    16: [Key(SHOW, "server", "host_status")],
    17: ABSENT + "crash dumps",
    18: "paths without a project are taken at every version",
    19: [Key(SHOW, "server", "description"), Takes({"description": "d"})],
    20: ABSENT + "volumes",
    21: "deleted servers: test_actions_of_a_deleted_server_since_2_21",
    22: ABSENT + "live migration",
    23: ABSENT + "live migration",
    24: ABSENT + "live migration",
    25: ABSENT + "live migration",
    26: [Key(SHOW, "server", "tags"), Status("GET", SHOW + "/tags", None, 404, 200)],
    27: "both headers are taken at every version: test_both_headers_choose_the_version",
    28: [Value("/os-hypervisors/detail", "hypervisors.0.cpu_info", is_text, is_object)],
    29: ABSENT + "evacuate",
    30: ABSENT + "live migration",
    31: [Message("GET", "/os-console-auth-tokens/x", None, "resource could not", "Token not")],
    32: [Takes({"networks": [{"uuid": NET, "tag": "t"}]})],
    33: [Value("/os-hypervisors?limit=0", "hypervisors", len, lambda found: not found)],
    34: ABSENT + "live migration",
    35: [Value("/os-keypairs?limit=0", "keypairs", len, lambda found: not found, token="member")],
    36: [
        Key(QUOTA, "quota_set", "floating_ips", gone=True),
        Key("/limits", "limits.absolute", "maxSecurityGroups", gone=True),
    ],
    37: [Takes({"networks": "none"}), Takes({"networks": [{"uuid": NET, "tag": "t"}]}, True)],
    38: [Status("GET", "/servers?status=nonsense", None, 200, 400)],
    39: [Key("/limits", "limits.absolute", "maxImageMeta", gone=True)],
    40: "test_usage_pages_since_2_40",
    41: [Key("/os-aggregates/{w.aggregate}", "aggregate", "uuid")],
    42: [Takes({"networks": [{"uuid": NET, "tag": "t"}]})],
    43: [Status("GET", "/os-hosts", None, 200, 404)],
    44: ABSENT + "fixed and floating addresses of nova-network",
    45: ABSENT + "images of servers",
    46: "both request id headers are sent at every version",
    47: [Key(SHOW, "server.flavor", "original_name"), Key(SHOW, "server.flavor", "id", gone=True)],
    48: [Key(SHOW + "/diagnostics", "", "num_cpus")],
    49: "a tag of a port to plug: test_tag_of_a_plugged_port_since_2_49",
    50: [
        Key("/os-quota-class-sets/default", "quota_class_set", "server_groups"),
        Key("/os-quota-class-sets/default", "quota_class_set", "fixed_ips", gone=True),
    ],
    51: [
        event("volume-extended"),
        Key(SHOW + "/os-instance-actions/{w.request}", "instanceAction", "events", token="member"),
    ],
    52: [Takes({"tags": ["a"]})],
    53: [
        Value("/os-services", "services.0.id", is_number, is_text),
        Value("/os-hypervisors", "hypervisors.0.id", is_number, is_text),
        Status("PUT", "/os-services/{w.service}", {"status": "enabled"}, 404, 200),
        Status("GET", "/os-hypervisors/one/search", None, 200, 404),
    ],
    54: ABSENT + "rebuild",
    55: [
        Key("/flavors/1", "flavor", "description"),
        Status("PUT", "/flavors/1", {"flavor": {"description": None}}, 404, 200),
    ],
    56: ABSENT + "cold migration",
    57: [
        Takes({"personality": []}, refused=True),
        Key("/limits", "limits.absolute", "maxPersonality", gone=True),
        Key(QUOTA, "quota_set", "injected_files", gone=True),
        Key("/os-quota-class-sets/default", "quota_class_set", "injected_files", gone=True),
    ],
    58: [Key(SHOW + "/os-instance-actions", "instanceActions.0", "updated_at")],
    59: ABSENT + "migrations",
    60: ABSENT + "volumes",
    61: [Key("/flavors/1", "flavor", "extra_specs", token="member")],
    62: "hosts of events: test_events_are_the_steps_of_the_saga",
    63: [Key(SHOW, "server", "trusted_image_certificates")],
    64: [
        Key("/os-server-groups/{w.group}", "server_group", "policy"),
        Key("/os-server-groups/{w.group}", "server_group", "policies", gone=True),
    ],
    65: ABSENT + "live migration",
    66: [
        Value(
            "/servers?changes-before=2000-01-01T00:00:00Z", "servers", len, lambda found: not found
        )
    ],
    67: "volume_type of a disk is known and refused like every volume",
    68: ABSENT + "evacuate and live migration",
    69: "cells that are down are not shown in part yet",
    70: [Key(SHOW + "/os-interface", "interfaceAttachments.0", "tag")],
    71: [Key(SHOW, "server", "server_groups")],
    72: "ports with a resource request are Neutron's",
    73: [
        Key(SHOW, "server", "locked_reason"),
        Value("/servers?locked=true", "servers", len, lambda found: not found),
        Status("GET", "/servers?sort_key=locked", None, 400, 200),
    ],
    74: [Takes({"host": "one"})],
    75: [
        Status("GET", "/servers?nonsense=1", None, 200, 400),
        Status("GET", "/flavors?nonsense=1", None, 200, 400),
        Value("/flavors/1", "flavor.swap", "", 0),
        Key("/os-hypervisors/detail?with_servers=1", "hypervisors.1", "servers"),
    ],
    76: [event("power-update")],
    77: ABSENT + "shelving",
    78: ABSENT + "topology",
    79: ABSENT + "volumes",
    80: ABSENT + "migrations",
    81: ABSENT + "images cached by aggregates",
    82: [event("accelerator-request-bound")],
    83: [Value("/servers?user_id=nobody", "servers", len, lambda found: not found, token="member")],
    84: "details of events: test_events_are_the_steps_of_the_saga",
    85: ABSENT + "volumes",
    86: [Status("PUT", "/flavors/1/os-extra_specs/hw:nonsense", {"hw:nonsense": "1"}, 200, 400)],
    87: ABSENT + "rescue",
    88: [
        Key("/os-hypervisors/detail", "hypervisors.0", "vcpus", gone=True),
        Key("/os-hypervisors/detail", "hypervisors.0", "uptime"),
        Status("GET", "/os-hypervisors/statistics", None, 200, 404),
    ],
    89: ABSENT + "volumes",
    90: [
        Takes({"hostname": "name"}),
        Key(SHOW, "server", "OS-EXT-SRV-ATTR:hostname", token="member"),
    ],
    91: ABSENT + "shelving",
    92: [
        Status(
            "POST",
            "/os-keypairs",
            {"keypair": {"name": "a@b.c", "public_key": KEY}},
            400,
            201,
            "second",
        )
    ],
    93: [event("volume-reimaged")],
    94: [Takes({"hostname": "name.example.org"})],
    95: ABSENT + "evacuate",
    96: [Key(SHOW, "server", "pinned_availability_zone")],
    97: ABSENT + "shares",
    98: [Key(SHOW, "server.image", "properties")],
    99: [Message("POST", SHOW + "/remote-consoles", SPICE, "is not one of", "Unavailable")],
    100: [Key(SHOW, "server", "scheduler_hints")],
    101: ABSENT + "volumes",
    102: [
        Key("/flavors/1", "flavor", "rxtx_factor", gone=True),
        Key("/flavors/1", "flavor", "OS-FLV-DISABLED:disabled", gone=True),
        Status("GET", "/extensions?nonsense=1", None, 200, 400),
        Status("GET", "/flavors?name=other", None, 400, 200),
    ],
    103: ABSENT + "os-volumes_boot",
    104: [Status("PUT", SHOW, {"server": {"pinned_availability_zone": None}}, 400, 200)],
}


def test_every_microversion_is_in_the_table():
    assert list(MICROVERSIONS) == list(range(FIRST, LAST + 1))


CHECKS = [
    pytest.param(minor, check, id=f"2.{minor}-{index}")
    for minor, checks in MICROVERSIONS.items()
    if not isinstance(checks, str)
    for index, check in enumerate(checks)
]


@pytest.mark.parametrize(("minor", "check"), CHECKS)
def test_change_shows_from_its_microversion_on(world, minor, check):
    if minor > FIRST:
        check.check(world, f"2.{minor - 1}", False)
    check.check(world, f"2.{minor}", True)


def test_both_headers_choose_the_version(world):
    old = {"x-openstack-nova-api-version": "2.26"}
    shown = world.cloud.dispatcher
    assert shown is not None
    answer = call(world, "GET", SHOW, version="2.26", headers=old)
    assert answer.headers["openstack-api-version"] == "compute 2.26"
    assert answer.headers["x-openstack-nova-api-version"] == "2.26"
    assert "x-compute-request-id" in answer.headers
    assert "x-openstack-request-id" in answer.headers
    assert (
        call(world, "GET", SHOW, version="latest")
        .headers["openstack-api-version"]
        .endswith(f"2.{LAST}")
    )
    assert call(world, "GET", SHOW, version=f"2.{LAST + 1}").status == 406
    assert call(world, "GET", SHOW, version="x").status == 400


@pytest.mark.parametrize("minor", range(FIRST, LAST + 1))
def test_every_version_answers_what_a_client_asks_first(world, minor):
    for path in (
        "/servers/detail", "/servers", SHOW, "/flavors/detail", "/os-keypairs", "/limits",
        "/os-services", "/os-hypervisors", "/os-hypervisors/detail", "/os-aggregates",
        "/os-availability-zone/detail", "/os-server-groups", "/os-simple-tenant-usage",
        SHOW + "/os-instance-actions", SHOW + "/os-interface", "/extensions", QUOTA,
    ):  # fmt: skip
        answer = call(world, "GET", path, version=f"2.{minor}")
        assert answer.status == 200, (path, answer.body)
    body = {"server": CREATE}
    answer = call(world, "POST", "/servers", body, version=f"2.{minor}")
    assert answer.status == 202, answer.body
    world.cloud.gone(answer["server"]["id"])

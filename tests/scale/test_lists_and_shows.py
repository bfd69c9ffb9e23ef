"""No answer costs more in a bigger cloud: statements, rows and steps of every list and show, small and large.

Every GET of keystone, glance, placement, neutron and nova is asked at two sizes of the cloud, lists with
`limit=10`. What is exempt says why.
"""

import itertools
import re
import uuid
from dataclasses import dataclass

import benchpath  # noqa: F401 (first: it makes incloud importable)
import pytest
import seed
from counting import Meter, Work
from growth import NOVA, PLACEMENT, SETTINGS, Growing
from incloud import APIS, InCloud

from gureum import components
from gureum.core.http.kept import KeptAnswers

pytestmark = pytest.mark.slow

SMALL, LARGE, PAGE = 12, 48, 10
KIND = {"keystone": "identity", "glance": "image", "neutron": "network", "nova": "compute"}
PREFIX = {"glance": "/v2", "neutron": "/v2.0"}
HEADERS = {"nova": NOVA, "placement": PLACEMENT}
QUERY = {
    ("placement", "/allocation_candidates"): "?resources=VCPU:1&limit=10",
    ("placement", "/usages"): "?project_id={project}",
}

NO_LIMIT = {
    *(("placement", path) for path in ("/resource_providers", "/traits", "/usages")),
    *(("nova", path) for path in ("/limits", "/os-services", "/os-availability-zone")),
    ("nova", "/os-availability-zone/detail"),
}
"""Lists whose API has no `limit`."""
WHOLE = "the API has no pages here: the answer is all there is"
COUNTED = "counts what one project has; quotas are counted, not kept in counters"
SUMMED = "adds up what the asked project has"
GROWS = {
    ("keystone", "/role_assignments"): WHOLE,
    ("keystone", "/role_inferences"): WHOLE,
    ("keystone", "/regions"): WHOLE,
    ("keystone", "/services"): WHOLE,
    ("keystone", "/endpoints"): WHOLE,
    ("keystone", "/roles"): "names of roles are sorted by the database before the page is cut",
    **{
        ("keystone", path): WHOLE
        for path in (
            "/policies",
            "/limits",
            "/registered_limits",
            "/OS-TRUST/trusts",
            "/OS-OAUTH1/consumers",
            "/OS-EP-FILTER/endpoint_groups",
            "/OS-EP-FILTER/endpoints/{endpoint_id}/projects",
            "/OS-FEDERATION/identity_providers",
            "/OS-FEDERATION/mappings",
            "/OS-FEDERATION/service_providers",
            "/auth/tokens/OS-PKI/revoked",
        )
    },
    ("neutron", "/quotas"): WHOLE,
    ("neutron", "/network-ip-availabilities"): "counts the addresses of the networks on the page",
    ("placement", "/resource_providers"): WHOLE,
    ("placement", "/traits"): WHOLE,
    ("placement", "/resource_classes"): WHOLE,
    ("placement", "/resource_providers/{uuid}/allocations"): "all that a provider gives",
    ("placement", "/resource_providers/{uuid}/usages"): "all that a provider gives",
    ("placement", "/usages"): SUMMED,
    ("glance", "/info/usage"): COUNTED,
    ("nova", "/os-availability-zone"): WHOLE,
    ("nova", "/os-availability-zone/detail"): WHOLE,
    ("nova", "/os-aggregates"): WHOLE,
    ("nova", "/os-services"): WHOLE,
    ("nova", "/os-quota-sets/{tenant_id}/detail"): COUNTED,
    ("nova", "/limits"): COUNTED,
    ("nova", "/os-simple-tenant-usage"): SUMMED,
    ("nova", "/os-simple-tenant-usage/{tenant_id}"): SUMMED,
}
"""Operations whose work follows the size of the answer, or of what one project has: that is what they say."""
NOBODY_THERE = ("diagnostics", "uptime", "/os-hosts/", "os-server-password")
"""Operations that ask a compute host, of which there is none here."""
MAY_SCAN = frozenset({"revisions", "cell_mappings", "default_rules", "metadef_resource_types"})
"""Tables that do not grow with the cloud."""
COUNTED_STEPS = 12
"""Steps to count one more thing that a quota is for."""
LOOKED_UP = 4
"""Statements that Keystone takes for the token of its own caller, when it has not seen it lately."""
FOR_THE_MARKER = 5
"""Statements that a page after the first may take more: it loads its marker."""
SPARE_STEPS = 600
"""How many more steps of SQLite's machine are no growth: a deeper index, one more page of it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What one request cost. queries: without the check of the token, whose answer is known for a while."""

    status: int
    work: Work
    service: str = ""

    @property
    def queries(self) -> int:
        """How many statements the answer took."""
        checks = self.service not in ("keystone", "identity")
        return sum(1 for url, _, _ in self.work.statements if not checks or "keystone" not in url)


class Cloud:
    """Asks every GET of a cloud at its present size."""

    def __init__(self, cloud: InCloud) -> None:
        self.cloud = cloud
        self.growing = Growing(cloud)
        self._third = itertools.count(1)  # of the next subnet that is made
        self.made_small: dict[str, Asked] = {}
        self.made_large: dict[str, Asked] = {}
        self.databases = [
            cloud.runtime.database(spec.name)
            for service in components.services()
            for spec in service.databases
        ]
        self.meter = Meter(self.databases)
        for database in self.databases:
            database.close()  # connections that are opened from here on are counted

    def path(self, service: str, path: str) -> str | None:
        """Return a path with real ids; None when there is no such thing in this cloud."""
        ids = self.growing.ids
        own = KIND.get(service, service)
        names = re.findall(r"{(\w+)}", path)
        found = {name: ids.get(f"{own}:{name}", ids.get(name)) for name in names}
        return None if None in found.values() else path.format(**found)

    def ask(self, service: str, path: str, query: str) -> Asked:
        """Ask three times, and count the cheaper of the last two: caches are filled then."""
        tail = f"{PREFIX.get(service, '')}{path}{query}"
        kind, headers = KIND.get(service, service), HEADERS.get(service)
        self.cloud.ask("GET", kind, tail, headers=headers)
        found = []
        for _ in range(2):
            with self.meter.counting() as work:
                reply = self.cloud.ask("GET", kind, tail, headers=headers)
            found.append(Asked(reply.status, work, service))
        return min(found, key=lambda one: one.work.queries)

    def ask_all(self) -> dict[tuple[str, str], Asked]:
        """Ask every GET of which everything named is there."""
        found = {}
        for service in components.services():
            for operation in service.operations:
                key = (service.name, operation.path)
                path = self.path(*key)
                if operation.method != "GET" or path is None or key in found:
                    continue
                if any(word in path for word in NOBODY_THERE):
                    continue
                paged = operation.query is not None and "{" not in operation.path
                query = QUERY.get(key, "?limit=10" if paged and key not in NO_LIMIT else "")
                found[key] = self.ask(
                    service.name, path, query.format(project=self.cloud.project_id)
                )
        return found

    def make_all(self) -> dict[str, Asked]:
        """Make one of each noun that clouds have many of, three times; the least work counts.

        What is remembered for some seconds (tokens, hosts, providers) is read anew by whoever comes next.
        """
        tries = [self._make_once() for _ in range(3)]
        return {name: min((one[name] for one in tries), key=_effort) for name in tries[0]}

    def _make_once(self) -> dict[str, Asked]:
        ids, net = self.growing.ids, self.growing.net
        image = self.growing.active_image()
        server = {
            "name": "x",
            "flavorRef": "bench.small",
            "imageRef": image,
            "networks": [{"uuid": net.network_id}],
        }
        cidr = f"10.77.{next(self._third)}.0/24"
        subnet = {"network_id": ids["network_id"], "ip_version": 4, "cidr": cidr}
        allocation = {
            "allocations": {ids["uuid"]: {"resources": {"VCPU": 1}}},
            "project_id": self.cloud.project_id,
            "user_id": self.cloud.user_id,
            "consumer_generation": None,
            "consumer_type": "INSTANCE",
        }
        wanted = {
            "server": ("compute", "POST", "/servers", {"server": server}),
            "network": ("network", "POST", "/v2.0/networks", {"network": {"name": "x"}}),
            "subnet": ("network", "POST", "/v2.0/subnets", {"subnet": subnet}),
            "port": (
                "network", "POST", "/v2.0/ports", {"port": {"network_id": ids["network_id"]}},
            ),
            "allocation": ("placement", "PUT", f"/allocations/{uuid.uuid4()}", allocation),
            "user": ("identity", "POST", "/users", {"user": {"name": uuid.uuid4().hex}}),
            "image": ("image", "POST", "/v2/images", {"name": "x"}),
        }  # fmt: skip
        made = {}
        for name, (kind, method, path, body) in wanted.items():
            headers = {"compute": NOVA, "placement": PLACEMENT}.get(kind)
            with self.meter.counting() as work:
                reply = self.cloud.ask(method, kind, path, body, headers=headers)
            assert reply.status < 300, (name, reply.status, reply.body)
            made[name] = Asked(reply.status, work, kind)
        return made


def _effort(one: Asked) -> tuple[int, int]:
    return one.work.queries, one.work.rows


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Every GET at both sizes, and the cloud. No answer is given again: what is counted is making it."""
    with (
        pytest.MonkeyPatch.context() as patched,
        InCloud(tmp_path_factory.mktemp("scale"), names=APIS, extra=SETTINGS) as made,
    ):
        patched.setattr(KeptAnswers, "find", lambda kept, key: None)
        cloud = Cloud(made)
        cloud.growing.grow(SMALL)
        small = cloud.ask_all()
        cloud.made_small = cloud.make_all()
        cloud.growing.grow(LARGE)
        large = cloud.ask_all()
        cloud.made_large = cloud.make_all()
        yield cloud, small, large


def test_most_operations_are_asked(asked):
    _, _, large = asked
    answered = [key for key, one in large.items() if one.status < 300]
    for service, least in (
        ("keystone", 45), ("placement", 14), ("glance", 20), ("neutron", 50), ("nova", 36),
    ):  # fmt: skip
        assert sum(1 for key in answered if key[0] == service) >= least, service
    assert [key for key, one in large.items() if one.status >= 500] == []


def test_statements_of_an_answer_do_not_grow(asked):
    _, small, large = asked
    grown = {
        key: (small[key].queries, one.queries)
        for key, one in large.items()
        if one.queries > small[key].queries
    }
    assert grown == {}


def test_rows_and_steps_of_an_answer_do_not_grow(asked):
    _, small, large = asked
    grown = {}
    for key, one in large.items():
        before = small[key].work
        more = one.work.rows > before.rows + PAGE
        more = more or one.work.steps > 1.3 * before.steps + SPARE_STEPS
        if more and key not in GROWS:
            grown[key] = (before.rows, one.work.rows, before.steps, one.work.steps)
    assert grown == {}


def test_no_answer_reads_a_growing_table_from_end_to_end(asked):
    cloud, _, large = asked
    scans = {}
    for key, one in large.items():
        tables = {table for table, _ in cloud.meter.scans(one.work)} - MAY_SCAN
        if tables and key not in GROWS:
            scans[key] = tables
    assert scans == {}


def test_making_one_more_costs_what_the_first_cost(asked):
    cloud, _, _ = asked
    grown = {}
    for name, one in cloud.made_large.items():
        before, now = cloud.made_small[name].work, one.work
        spare = LOOKED_UP if one.service == "identity" else 0
        more = one.queries > cloud.made_small[name].queries + spare
        more = more or now.rows > before.rows + PAGE
        # what a project has is counted: its ports, networks, servers
        counted = COUNTED_STEPS * (LARGE - SMALL)
        if more or now.steps > 1.3 * before.steps + SPARE_STEPS + counted:
            grown[name] = (
                before.queries,
                now.queries,
                before.rows,
                now.rows,
                before.steps,
                now.steps,
            )
    assert grown == {}


def test_page_of_servers_is_entered_at_its_marker(asked):
    cloud, _, _ = asked
    seed.servers(cloud.cloud, range(1000, 1600), [cloud.growing.net], 10, each=1)
    pages, marker = [], ""
    for _ in range(50):
        query = f"?limit=10{marker}"
        pages.append(query)
        body = cloud.cloud.call("GET", "compute", f"/servers{query}")
        marker = "&marker=" + body["servers"][-1]["id"]
    second = cloud.ask("nova", "/servers", pages[1]).work
    last = cloud.ask("nova", "/servers", pages[-1]).work
    assert last.steps <= second.steps + 100


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("nova", "/servers"),
        ("nova", "/servers/detail"),
        ("nova", "/flavors/detail"),
        ("nova", "/os-hypervisors"),
        ("nova", "/os-keypairs"),
        ("neutron", "/networks"),
        ("neutron", "/ports"),
        ("neutron", "/security-groups"),
        ("glance", "/images"),
        ("keystone", "/users"),
        ("keystone", "/projects"),
    ],
)
def test_last_page_costs_what_the_first_costs(asked, service, path):
    cloud, _, _ = asked
    kind, prefix = KIND[service], PREFIX.get(service, "")
    wrap = path.removesuffix("/detail").rsplit("/", 1)[-1].removeprefix("os-")
    wrap = wrap.replace("-", "_")
    headers = HEADERS.get(service)
    marker, pages = "", []
    while True:
        query = f"?limit=10{marker}"
        body = cloud.cloud.call("GET", kind, f"{prefix}{path}{query}", headers=headers)
        if len(body[wrap]) < 10:
            break
        pages.append(query)
        last = body[wrap][-1]
        marker = "&marker=" + str(last["keypair"]["name"] if "keypair" in last else last["id"])
    assert len(pages) >= 4
    first, last_page = cloud.ask(service, path, pages[0]), cloud.ask(service, path, pages[-1])
    assert last_page.queries <= first.queries + FOR_THE_MARKER
    assert last_page.work.steps <= 1.5 * first.work.steps + SPARE_STEPS

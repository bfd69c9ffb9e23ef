"""The real Neutron and Placement in this process, on database files, for tests of Nova."""

from databases import fresh

from gureum.core.context import Context
from gureum.core.http.client import HttpClient, RemoteUnavailable
from gureum.core.http.dispatch import Dispatcher
from gureum.core.policy import Policy
from gureum.neutron import service as neutron_service
from gureum.neutron.agents.contract import AgentReport
from gureum.neutron.config import Ml2Options, NeutronOptions
from gureum.neutron.config import QuotaOptions as NeutronQuotas
from gureum.neutron.deps import Deps as NeutronDeps
from gureum.neutron.logic.state import NetworkStateServer
from gureum.neutron.ml2.manager import Ml2
from gureum.neutron.store import tables as neutron_tables
from gureum.placement import service as placement_service
from gureum.placement.components import Deps as PlacementDeps
from gureum.placement.config import PlacementOptions
from gureum.placement.store import tables as placement_tables

OWNER, SERVICES = "p" * 32, "c" * 32
URLS = {"network": "http://net:9696", "placement": "http://place:8778"}


class Tokens:
    """`service` is what the installer makes of service users; `member` acts in the owner's project."""

    def authenticate(self, token, service_token, request_id):
        project = SERVICES if token == "service" else OWNER
        roles = ("admin", "service") if token == "service" else ("member", "reader")
        return Context(request_id=request_id, user_id=token, project_id=project, roles=roles)


class FixedSession:
    """A session that is always logged in. down: services that do not answer."""

    def __init__(self, http):
        self.http, self.down = http, set()

    def request(self, method, kind, path, *, json=None, params=None, headers=None,
                user_token=None):
        if kind in self.down:
            raise RemoteUnavailable(f"{kind} is away")
        sent = {**(headers or {}), "x-auth-token": user_token or "service"}
        return self.http.request(method, URLS[kind] + path, json=json, params=params, headers=sent)


def real_services(directory, *, neutron_quotas=None):
    """Return a session on a real Neutron and Placement whose databases are in a folder."""
    http, databases = HttpClient(), {}
    for kind, service, tables in (
        ("network", neutron_service.SERVICE, neutron_tables.metadata),
        ("placement", placement_service.SERVICE, placement_tables.metadata),
    ):
        database = databases[kind] = fresh(kind, f"sqlite:///{directory}/{kind}.sqlite")
        tables.create_all(database.engine)
        policy = Policy(service.rules)
        if kind == "network":
            ml2 = Ml2(Ml2Options(), 1500)
            deps = NeutronDeps(db=database, policy=policy, options=NeutronOptions(), ml2=ml2,
                               quotas=neutron_quotas or NeutronQuotas())
            state = NetworkStateServer(deps)
        else:
            deps = PlacementDeps(database, PlacementOptions())
        database.deps = deps
        http.bind(URLS[kind], Dispatcher(service, policy, Tokens(), {"": database}, deps))
    made = FixedSession(http)
    made.databases = databases
    made.report = lambda host: state.report(AgentReport(
        "neutron-openvswitch-agent", "Open vSwitch agent", host, "N/A",
        "2026-01-01T00:00:00+00:00",
        configurations={"tunnel_types": ["vxlan"], "tunneling_ip": "10.1.1.1",
                        "bridge_mappings": {}},
    ))
    return made


def user(session, method, path, body):
    """Ask the network service as the owner of the server."""
    reply = session.request(method, "network", "/v2.0" + path, json=body, user_token="member")
    assert reply.status in (200, 201), reply.body
    return next(iter(reply.json().values()))


def make_network(session, *, cidr="10.9.0.0/29"):
    """Make a network with a small subnet; returns its id."""
    made = user(session, "POST", "/networks", {"network": {"name": "private"}})
    user(session, "POST", "/subnets", {"subnet": {
        "network_id": made["id"], "cidr": cidr, "ip_version": 4,
        "dns_nameservers": ["9.9.9.9"],
        "host_routes": [{"destination": "10.8.0.0/16", "nexthop": "10.9.0.5"}],
    }})
    return made["id"]

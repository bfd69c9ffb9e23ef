"""A whole cloud in one process for tests: Nova's API and conductor, the real Neutron and Placement, hosts.

Nothing runs by itself: `run` runs due sagas in the calling thread, `settle` adds every reconciler and every
host's own comparison until nothing changes. `start` starts threads instead, for races. What is on disk
outlives the object, so `WholeCloud(directory)` again is a restart.
"""

import contextlib
import dataclasses
import threading
import time

import chaos_paths  # noqa: F401  (first: it makes the next ones findable)
import msgspec
from nova_services import FixedSession, Tokens, make_network, real_services
from nova_world import OPTIONS, NovaWorld

from gureum.core.context import Context
from gureum.core.db import DatabaseError
from gureum.core.http.dispatch import Dispatcher
from gureum.core.policy import Policy
from gureum.core.reconcile import Leases, Reconcilers
from gureum.nova import sagas
from gureum.nova.agent.contract import ComputeAgent
from gureum.nova.agent.loops import ComputeLoops
from gureum.nova.config import NovaOptions, QuotaOptions
from gureum.nova.deps import Deps
from gureum.nova.outside import ImageFacts, NeutronNetworks
from gureum.nova.placement_client import ClientPlacement
from gureum.nova.ports_rest import RestServerPorts
from gureum.nova.reconcilers.allocations import Allocations
from gureum.nova.reconcilers.mappings import Mappings
from gureum.nova.reconcilers.ports import KnownPorts
from gureum.nova.reconcilers.stray_ports import StrayPorts
from gureum.nova.service import SERVICE
from gureum.nova.store import mappings
from gureum.nova.store.tables import API, CELL0, CELL1
from gureum.placement.client import PlacementClient

PROJECT = "p" * 32
IMAGE = "11111111-1111-4111-8111-111111111111"
WAIT_S = 60.0
MANY = QuotaOptions(instances=10_000, cores=10_000, ram=10_000_000, key_pairs=10_000)


class Images:
    """The image service, as facts."""

    def get(self, ctx, image_id):
        return ImageFacts(IMAGE, "cirros") if image_id == IMAGE else None


class NovaTokens(Tokens):
    """`member` and `admin` act in the owner's project."""

    def authenticate(self, token, service_token, request_id):
        roles = ("admin", "member", "reader") if token == "admin" else ("member", "reader")
        return Context(request_id=request_id, user_id=f"user-{token}", project_id=PROJECT,
                       roles=roles, token=token)


class Answer:
    def __init__(self, reply):
        self.status, self.headers = reply.status, reply.headers
        self.body = msgspec.json.decode(reply.body) if reply.body else None

    def __getitem__(self, key):
        return self.body[key]

    def __repr__(self):
        return f"{self.status} {self.body}"


class WholeCloud(NovaWorld):
    """`session.down` names services that do not answer (`network`, `placement`)."""

    def __init__(self, directory, hosts=("h1", "h2"), *, bus=None, agent_bus=None, quotas=MANY,
                 neutron_quotas=None):
        self.session: FixedSession = real_services(directory, neutron_quotas=neutron_quotas)
        self.host_names = tuple(hosts)
        for host in hosts:
            self.session.report(host)
        placement = ClientPlacement(PlacementClient(self.session))
        super().__init__(directory, hosts, placement=placement,
                         ports=RestServerPorts(self.session), bus=bus, agent_bus=agent_bus)
        self.threads, self.quotas = [], quotas
        self._stopping, self._heart = threading.Event(), None
        with self.api.write() as tx:
            mappings.ensure_cells(tx, (CELL0, CELL1))
        self.nova = self._serve_nova(quotas)

    def _serve_nova(self, quotas):
        policy = Policy(SERVICE.rules)
        deps = Deps(
            api=self.api, cells=self.cells, policy=policy, saga_store=self.store,
            sagas=sagas.BY_NAME, images=Images(), networks=NeutronNetworks(self.session),
            compute=lambda host: self.deps.compute(host, 20.0), options=NovaOptions(),
            quotas=quotas,
        )
        known = {"": self.api, "nova_api": self.api, "nova_cell0": self.cells[CELL0],
                 "nova_cell1": self.cells[CELL1]}
        for database in known.values():
            database.deps = deps
        dispatcher = Dispatcher(SERVICE, policy, NovaTokens(), known, deps)
        self.session.http.bind("http://nova:8774", dispatcher)
        return dispatcher

    # -- what users ask ---------------------------------------------------------------------------

    def ask(self, method, path, body=None, *, token="member", version="2.90"):
        """Ask the Compute API."""
        headers = {"x-auth-token": token, "openstack-api-version": f"compute {version}"}
        reply = self.session.http.request(method, f"http://nova:8774/v2.1{path}", json=body,
                                          headers=headers)
        return Answer(reply)

    def net(self, method, path, body=None, *, token="member"):
        """Ask the Network API."""
        return Answer(self.session.request(method, "network", f"/v2.0{path}", json=body,
                                           user_token=token))

    def furnish(self):
        """Make a flavor and a network; returns the network's id."""
        flavor = {"name": "small", "id": "1", "ram": 512, "vcpus": 1, "disk": 1}
        assert self.ask("POST", "/flavors", {"flavor": flavor}, token="admin").status == 200
        return make_network(self.session, cidr="10.9.0.0/20")

    def create(self, network, *, name="web", **values):
        """Ask for a server; returns the answer."""
        server = {"name": name, "flavorRef": "1", "imageRef": IMAGE,
                  "networks": [{"uuid": network}] if network else "none", **values}
        return self.ask("POST", "/servers", {"server": server})

    def server(self, network, **values):
        """Make a server and let it come up; returns its id."""
        answer = self.create(network, **values)
        assert answer.status == 202, answer
        self.run()
        server_id = answer["server"]["id"]
        assert self.row(server_id).vm_state == "active", self.story(server_id)
        return server_id

    def act(self, server_id, action, value=None):
        """Ask for an action; returns the answer."""
        return self.ask("POST", f"/servers/{server_id}/action", {action: value})

    def status(self, server_id):
        """Return what a user sees as the status; None when the server is gone."""
        answer = self.ask("GET", f"/servers/{server_id}")
        return None if answer.status == 404 else answer["server"]["status"]

    # -- time goes on -----------------------------------------------------------------------------

    def run(self, *, rounds=60, step_s=45.0, cells=(CELL1, CELL0)):
        """Run due sagas until there are none; what a database refuses is tried again later."""
        for _ in range(rounds):
            count = 0
            for cell in cells:
                try:
                    count += self.engine(cell).run_due()
                except DatabaseError:
                    count += 1
            if not count:
                return
            self.clock.now += step_s

    def loops(self, host):
        """Return a host's own comparison with the conductor's database."""
        return ComputeLoops(options_of(self.directory, host), self.workers[host], self.conductor,
                            boot_id="boot-1")

    def reconcilers(self):
        """Return every loop of the conductor that mends something."""
        return [Allocations(self.deps, self.store, 60.0), Mappings(self.deps, 60.0, old_s=0.0),
                StrayPorts(self.deps, self.store, 60.0),
                KnownPorts(self.deps, self.store, 60.0)]

    def settle(self, *, rounds=6):
        """Run sagas, reconcilers and hosts' comparisons until none of them changes anything."""
        for _ in range(rounds):
            self.run()
            for host in self.host_names:
                self.report(host)
                self.loops(host).reconcile()
            changes = sum(loop.reconcile() for loop in self.reconcilers())
            self.run()
            if not changes:
                return
        raise AssertionError("reconcilers change things again and again")

    # -- threads ----------------------------------------------------------------------------------

    def start(self, *, poll_s=0.05, lease_s=3.0, workers=8, patience_s=20.0):
        """Run sagas in threads from now on, by the wall clock; hosts report. patience_s: how long a host
        may take to answer."""
        self.store.clock = time.time
        self.deps = self.replaced(compute=lambda host, timeout_s: self.bus.client(
            ComputeAgent, host, timeout_s=min(timeout_s, patience_s)))
        self._stopping.clear()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()
        for cell in (CELL1, CELL0):
            engine = self.engine(cell, f"conductor-{cell}", poll_s=poll_s, lease_s=lease_s,
                                 workers=workers)
            engine.start()
            self.threads.append(engine)
        self.store.wake = lambda: [engine.wake() for engine in self.threads]

    def _beat(self):
        while not self._stopping.wait(2.0):
            for host in self.host_names:
                with contextlib.suppress(DatabaseError):
                    self.report(host)

    def wait_idle(self, *, timeout_s=WAIT_S):
        """Wait until no saga is under way."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not self.active():
                return
            threading.Event().wait(0.05)
        raise AssertionError(f"sagas did not end: {self.active()}")

    def active(self):
        """Return the sagas under way."""
        found = []
        for cell in (CELL1, CELL0):
            with self.cells[cell].read() as tx:
                found += self.store.in_state(tx, ("queued", "running", "unwinding", "stuck"))
        return found

    def stop(self):
        """Stop the threads."""
        self._stopping.set()
        if self._heart is not None:
            self._heart.join()
            self._heart = None
        for engine in self.threads:
            engine.stop()
        self.threads.clear()
        self.store.clock, self.clock.now = self.clock, max(self.clock.now, time.time())
        self.store.wake = lambda: None

    def leased_loops(self, *, clock=time.time):
        """Return the reconcilers as a process runs them: under leases of nova_api."""
        return Reconcilers(self.reconcilers(), Leases(self.api, API, clock=clock), clock=clock)

    def close(self):
        self.stop()
        super().close()
        for database in (self.api, *self.cells.values(), *self.session.databases.values()):
            database.close()

    def restarted(self, **options):
        """End this cloud and return the one that starts on what is left."""
        self.close()
        made = WholeCloud(self.directory, self.host_names, quotas=self.quotas, **options)
        made.clock.now = max(made.clock.now, self.clock.now) + 60.0  # leases of the dead have ended
        return made


def options_of(directory, host):
    """Return the options of a host's agent."""
    return dataclasses.replace(OPTIONS, state_path=str(directory / host))

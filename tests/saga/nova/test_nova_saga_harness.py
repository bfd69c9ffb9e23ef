"""Every saga of Nova passes every disturbance of the generic harness."""

import contextlib

import pytest
from nova_world import NETWORK, NovaWorld, nic

from gureum.core.saga.testing import SagaCase, check, scenarios
from gureum.nova import sagas
from gureum.nova.logic import saga_params
from gureum.nova.model import RequestedNic
from gureum.nova.reconcilers.allocations import Allocations
from gureum.nova.reconcilers.stray_ports import StrayPorts
from gureum.nova.store.tables import CELL1


class NovaCase(SagaCase):
    others = sagas.ALL

    def __init__(self, directory):
        self.world = NovaWorld(directory)
        self.clock, self.store = self.world.clock, self.world.store
        self.database, self.deps = self.world.cells[CELL1], self.world.deps
        self.others = [saga for saga in sagas.ALL if saga is not self.saga]
        self.prepare()

    def prepare(self):
        self.given = self.world.ports.add(NETWORK)
        nics = (nic(tag="front"), RequestedNic(id="given-card", port_id=self.given.id))
        self.server_id = self.world.active_server(nics=nics)

    def close(self):
        self.world.close()

    def mend(self):
        deps, store = self.world.deps, self.store
        loops = (Allocations(deps, store, 60.0), StrayPorts(deps, store, 60.0))
        return sum(loop.reconcile() for loop in loops)

    def no_guest_on(self, host):
        return self.world.guests().get(self.server_id) != host

    def still_whole(self):
        """Say what of an active server is missing."""
        wanted = [f"guest on {self.world.row(self.server_id).host}", "allocation"]
        have = self.world.effects(self.server_id)
        return [what for what in wanted if what not in have]


class CreateCase(NovaCase):
    saga = sagas.CREATE

    def prepare(self):
        self.given = self.world.ports.add(NETWORK)
        self.cards = (nic(tag="front"), RequestedNic(id="given-card", port_id=self.given.id))

    def submit(self):
        self.server_id = self.world.new_server(nics=self.cards)
        with self.database.read() as tx:
            return self.store.of_resource(tx, self.server_id)[0].id

    def missing(self):
        row, nics = self.world.row(self.server_id), self.world.nics(self.server_id)
        found = (row.vm_state, row.power_state, row.host, row.node, row.availability_zone,
                 len(nics), self.world.guests().get(self.server_id), len(self.world.ports.ports))
        wanted = ("active", 1, "h1", "h1.example", "nova", 2, "h1", 2)
        return [] if found == wanted else [f"{found} is not {wanted}"]

    def leftovers(self):
        left = self.world.effects(self.server_id)
        given = self.world.ports.ports[self.given.id]
        if len(self.world.ports.ports) != 1 or given.device_id or given.host:
            left.append(f"ports {self.world.ports.ports}")
        row = self.world.row(self.server_id)
        if row.vm_state not in ("error", "building"):
            left.append(f"server in {row.vm_state}")
        return left


class DeleteCase(NovaCase):
    saga = sagas.DELETE

    def submit(self):
        return self.world.delete_server(self.server_id)

    def recover(self):
        assert self.world.row(self.server_id).vm_state == "error"
        self.submit()
        return True

    def missing(self):
        return self.leftovers()

    def leftovers(self):
        left = self.world.effects(self.server_id)
        if list(self.world.ports.ports) != [self.given.id]:
            left.append(f"ports {self.world.ports.ports}")
        if self.world.row(self.server_id) is not None:
            left.append("live row")
        if self.world.mapping(self.server_id).deleted_at is None:
            left.append("counted by quota")
        return left


class StopCase(NovaCase):
    saga = sagas.POWER

    def submit(self):
        return self.world.power(self.server_id, "stop")

    def missing(self):
        row = self.world.row(self.server_id)
        found = (row.vm_state, row.power_state)
        return [*self.still_whole(), *([] if found == ("stopped", 4) else [str(found)])]

    def leftovers(self):
        return self.still_whole()


class AttachCase(NovaCase):
    saga = sagas.ATTACH

    def submit(self):
        params = saga_params.InterfaceAttachParams(
            self.server_id, RequestedNic(id="third-card", network_id=NETWORK, tag="back")
        )
        with self.database.write() as tx:
            return self.world.submit(tx, sagas.ATTACH, params, "attach_interface")

    def counts(self):
        driver = self.world.drivers["h1"]
        return (len(self.world.ports.ports), len(self.world.nics(self.server_id)),
                len(driver.ports_of(self.server_id)))

    def missing(self):
        return [] if self.counts() == (3, 3, 3) else [str(self.counts())]

    def leftovers(self):
        return [] if self.counts() == (2, 2, 2) else [str(self.counts())]


class DetachCase(NovaCase):
    saga = sagas.DETACH

    def submit(self):
        made = next(p for p in self.world.ports.of_servers([self.server_id]) if not p.keep)
        params = saga_params.InterfaceDetachParams(self.server_id, made.id)
        self.params = params
        with self.database.write() as tx:
            return self.world.submit(tx, sagas.DETACH, params, "detach_interface")

    def recover(self):
        with self.database.write() as tx:
            self.world.submit(tx, sagas.DETACH, self.params, "detach_interface")
        return True

    def missing(self):
        driver = self.world.drivers["h1"]
        found = (len(self.world.ports.ports), len(self.world.nics(self.server_id)),
                 len(driver.ports_of(self.server_id)))
        return [] if found == (1, 1, 1) else [str(found)]

    leftovers = missing


CASES = [CreateCase, DeleteCase, StopCase, AttachCase, DetachCase]
ALL = [(case, scenario) for case in CASES for scenario in scenarios(case.saga)]


@pytest.mark.parametrize(
    ("case", "scenario"), ALL, ids=[f"{case.__name__}-{scenario}" for case, scenario in ALL]
)
def test_saga_survives(case, scenario, tmp_path):
    with contextlib.closing(case(tmp_path)) as world:
        check(world, scenario)


def test_every_saga_has_a_case():
    assert {case.saga.name for case in CASES} == set(sagas.BY_NAME)
    assert set(saga_params.PARAMS) == set(sagas.BY_NAME)
    for name, params in saga_params.PARAMS.items():
        assert sagas.BY_NAME[name].params is params



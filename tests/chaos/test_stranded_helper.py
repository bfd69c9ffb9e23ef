"""The comparison that every chaos test ends with sees what it is there to see."""

import pytest
from stranded import stranded
from whole_cloud import WholeCloud

from gureum.nova.store import mappings
from gureum.nova.store import servers as store
from gureum.placement.store import tables

GHOST = "5e000000-0000-4000-8000-00000000dead"


@pytest.fixture
def cloud(tmp_path):
    made = WholeCloud(tmp_path, ("h1",))
    made.network = made.furnish()
    made.one = made.server(made.network)
    assert stranded(made) == []
    yield made
    made.close()


def allocation(cloud):
    with cloud.session.databases["placement"].read() as tx:
        (provider,) = tx.all(tables.providers.select())
    cloud.placement.allocate(GHOST, provider.uuid, {"VCPU": 1},
                             project_id="p" * 32, user_id="u" * 32)


def no_allocation(cloud):
    cloud.placement.release(cloud.one)


def port(cloud):
    cloud.ports.create(nic_id="x", network_id=cloud.network, project_id="p" * 32, server_id=GHOST,
                       owner="compute:nova", host="h1", fixed_ip=None, security_groups=())


def second_port(cloud):
    cloud.ports.create(nic_id="x", network_id=cloud.network, project_id="p" * 32,
                       server_id=cloud.one, owner="compute:nova", host="h1", fixed_ip=None,
                       security_groups=())


def no_port(cloud):
    cloud.ports.delete(cloud.nics(cloud.one)[0].port_id)


def no_guest(cloud):
    cloud.drivers["h1"].destroy(cloud.one, delete_disks=True)


def no_row(cloud):
    with cloud.cells["cell1"].write() as tx:
        store.forget(tx, cloud.one)


def no_mapping(cloud):
    with cloud.api.write() as tx:
        mappings.remove(tx, cloud.one)


def no_end(cloud):
    cloud.act(cloud.one, "os-stop")


WRONGS = [allocation, no_allocation, port, second_port, no_port, no_guest, no_row, no_mapping, no_end]


@pytest.mark.parametrize("wrong", WRONGS, ids=lambda wrong: wrong.__name__)
def test_what_is_wrong_is_named(cloud, wrong):
    wrong(cloud)
    assert stranded(cloud) != []

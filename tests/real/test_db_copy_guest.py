"""The rows of a real cloud move from SQLite to MariaDB while its guests run: they notice nothing, and are
managed from the new database afterwards.

The tests build on each other, in this order. The cloud stands beside the machine's own.
"""

from collections.abc import Iterator

import dblab
import nodelab
import pytest
from cloudlab import Lab, beside
from guestlab import Guests

from gureum.cli.test import why_not_real
from gureum.provision import settings
from gureum.provision.databases import names

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(why_not_real()), reason=why_not_real() or "runs"),
]

KIND = "mariadb"


@pytest.fixture(scope="module")
def server() -> Iterator[dblab.Server]:
    lacking = dblab.missing(KIND)
    if lacking:
        pytest.skip(lacking)
    with dblab.running(KIND) as server:
        server.admin(*(f"CREATE DATABASE gureum_{n} CHARACTER SET utf8mb4" for n in names()))
        yield server


@pytest.fixture(scope="module")
def lab(server: dblab.Server) -> Iterator[Lab]:
    with beside("moved") as made:
        yield made


@pytest.fixture(scope="module")
def guests(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guests]:
    made = Guests(lab, tmp_path_factory.mktemp("guests"), "moved")
    made.make()
    yield made


def test_guests_run_on_while_the_rows_move(lab: Lab, guests: Guests, server: dblab.Server):
    boot = guests.boot_id()
    pings = [guests.ping_between(), nodelab.ping(lab.outside.namespace, guests.floating)]
    lab.gureum("down")
    to = server.url("gureum_{service}")
    said = lab.gureum("db", "copy", "--to", to)
    assert said.count("counts and checksums agree") == len(names())
    place = lab.place
    settings.complete_secrets(place.secrets_file, {"database": {"connection": to}}, "gureum")
    files = place.state_dir / "db"
    files.rename(place.state_dir / "db-before")  # nobody looks there any more
    lab.gureum("up")
    nodelab.comes_back(lab)
    sent, lost = nodelab.lost(pings)
    print(f"\n{sent} pings while the rows moved, {lost} lost")
    assert sent > 50 and lost == 0
    assert guests.boot_id() == boot
    assert list(files.iterdir()) == []
    for one in (guests.server, guests.other):
        assert guests.status(one) == "ACTIVE"


def test_guests_are_managed_from_the_new_database(lab: Lab, guests: Guests):
    sdk = guests.sdk
    sdk.compute.stop_server(guests.other)
    guests.becomes(guests.other, "SHUTOFF")
    sdk.compute.start_server(guests.other)
    guests.becomes(guests.other, "ACTIVE")
    sdk.compute.reboot_server(guests.server, "HARD")
    guests.becomes(guests.server, "ACTIVE")
    guests.ssh_works()
    late = guests.active(guests.ask_for("moved-late"))  # numbers and addresses go on
    addresses = {guests.address(one) for one in (guests.server, guests.other, late)}
    assert len(addresses) == 3
    actions = [one.action for one in sdk.compute.server_actions(guests.other)]
    assert sorted(actions) == ["create", "start", "stop"]  # the first is from before
    nodelab.comes_back(lab)


def test_they_are_deleted_and_nothing_is_left(lab: Lab, guests: Guests):
    domains = {guests.domain(one) for one in (guests.server, guests.other)}
    guests.unmake()
    nodelab.comes_back(lab)
    listed = nodelab.run("virsh", "-c", "qemu:///system", "list", "--all", "--name").stdout
    assert not domains & set(listed.split())

"""Every kind of orphan is named and mended, on a whole cloud with fake drivers."""

import uuid
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from audit_cloud import AuditCloud, running

from gureum.audit.image_files import file_stores
from gureum.core.db.types import utc_now
from gureum.neutron.agents.contract import EXTRA, L2_AGENT, L3_AGENT, MISSING, FoundItem
from gureum.neutron.store import tables as neutron
from gureum.nova.agent.contract import FoundPart
from gureum.nova.conductor import compute_state
from gureum.nova.store import tables as nova

pytestmark = pytest.mark.timeout(180)

STRANGER = "5e000000-0000-4000-8000-00000000dead"
PROJECT = "0" * 31 + "9"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditCloud]:
    with pytest.MonkeyPatch.context() as patch:
        # a host's word counts at once, not only some seconds after the row was written
        patch.setattr(compute_state, "SETTLE_S", 0.0)
        yield from made_in(tmp_path_factory)


def made_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditCloud]:
    with running(tmp_path_factory.mktemp("audit")) as made:
        yield made


@pytest.fixture(scope="module")
def server(cloud: AuditCloud) -> str:
    return cloud.server()


@pytest.fixture(autouse=True)
def clean(cloud: AuditCloud, server: str) -> Iterator[None]:
    """Every test begins and ends with a clean cloud."""
    yield
    assert cloud.audit().code == 0, cloud.audit()


def test_cloud_with_a_server_is_clean(cloud: AuditCloud, server: str):
    report = cloud.audit()
    assert (report.code, report.findings, report.silent) == (0, (), ())


def test_cloud_is_clean_after_a_server_was_deleted(cloud: AuditCloud):
    other = cloud.server()
    cloud.insert(
        "nova_api", nova.console_tokens, token_hash="a" * 64, server_id=other, kind="novnc",
        host="h", port=1, created_at=utc_now(), expires_at=utc_now(),
    )  # fmt: skip
    cloud.delete(other)
    assert cloud.audit().code == 0


# --- Nova's databases -----------------------------------------------------------------------------


def mapping(server_id: str, cell: str = nova.CELL1) -> dict[str, object]:
    return {
        "server_id": server_id, "project_id": "", "user_id": "u", "cell": cell, "vcpus": 1,
        "memory_mib": 1, "created_at": utc_now(),
    }  # fmt: skip


def test_mapping_without_a_server(cloud: AuditCloud):
    cloud.insert("nova_api", nova.server_mappings, **mapping(STRANGER))
    assert cloud.finding("server-mapping", STRANGER).why == "no cell has its server"
    cloud.mend()


def test_mapping_that_names_the_wrong_cell(cloud: AuditCloud, server: str):
    table = nova.server_mappings
    cloud.execute("nova_api", sa.update(table).values(cell=nova.CELL0))
    assert "is in cell1" in cloud.finding("server-mapping", server).why
    cloud.mend()
    assert cloud.status(server) == "ACTIVE"


def test_server_without_a_mapping(cloud: AuditCloud, server: str):
    cloud.execute("nova_api", sa.delete(nova.server_mappings))
    assert "nobody can see it" in cloud.finding("server", server).why
    cloud.mend()
    assert cloud.status(server) == "ACTIVE"


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (nova.server_requests, {"request": {}}),
        (nova.server_metadata, {"key": "k", "value": "v"}),
        (nova.server_tags, {"tag": "t"}),
        (nova.server_addresses, {
            "port_id": STRANGER, "address": "10.0.0.1", "version": 4, "kind": "fixed",
            "network_label": "n", "mac": "m",
        }),
    ],
    ids=lambda one: getattr(one, "name", ""),
)  # fmt: skip
def test_rows_of_a_server_that_never_was(
    cloud: AuditCloud, table: sa.Table, values: dict[str, object]
):
    cloud.insert("nova_cell1", table, server_id=STRANGER, **values)
    cloud.finding(table.name.replace("_", "-"), STRANGER)
    cloud.mend()


def test_console_token_of_a_gone_server(cloud: AuditCloud):
    cloud.insert(
        "nova_api", nova.console_tokens, token_hash="b" * 64, server_id=STRANGER, kind="novnc",
        host="h", port=1, created_at=utc_now(), expires_at=utc_now(),
    )  # fmt: skip
    cloud.finding("console-token", STRANGER)
    cloud.mend()


def test_group_member_that_is_gone(cloud: AuditCloud):
    reply = cloud.session.request(
        "POST", "compute", "/os-server-groups", headers={"OpenStack-API-Version": "compute 2.64"},
        json={"server_group": {"name": "g", "policy": "affinity"}},
    )  # fmt: skip
    group = reply.json()["server_group"]["id"]
    cloud.insert(
        "nova_api", nova.server_group_members, group_id=group, server_id=STRANGER, user_id="u"
    )
    cloud.finding("server-group-member", STRANGER)
    cloud.mend()


def test_server_that_is_built_by_nobody(cloud: AuditCloud):
    lost = cloud.server()
    cloud.execute(
        "nova_cell1",
        sa.update(nova.servers).where(nova.servers.c.id == lost).values(vm_state="building"),
    )
    assert "no saga builds it" in cloud.finding("server", lost).why
    cloud.mend()
    assert cloud.status(lost) == "ERROR"
    cloud.delete(lost)


def saga_of(cloud: AuditCloud, server: str, **values: object) -> str:
    """Let a server's last saga be in a state that it got into by a defect."""
    sagas = cloud.world.sagas.sagas
    wanted = sa.select(sagas.c.id).where(sagas.c.resource_id == server).limit(1)
    with cloud.runtime.database("nova_cell1").write() as tx:
        saga_id = str(tx.scalar(wanted))
        tx.update(sagas, sagas.c.id == saga_id, **values)
    return saga_id


def test_stuck_and_abandoned_sagas_are_named(cloud: AuditCloud, server: str):
    future = 9e12  # no runner takes it up meanwhile
    saga_id = saga_of(cloud, server, state="stuck", wake_at=future, error_text="No way back.")
    assert "is stuck: No way back." in cloud.finding("saga", saga_id).why
    saga_of(cloud, server, state="running", name="verb.of.old", wake_at=1.0)
    assert cloud.finding("saga", saga_id).why.startswith("nobody runs verb.of.old")
    saga_of(cloud, server, state="done", name="nova.server.create", wake_at=0.0)


# --- placement ------------------------------------------------------------------------------------


def test_room_that_nobody_uses(cloud: AuditCloud):
    provider = cloud.world.placement.providers()[0]["uuid"]
    cloud.world.placement.allocate(
        STRANGER, {provider: {"VCPU": 1, "MEMORY_MB": 64}}, project_id="p", user_id="u"
    )
    assert "no server has this id" in cloud.finding("allocation", STRANGER).why
    cloud.mend()
    assert cloud.world.placement.held(STRANGER).amounts == {}


def test_room_of_another_service_is_left_alone(cloud: AuditCloud):
    provider = cloud.world.placement.providers()[0]["uuid"]
    cloud.world.placement.allocate(STRANGER, {provider: {"DISK_GB": 1}}, project_id="p", user_id="u")
    assert cloud.audit(repair=True).code == 0
    assert cloud.world.placement.held(STRANGER).amounts
    cloud.world.placement.release(STRANGER)


def test_server_that_holds_no_room(cloud: AuditCloud, server: str):
    before = cloud.world.placement.held(server).amounts
    cloud.world.placement.release(server)
    assert "holds no room" in cloud.finding("allocation", server).why
    cloud.mend()
    assert cloud.world.placement.held(server).amounts == before


def test_provider_without_a_compute_node(cloud: AuditCloud):
    cloud.world.placement.ensure_provider(STRANGER, "lost-host")
    cloud.world.placement.set_traits(STRANGER, ["COMPUTE_NODE"])
    cloud.finding("resource-provider", STRANGER)
    cloud.mend()


# --- hosts ----------------------------------------------------------------------------------------


def test_guest_without_a_server(cloud: AuditCloud):
    lost = cloud.server()
    kept = cloud.driver._guests[lost]
    cloud.delete(lost)
    cloud.driver._guests[lost] = kept
    assert "its server is deleted" in cloud.finding("guest", lost).why
    cloud.mend()
    assert lost not in cloud.driver._guests


def test_server_without_a_guest(cloud: AuditCloud):
    lost = cloud.server()
    cloud.driver._guests.pop(lost)
    assert "its guest is gone" in cloud.finding("server", lost).why
    cloud.mend()
    assert cloud.status(lost) == "ERROR"
    cloud.delete(lost)


def test_power_state_that_nobody_wrote(cloud: AuditCloud, server: str):
    cloud.execute(
        "nova_cell1",
        sa.update(nova.servers).where(nova.servers.c.id == server).values(power_state=4),
    )
    assert "the guest is running" in cloud.finding("power-state", server).why
    cloud.mend()


def test_folder_of_a_guest_that_is_gone(cloud: AuditCloud):
    cloud.driver.litter(FoundPart("folder", f"/instances/{STRANGER}", STRANGER, 99.0))
    cloud.finding("guest-folder", STRANGER)
    cloud.mend()


def test_card_that_lost_its_tap(cloud: AuditCloud, server: str):
    (port_id,) = cloud.ports(server)
    cloud.driver.unplug(port_id)
    cloud.finding("tap", f"tap{port_id[:11]}")
    cloud.mend()


def test_tap_of_no_guest_and_a_dead_fetch(cloud: AuditCloud):
    cloud.driver.litter(FoundPart("tap", "tapdead", STRANGER))
    cloud.driver.litter(FoundPart("image-part", ".abc.fetch", "", 99.0))
    report = cloud.audit()
    assert {(one.kind, one.id) for one in report.findings} == {
        ("tap", "tapdead"),
        ("image-cache", ".abc.fetch"),
    }
    cloud.mend()


def test_work_of_a_running_saga_is_left_alone(cloud: AuditCloud):
    """Rows, guests and room that a verb has not tidied up yet are its own business."""
    lost = cloud.server()
    kept = cloud.driver._guests[lost]
    cloud.delete(lost)
    cloud.driver._guests[lost] = kept
    sagas = cloud.world.sagas.sagas
    owned = sa.select(sagas.c.id).where(sagas.c.resource_id == lost).limit(1)
    with cloud.runtime.database("nova_cell1").write() as tx:
        saga_id = tx.scalar(owned)
        before = tx.one(sa.select(sagas.c.state, sagas.c.wake_at).where(sagas.c.id == saga_id))
        tx.update(sagas, sagas.c.id == saga_id, state="running", runner="x", lease_until=9e12)
    assert cloud.audit(repair=True).code == 0
    assert lost in cloud.driver._guests
    with cloud.runtime.database("nova_cell1").write() as tx:
        tx.update(sagas, sagas.c.id == saga_id, state=before.state, runner=None, lease_until=0.0)
    cloud.finding("guest", lost)
    cloud.mend()


# --- Neutron --------------------------------------------------------------------------------------


def port(cloud: AuditCloud, **values: object) -> str:
    made = cloud.post("network", "/v2.0/ports", "port", network_id=cloud.network_id)
    changed = sa.update(neutron.ports).where(neutron.ports.c.id == made["id"]).values(**values)
    cloud.execute("neutron", changed)
    return str(made["id"])


def test_port_of_a_gone_server(cloud: AuditCloud):
    lost = port(cloud, device_owner="compute:nova", device_id=STRANGER)
    assert "unknown to Nova" in cloud.finding("port", lost).why
    cloud.mend()
    reply = cloud.session.request("GET", "network", f"/v2.0/ports/{lost}")
    assert reply.json()["port"]["device_id"] == ""  # a person made it: it is taken, not deleted
    cloud.session.request("DELETE", "network", f"/v2.0/ports/{lost}")


def test_port_that_is_bound_elsewhere(cloud: AuditCloud, server: str):
    (port_id,) = cloud.ports(server)
    table = neutron.port_bindings
    elsewhere = sa.update(table).where(table.c.port_id == port_id).values(host="elsewhere")
    cloud.execute("neutron", elsewhere)
    report = cloud.audit()
    assert ("port-binding", port_id) in {(one.kind, one.id) for one in report.findings}
    cloud.mend()


def test_port_that_nova_forgot(cloud: AuditCloud, server: str):
    (port_id,) = cloud.ports(server)
    cloud.execute("nova_cell1", sa.delete(nova.server_nics))
    assert "Nova does not know of it" in cloud.finding("server-port", port_id).why
    cloud.mend()


@pytest.mark.parametrize(
    "owner", ["network:router_interface", "network:floatingip", "network:dhcp"]
)
def test_port_of_a_gone_router_floating_ip_or_agent(cloud: AuditCloud, owner: str):
    lost = port(cloud, device_owner=owner, device_id=STRANGER)
    cloud.finding("port", lost)
    cloud.mend()
    assert cloud.session.request("GET", "network", f"/v2.0/ports/{lost}").status == 404


def test_what_network_agents_find_is_named_and_mended(cloud: AuditCloud):
    l2, l3 = cloud.agents[L2_AGENT], cloud.agents[L3_AGENT]
    l2.items.append(FoundItem("flows", "ports", STRANGER, MISSING, "3 flows are missing"))
    l3.items.append(FoundItem("namespace", f"qrouter-{STRANGER}", STRANGER, EXTRA, "left over"))
    report = cloud.audit()
    assert {(one.kind, one.where.partition(" ")[0]) for one in report.findings} == {
        ("flows", L2_AGENT),
        ("namespace", L3_AGENT),
    }
    cloud.mend()
    assert not l2.items and not l3.items


def test_agent_that_missed_a_change(cloud: AuditCloud, server: str, monkeypatch):
    (port_id,) = cloud.ports(server)
    agent = cloud.agents[L2_AGENT].agent
    # The answer to its next heartbeat would make it fetch, before the audit has it mended.
    monkeypatch.setattr(agent, "wake", lambda **_: None)
    agent.book._items["ports"].pop(port_id)
    assert "does not know of it" in cloud.finding("agent-ports", port_id).why
    agent.book.revision = 0  # as an agent that was restarted
    cloud.mend()


# --- images, owners -------------------------------------------------------------------------------


def test_bytes_without_an_image(cloud: AuditCloud):
    store = file_stores(cloud.runtime.config)[0]
    (store.folder / STRANGER).write_bytes(b"x")
    cloud.finding("image-bytes", STRANGER)
    cloud.mend()
    assert store.size(STRANGER) is None


def test_image_whose_bytes_are_gone_is_deactivated(cloud: AuditCloud):
    image_id = cloud._image()
    store = file_stores(cloud.runtime.config)[0]
    store.delete(image_id)
    assert cloud.finding("image", image_id).why == "its bytes are gone"
    report = cloud.audit(repair=True)
    reply = cloud.session.request("GET", "image", f"/v2/images/{image_id}")
    assert reply.json()["status"] == "deactivated"
    assert [one.mend for one in report.findings] == [None]  # the bytes are for a person to bring
    cloud.session.request("DELETE", "image", f"/v2/images/{image_id}")


def test_limits_and_keys_of_gone_owners(cloud: AuditCloud):
    cloud.insert("neutron", neutron.quotas, project_id=PROJECT, resource="port", amount=1)
    cloud.insert("nova_api", nova.quotas, project_id=PROJECT, user_id="", resource="cores",
                 hard_limit=1)  # fmt: skip
    cloud.insert("nova_api", nova.keypairs, user_id=PROJECT, name="k", type="ssh", public_key="k",
                 fingerprint="f", created_at=utc_now())  # fmt: skip
    report = cloud.audit()
    assert sorted((one.kind, one.where) for one in report.findings) == [
        ("key-pairs", "nova_api"), ("quota", "neutron"), ("quota", "nova_api"),
    ]  # fmt: skip
    cloud.mend()


def test_network_of_a_gone_project_is_named_and_left_to_people(cloud: AuditCloud):
    made = cloud.post("network", "/v2.0/networks", "network", name="n", project_id=PROJECT)
    found = cloud.finding("networks", PROJECT)
    assert found.mend is None
    assert cloud.audit(repair=True).code == 1
    cloud.session.request("DELETE", "network", f"/v2.0/networks/{made['id']}")
    cloud.audit(repair=True)


# --- what cannot be seen --------------------------------------------------------------------------


def test_host_that_does_not_answer_makes_the_audit_blind(cloud: AuditCloud):
    with cloud.runtime.database("nova_cell1").write() as tx:
        tx.insert(
            nova.services, id=str(uuid.uuid4()), host="lost", binary="nova-compute",
            disabled=False, forced_down=True, boot_id="", created_at=utc_now(),
        )  # fmt: skip
    report = cloud.audit()
    assert report.code == 2
    assert report.silent == ("nova-compute on lost is down",)
    cloud.execute("nova_cell1", sa.delete(nova.services).where(nova.services.c.host == "lost"))

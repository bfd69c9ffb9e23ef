"""Who asks for metadata, and what Nova is told."""

import pytest

from gureum.neutron.agents.contract import MetadataTarget
from gureum.neutron.agents.metadata.forward import (
    Forwarder,
    Refused,
    Request,
    asker_of,
    signature,
    upstream_headers,
)
from gureum.neutron.agents.metadata.targets import Asker, Targets
from gureum.neutron.agents.plumbing.proxy import ProxyOptions, proxy_config

NET = "6f1c1d3e-98f5-4d3e-9a52-6c8d43b1c9a1"
TARGET = MetadataTarget("port", "instance", "project")


class Directory:
    """Knows one server."""

    def __init__(self) -> None:
        self.asked = 0
        self.target: MetadataTarget | None = TARGET

    def metadata_target(
        self, host: str, address: str, network_id: str | None, router_id: str | None
    ) -> MetadataTarget | None:
        self.asked += 1
        return self.target


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-Forwarded-For", "10.0.0.5")],
        [("X-Neutron-Network-ID", NET)],
        [("X-Forwarded-For", "10.0.0.5, 10.0.0.6"), ("X-Neutron-Network-ID", NET)],
        [("X-Forwarded-For", "10.0.0.5"), ("x-forwarded-for", "10.0.0.6"),
         ("X-Neutron-Network-ID", NET)],
        [("X-Forwarded-For", "10.0.0.5"), ("X-Neutron-Network-ID", NET),
         ("X-Neutron-Router-ID", NET)],
        [("X-Forwarded-For", "10.0.0.5"), ("X-Neutron-Network-ID", "../etc")],
    ],
)  # fmt: skip
def test_unclear_asker_is_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(Refused):
        asker_of(headers)


def test_mapped_address_is_the_ipv4_address() -> None:
    headers = [("x-forwarded-for", "::ffff:10.0.0.5"), ("x-neutron-router-id", NET)]
    assert asker_of(headers) == Asker("10.0.0.5", None, NET)


def test_abuse_37_reserved_headers_are_replaced() -> None:
    sent = [("x-instance-id", "forged"), ("X-TENANT-ID", "forged"), ("X-Own", "kept"),
            ("X-Instance-ID-Signature", "forged"), ("Connection", "close"),
            ("X-Forwarded-For", "10.0.0.5"), ("X-Neutron-Network-ID", NET)]  # fmt: skip
    made = upstream_headers(sent, Asker("10.0.0.5", NET, None), TARGET, "s")
    assert made == [
        ("X-Own", "kept"),
        ("X-Forwarded-For", "10.0.0.5"),
        ("X-Instance-ID", "instance"),
        ("X-Tenant-ID", "project"),
        ("X-Instance-ID-Signature", signature("s", "instance")),
    ]


def test_target_is_remembered_shortly_and_nobody_is_not() -> None:
    directory, now = Directory(), [0.0]
    targets = Targets("h", directory, 5.0, clock=lambda: now[0])
    asker = Asker("10.0.0.5", NET, None)
    assert targets.find(asker) == targets.find(asker) == TARGET
    assert directory.asked == 1
    now[0] = 5.1
    directory.target = None
    assert targets.find(asker) is None and targets.find(asker) is None
    assert directory.asked == 3


def test_without_a_secret_nothing_is_forwarded() -> None:
    directory = Directory()
    forwarder = Forwarder(Targets("h", directory, 5.0), "http://127.0.0.1:1", "", 1.0)
    headers = (("X-Forwarded-For", "10.0.0.5"), ("X-Neutron-Network-ID", NET))
    assert forwarder.answer(Request("GET", "/", headers)).status == 503
    assert directory.asked == 0
    forwarder.close()


def test_nova_that_is_away_is_502_and_strange_requests_are_4xx() -> None:
    forwarder = Forwarder(Targets("h", Directory(), 5.0), "http://127.0.0.1:1", "s", 1.0)
    headers = (("X-Forwarded-For", "10.0.0.5"), ("X-Neutron-Network-ID", NET))
    assert forwarder.answer(Request("GET", "/", headers)).status == 502
    assert forwarder.answer(Request("DELETE", "/", headers)).status == 405
    assert forwarder.answer(Request("GET", "http://other/", headers)).status == 400
    forwarder.close()


def test_proxy_removes_what_a_guest_may_not_say_before_it_speaks() -> None:
    options = ProxyOptions("/run/x.sock", "haproxy", "haproxy", 10)
    text = proxy_config(options, ("0.0.0.0:9697",), "X-Neutron-Router-ID", NET)
    assert text.index("del-header X-Neutron-Router-ID") < text.index(
        f"set-header X-Neutron-Router-ID {NET}"
    )
    assert text.index("del-header X-Forwarded-For") < text.index("set-header X-Forwarded-For")

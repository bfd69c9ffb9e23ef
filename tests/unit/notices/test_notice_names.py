"""The names of events, for every operation that is told."""

from types import SimpleNamespace

from gureum.core.announce import Done
from gureum.core.context import anonymous
from gureum.keystone.service import SERVICE as IDENTITY
from gureum.neutron.service import SERVICE as NETWORK

VIEW = {"id": "x", "name": "n", "project_id": "p", "_tag": "", "secret": "s"}
ROW = SimpleNamespace(id="x", role=SimpleNamespace(id="r"), actor=SimpleNamespace(id="a"),
                      target=SimpleNamespace(id="t"))  # fmt: skip


def told(service, target):
    """Return the facts of every operation with its method, as if each had been carried out."""
    found = []
    for op in service.operations:
        notice = service.notices.of(op)
        if notice is not None:
            answer = None if op.method == "DELETE" else {"id": "x", "tags": []}
            given = (target(op),)
            facts = notice(Done(op, anonymous(), None, given, answer))
            found += [(op.method, fact) for fact in facts]
    return found


def test_every_noun_of_the_network_is_told_under_its_own_name():
    facts = told(NETWORK, lambda op: VIEW)
    nouns = {fact.type.split(".")[0] for _, fact in facts}
    assert nouns == {
        "network", "subnet", "port", "router", "floatingip", "port_forwarding", "security_group",
        "security_group_rule", "default_security_group_rule", "subnetpool", "address_scope",
        "address_group", "rbac_policy", "network_segment_range", "agent", "quota", "tag",
        "auto_allocated_topology",
    }  # fmt: skip
    for method, fact in facts:
        noun, *verb = fact.type.split(".")
        if noun == "tag":
            assert fact.payload["parent_resource_id"] == "x"
        elif verb[0] == "interface":
            assert set(fact.payload) == {"router_interface"}
        elif method == "DELETE":
            kept = {name: VIEW[name] for name in ("id", "name", "project_id")}
            assert fact.payload == {f"{noun}_id": "x", noun: kept}
        else:
            assert set(fact.payload) == {noun}


def test_every_noun_of_identity_is_told_under_its_own_name():
    def target(op):
        return (ROW, SimpleNamespace(id="y")) if op.name in ("add_user", "remove_user") else ROW

    facts = told(IDENTITY, target)
    nouns = {fact.type.split(".")[1] for _, fact in facts}
    assert nouns == {
        "domain", "project", "user", "group", "role", "role_assignment", "region", "service",
        "endpoint", "endpoint_group", "policy", "trust", "credential", "application_credential",
        "identity_provider", "federated_protocol", "mapping", "service_provider",
        "OS-OAUTH1:consumer", "registered_limit", "limit",
    }  # fmt: skip
    for _, fact in facts:
        _, noun, verb = fact.type.split(".")
        assert fact.payload["action"] == f"{verb}.{noun}"
        assert fact.payload["outcome"] == "success"
        if noun != "role_assignment":
            assert fact.payload["resource_info"] == "x"

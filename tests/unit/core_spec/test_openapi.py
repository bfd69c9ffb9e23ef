"""The OpenAPI document is derived whole from the declarations."""

import pytest

from gureum.core.spec.openapi import document
from gureum.core.spec.versions import BASE, Version
from gureum.keystone.service import SERVICE as KEYSTONE
from gureum.placement.service import SERVICE as PLACEMENT


@pytest.mark.parametrize("service", [KEYSTONE, PLACEMENT], ids=lambda s: s.name)
def test_every_operation_is_in_the_document(service):
    version = service.versions.maximum if service.versions else BASE
    paths = document(service, version)["paths"]
    for op in service.operations:
        if op.active(version):
            shown = paths[service.prefix + op.path][op.method.lower()]
            assert shown["summary"] and shown["x-policy"]
            names = {p["name"] for p in shown["parameters"] if p["in"] == "path"}
            assert names == set(op.params)


def test_versions_decide_what_is_documented():
    old = document(PLACEMENT, Version(1, 0))["paths"]
    new = document(PLACEMENT, Version(1, 39))["paths"]
    assert "/traits" not in old and "/traits" in new

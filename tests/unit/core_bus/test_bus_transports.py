"""The transports that need nothing but Python pass the conformance suite."""

import contextlib

import pytest

from gureum.core.bus import open_bus
from gureum.core.bus.testing import TransportSuite

URL = "local://{}/bus.sock?role={}"


class TestInProcess(TransportSuite):
    @pytest.fixture
    def pair(self):
        with contextlib.closing(open_bus("local://")) as bus:
            yield bus, bus


class _OverSocket(TransportSuite):
    roles = ("hub", "leaf")

    @pytest.fixture
    def pair(self, tmp_path):
        with contextlib.ExitStack() as stack:
            hub = stack.enter_context(contextlib.closing(open_bus(URL.format(tmp_path, "hub"))))

            def end(role):
                if role == "hub":
                    return hub
                leaf = open_bus(URL.format(tmp_path, role))
                return stack.enter_context(contextlib.closing(leaf))

            yield end(self.roles[0]), end(self.roles[1])


class TestHubToLeaf(_OverSocket):
    roles = ("leaf", "hub")


class TestLeafToHub(_OverSocket):
    roles = ("hub", "leaf")


class TestLeafToLeaf(_OverSocket):
    roles = ("leaf", "leaf")

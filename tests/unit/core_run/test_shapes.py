"""Types that several threads decode at once."""

import subprocess
import sys

FIRST_AT_ONCE = """
import dataclasses, sys, threading
import msgspec
from gureum.core.shapes import ready

sys.setswitchinterval(1e-6)


def fresh(number):
    frozen = {"frozen": True, "slots": True, "namespace": {"__module__": "__main__"}}
    inner = dataclasses.make_dataclass(f"A{number}", [("a", int, 0)], **frozen)
    return dataclasses.make_dataclass(f"B{number}", [("a", int, 0), ("b", inner | None, None)], **frozen)


body = msgspec.msgpack.encode({"a": 1, "b": {"a": 2}})
for number in range(200):
    made, start = fresh(number), threading.Barrier(8)
    ready(made)

    def decode():
        start.wait()
        assert msgspec.msgpack.decode(body, type=made).b.a == 2

    threads = [threading.Thread(target=decode) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
print("decoded")
"""


def test_type_that_was_made_ready_is_decoded_by_threads_at_once():
    """Without `ready` the process dies of a segmentation fault within these rounds."""
    done = subprocess.run([sys.executable, "-c", FIRST_AT_ONCE], capture_output=True, text=True,
                          timeout=60, check=False)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "decoded\n"), done.stderr[-2000:]


def test_what_crosses_threads_is_ready_once_its_module_is_there():
    """msgspec keeps what it learnt of a dataclass at the class itself."""
    from gureum.core.saga.model import Requester
    from gureum.keystone.client import _Known
    from gureum.nova.agent.contract import GuestSpec, PortSpec
    from gureum.nova.model import BuildRequest

    for one in (Requester, _Known, GuestSpec, PortSpec, BuildRequest):
        assert "__msgspec_cache__" in vars(one), one

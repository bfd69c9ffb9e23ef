"""Large images pass through without being held."""

from pathlib import Path

import pytest
from glance_port import Person, served

MIB = 1 << 20
SIZE_MIB = 192
ROOM_MIB = 64


def resident_mib():
    """Return how much memory this process, which is client and service, has now."""
    words = Path("/proc/self/statm").read_text().split()
    return int(words[1]) * 4096 / MIB


@pytest.mark.slow
def test_large_images_come_and_go_in_constant_memory(cloud):
    chunk = bytes(range(256)) * 4096
    most = 0.0

    def sent():
        nonlocal most
        for _ in range(SIZE_MIB):
            yield chunk
            most = max(most, resident_mib())

    with served(cloud) as base, Person(base) as me:
        me.active(chunk * 8)  # what is loaded and allocated once is so before
        before = resident_mib()
        id = me.create()
        assert me.send(id, sent()).status_code == 204
        assert most - before < ROOM_MIB, "while it came in"
        assert me.show(id)["size"] == SIZE_MIB * MIB
        size = 0
        most = 0.0
        with me.http.stream("GET", f"/v2/images/{id}/file") as answer:
            for piece in answer.iter_raw(MIB):
                size += len(piece)
                most = max(most, resident_mib())
        assert size == SIZE_MIB * MIB
        assert most - before < ROOM_MIB, "while it went out"

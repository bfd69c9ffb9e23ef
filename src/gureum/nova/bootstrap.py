"""Nova's first rows: the cells, and flavors when there are none. May run again at any time."""

from __future__ import annotations

from gureum.core.db.engine import Tx
from gureum.core.run import Runtime
from gureum.nova.logic.flavors import first_flavors
from gureum.nova.store import mappings
from gureum.nova.store.tables import CELL0, CELL1

FLAVORS = (
    ("1", "m1.tiny", 1, 256, 1),
    ("2", "m1.small", 1, 512, 2),
    ("3", "m1.medium", 2, 1024, 5),
    ("4", "m1.large", 2, 2048, 10),
    ("5", "m1.xlarge", 4, 4096, 20),
)
"""(id, name, vcpus, MiB, GiB): sizes that a test machine can hold."""


def bootstrap(runtime: Runtime) -> None:
    """Write what Nova cannot do without."""

    def work(tx: Tx) -> None:
        mappings.ensure_cells(tx, (CELL0, CELL1))
        first_flavors(tx, FLAVORS)

    runtime.database("nova_api").retrying(work)

"""Runs imports in a process of its own, and kills itself with SIGKILL before or after a named step.

Usage: python sigkill_child.py FOLDER STEP before|after|never. Without a step it runs what is due to the end.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path

from glance_cloud import MemoryStore, build

from gureum.core.saga import Engine
from gureum.glance import sagas
from gureum.glance.drivers.file import FileStore


def deadly(saga, name, when):
    step = saga.steps[saga.index(name)]

    def do(context):
        result = None
        if when == "after":
            result = step.do(context)
        os.kill(os.getpid(), signal.SIGKILL)
        return result

    return saga.changed(**{name: dataclasses.replace(step, do=do)})


def cloud(folder):
    second = FileStore(folder / "second", "second")
    return build(folder, more_stores=[second, MemoryStore(name="unused")])


def main(folder, name, when):
    made = cloud(Path(folder))
    wanted = [deadly(sagas.IMPORT, name, when) if when != "never" else sagas.IMPORT]
    engine = Engine(made.deps.db, made.deps.sagas, wanted, deps=made.deps, name="child")
    engine._take_over()
    engine.run_due()


if __name__ == "__main__":
    main(*sys.argv[1:])

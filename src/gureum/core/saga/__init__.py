"""Sagas: multi-step verbs that are logged in SQL and finish, or unwind, whatever dies meanwhile.

Read `model.py` to declare one, `store.py` for the tables and `submit`, `engine.py` for who runs them,
`testing.py` for the tests that every saga passes. `docs/adr/0003-sagas.md` says why it is like this.
"""

from gureum.core.saga.engine import Engine
from gureum.core.saga.model import (
    LeaseLost,
    Requester,
    Retry,
    Saga,
    SagaAbort,
    SagaBusy,
    Step,
    StepContext,
)
from gureum.core.saga.records import SagaRecord, StepRecord
from gureum.core.saga.store import SagaStore, saga_tables

__all__ = [
    "Engine",
    "LeaseLost",
    "Requester",
    "Retry",
    "Saga",
    "SagaAbort",
    "SagaBusy",
    "SagaRecord",
    "SagaStore",
    "Step",
    "StepContext",
    "StepRecord",
    "saga_tables",
]

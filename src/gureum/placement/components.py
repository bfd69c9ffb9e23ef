"""Placement's one component."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gureum.core.api import ApiComponent
from gureum.core.db import Database
from gureum.core.http.dispatch import Authenticator
from gureum.core.run import Runtime
from gureum.keystone.components import token_checker
from gureum.placement.config import PlacementOptions
from gureum.placement.logic.world import KnownWorld
from gureum.placement.service import SERVICE

PORT = 8778


@dataclass(frozen=True, slots=True)
class Deps:
    """What Placement's verbs are handed."""

    db: Database
    options: PlacementOptions
    known: KnownWorld = field(default_factory=KnownWorld)


class PlacementApi(ApiComponent):
    """The Placement API."""

    name = "placement-api"
    service = SERVICE
    port = PORT

    def make_deps(self, runtime: Runtime, databases: dict[str, Database]) -> Deps:
        """Collect options and database."""
        return Deps(databases[""], runtime.config.get(PlacementOptions))

    def authenticator(self, runtime: Runtime, deps: Any) -> Authenticator:
        """Ask Keystone as the user placement."""
        return token_checker(runtime, "placement")

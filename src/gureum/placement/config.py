"""Placement's options."""

from dataclasses import dataclass

from gureum.core.config import option, section


@section("placement", "The placement service.")
@dataclass(frozen=True, slots=True)
class PlacementOptions:
    """General settings."""

    max_allocation_candidates: int = option(
        "Most candidates that one request works out; protects memory with wide provider trees.",
        default=1000,
        min=1,
        max=100000,
    )
    incomplete_consumer_project_id: str = option(
        "Project of consumers that old requests did not name.",
        default="00000000-0000-0000-0000-000000000000",
    )
    incomplete_consumer_user_id: str = option(
        "User of consumers that old requests did not name.",
        default="00000000-0000-0000-0000-000000000000",
    )


OPTIONS = (PlacementOptions,)

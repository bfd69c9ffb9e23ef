"""Works on many items, each on its own.

Owns: the border between one broken item and all others. Must not: know what an item is.
"""

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

STOPPING = "the agent is stopping"


def each(
    ids: Collection[str], work: Callable[[str], str], workers: int, stopping: Callable[[], bool]
) -> dict[str, str]:
    """Call `work` for every id; return its text, or what it raised, by id. Empty text: all is well."""

    def guarded(item: str) -> str:
        if stopping():
            return STOPPING
        try:
            return work(item)
        except Exception as error:  # border: an agent's worker
            return f"{type(error).__name__}: {error}"

    ordered = sorted(ids)
    if len(ordered) < 2 or workers < 2:
        return {item: guarded(item) for item in ordered}
    with ThreadPoolExecutor(workers, "network-item") as pool:
        return dict(zip(ordered, pool.map(guarded, ordered), strict=True))

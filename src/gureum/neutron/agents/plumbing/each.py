"""Works on many items, each on its own.

Owns: the border between one broken item and all others. Must not: know what an item is.
"""

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor


def each(
    ids: Collection[str], work: Callable[[str], str], workers: int, stopping: Callable[[], bool]
) -> dict[str, str]:
    """Call `work` for every id; return its text, or what it raised, by id. Empty text: all is well.

    When the agent stops, what was not begun is left out of the answer.
    """

    def guarded(item: str) -> str | None:
        if stopping():
            return None
        try:
            return work(item)
        except Exception as error:  # border: an agent's worker
            return f"{type(error).__name__}: {error}"

    ordered = sorted(ids)
    if len(ordered) < 2 or workers < 2:
        texts = [guarded(item) for item in ordered]
    else:
        with ThreadPoolExecutor(workers, "network-item") as pool:
            texts = list(pool.map(guarded, ordered))
    return {item: text for item, text in zip(ordered, texts, strict=True) if text is not None}

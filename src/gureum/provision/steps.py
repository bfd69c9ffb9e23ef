"""Steps with progress: what `gureum up` is made of.

Owns: `Step`, running them in order, what the user sees meanwhile. Must not: know what a step does.
Every step may be run again at any time: it looks first and acts on the difference.
"""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TextIO, TypeVar

T = TypeVar("T")


class StepFailed(Exception):
    """A step could not do its work. `text` says what happened, `fix` what to do about it."""

    def __init__(self, text: str, fix: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """One thing to bring about. `do` returns a few words on what it found or did."""

    title: str
    do: Callable[[T, "Progress"], str]


class Progress:
    """What the user sees of one step: its title, what it is at, seconds, the result."""

    def __init__(self, head: str, stream: TextIO) -> None:
        self._head = head
        self._stream = stream
        self._live = stream.isatty()
        self._begun = time.monotonic()
        self._at = ""
        self._ended = threading.Event()
        self._lock = threading.Lock()
        if self._live:
            threading.Thread(target=self._tick, name="progress", daemon=True).start()

    def at(self, what: str) -> None:
        """Say what the step is doing now."""
        with self._lock:
            changed = what != self._at
            self._at = what
        if changed and not self._live:
            self._stream.write(f"{self._head} {what} ...\n")
            self._stream.flush()

    def end(self, result: str, *, ok: bool = True) -> None:
        """Say how it went."""
        self._ended.set()
        seconds = f"{time.monotonic() - self._begun:6.1f} s"
        mark = "" if ok else "FAILED: "
        with self._lock:
            start = "\r\x1b[K" if self._live else ""
            self._stream.write(f"{start}{self._head} {mark}{result:<54} {seconds}\n")
            self._stream.flush()

    def _tick(self) -> None:
        while not self._ended.wait(0.2):
            with self._lock:
                if self._ended.is_set():
                    return
                seconds = time.monotonic() - self._begun
                self._stream.write(f"\r\x1b[K{self._head} {self._at} {seconds:.0f} s")
                self._stream.flush()


def run(steps: Sequence[Step[T]], subject: T, stream: TextIO = sys.stdout) -> float:
    """Run the steps in order; returns the seconds they took. Raises: StepFailed."""
    begun = time.monotonic()
    width = max(len(step.title) for step in steps)
    for number, step in enumerate(steps, start=1):
        progress = Progress(f"[{number:2}/{len(steps)}] {step.title:<{width}}", stream)
        try:
            result = step.do(subject, progress)
        except StepFailed as error:
            progress.end(error.text.splitlines()[0][:200], ok=False)
            raise
        except BaseException:
            progress.end("interrupted", ok=False)
            raise
        progress.end(result)
    return time.monotonic() - begun

"""The one way to start another program.

Owns: argument lists, timeouts, captured output. Must not: use a shell, or run without a timeout.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Completed:
    """What a finished command left behind."""

    args: tuple[str, ...]
    code: int
    stdout: str
    stderr: str


class CommandError(Exception):
    """A command did not do what was asked of it."""

    def __init__(self, args: Sequence[str], text: str) -> None:
        super().__init__(f"{' '.join(args)}: {text}")
        self.command = tuple(args)
        self.text = text


class CommandFailed(CommandError):
    """The command ended with an exit code that was not expected."""

    def __init__(self, done: Completed) -> None:
        super().__init__(
            done.args, f"exit {done.code}: {done.stderr.strip() or done.stdout.strip()}"
        )
        self.done = done


class CommandTimeout(CommandError):
    """The command was still running when its time was up; its process group was killed."""


class Runner:
    """Runs commands as argument lists, with a stated timeout."""

    def run(
        self,
        args: Sequence[str],
        *,
        timeout_s: float,
        input: bytes | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        ok_codes: Sequence[int] = (0,),
        cwd: str | None = None,
    ) -> Completed:
        """Run to the end and return its output.

        Raises: CommandFailed (unexpected exit code, or the program is missing), CommandTimeout.
        """
        full_env = {**os.environ, "LC_ALL": "C", **(env or {})}
        try:
            process = subprocess.Popen(
                list(args),
                stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=full_env,
                cwd=cwd,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise CommandFailed(Completed(tuple(args), 127, "", str(error))) from error
        try:
            out, err = process.communicate(input, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise CommandTimeout(args, f"no end after {timeout_s} s") from error
        done = Completed(
            tuple(args),
            process.returncode,
            out.decode(errors="replace"),
            err.decode(errors="replace"),
        )
        if check and done.code not in ok_codes:
            raise CommandFailed(done)
        return done


@dataclass
class FakeRunner(Runner):
    """A Runner for tests: answers from a function and remembers what was asked."""

    answer: Callable[[tuple[str, ...], bytes | None], str | Completed] = lambda args, input: ""
    calls: list[tuple[str, ...]] = field(default_factory=list)

    def run(
        self,
        args: Sequence[str],
        *,
        timeout_s: float,
        input: bytes | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        ok_codes: Sequence[int] = (0,),
        cwd: str | None = None,
    ) -> Completed:
        """Record the call and return the scripted answer."""
        self.calls.append(tuple(args))
        answer = self.answer(tuple(args), input)
        done = answer if isinstance(answer, Completed) else Completed(tuple(args), 0, answer, "")
        if check and done.code not in ok_codes:
            raise CommandFailed(done)
        return done

"""Answers leave in one packet, in order, whole."""

import asyncio
from typing import Any

from gureum.core.http.cork import Corked


class Sink:
    """Stands for a socket's transport."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, name: str) -> str:
        return f"of {name}"


def played(play: Any) -> Sink:
    async def main() -> Sink:
        sink = Sink()
        play(Corked(sink, asyncio.get_running_loop()))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return sink

    return asyncio.run(main())


def test_head_and_body_are_one_write() -> None:
    def play(corked: Corked) -> None:
        corked.write(b"head")
        corked.write(b"body")

    assert played(play).writes == [b"headbody"]


def test_a_head_alone_leaves_when_the_loop_comes_round() -> None:
    assert played(lambda corked: corked.write(b"head")).writes == [b"head"]


def test_two_answers_keep_their_order() -> None:
    def play(corked: Corked) -> None:
        for part in (b"1", b"2", b"3"):
            corked.write(part)

    assert played(play).writes == [b"12", b"3"]


def test_a_large_body_is_not_copied() -> None:
    large = b"x" * (1 << 20)

    def play(corked: Corked) -> None:
        corked.write(b"head")
        corked.write(large)

    writes = played(play).writes
    assert writes[0] == b"head"
    assert writes[1] is large


def test_close_sends_what_is_held_first() -> None:
    def play(corked: Corked) -> None:
        corked.write(b"head")
        corked.close()

    sink = played(play)
    assert sink.writes == [b"head"]
    assert sink.closed


def test_everything_else_is_the_transport() -> None:
    seen: list[str] = []
    played(lambda corked: seen.append(corked.get_extra_info("peername")))
    assert seen == ["of peername"]

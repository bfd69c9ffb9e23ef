"""Bodies that are streamed in and out: in order, read ahead, and left alone when nobody wants the rest."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gureum.core.http.dispatch import Needs
from gureum.core.http.edge import App, Pools
from gureum.core.http.messages import Request, Response
from gureum.core.spec.operations import File

PIECE = b"x" * 700_000


class Uploads:
    """Stands for a dispatcher whose every operation streams."""

    service = SimpleNamespace(max_body_bytes=1000)

    def __init__(self, answer: Callable[[Request], Response]) -> None:
        self.handle = answer

    def needs(self, request: Request) -> Needs:
        return Needs(slow=True, upload=True, at_once=False)


@pytest.fixture
def pools():
    pools = Pools(2, 2)
    yield pools
    pools.close()


def played(
    pools: Pools, answer: Callable[[Request], Response], messages: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], int]:
    """Return what was sent, and how many messages were taken."""
    sent: list[dict[str, Any]] = []
    left = list(messages)

    async def receive() -> dict[str, Any]:
        return left.pop(0) if left else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "PUT", "path": "/x", "query_string": b"", "headers": [],
        "scheme": "http",
    }  # fmt: skip
    app = App(Uploads(answer), pools)  # type: ignore[arg-type]
    asyncio.run(asyncio.wait_for(app(scope, receive, send), 20))
    return sent, len(messages) - len(left)


def pieces(count: int) -> list[dict[str, Any]]:
    return [
        {"type": "http.request", "body": PIECE, "more_body": number < count - 1}
        for number in range(count)
    ]


def test_every_byte_comes_once_and_in_order(pools):
    got: list[bytes] = []

    def take(request: Request) -> Response:
        got.extend(request.stream.chunks())
        return Response(204)

    numbered = [
        {"type": "http.request", "body": bytes([number]) * 300_000, "more_body": number < 19}
        for number in range(20)
    ]
    sent, _ = played(pools, take, numbered)
    assert b"".join(got) == b"".join(bytes([number]) * 300_000 for number in range(20))
    assert sent[0]["status"] == 204


def test_a_handler_that_wants_no_more_answers_at_once(pools):
    def refuse(request: Request) -> Response:
        next(iter(request.stream.chunks()))
        return Response(409)

    sent, taken = played(pools, refuse, pieces(50))
    assert sent[0]["status"] == 409
    assert taken <= 6  # what was read ahead, not all of it


def test_a_client_that_goes_away_is_an_error_of_the_handler(pools):
    seen: list[str] = []

    def take(request: Request) -> Response:
        try:
            for _ in request.stream.chunks():
                pass
        except ConnectionError as error:
            seen.append(str(error))
        return Response(500)

    played(pools, take, [*pieces(3)[:2], {"type": "http.disconnect"}])
    assert seen == ["the client went away"]


def test_an_empty_body_has_no_pieces(pools):
    got: list[bytes] = []

    def take(request: Request) -> Response:
        got.extend(request.stream.chunks())
        return Response(204)

    played(pools, take, [{"type": "http.request", "body": b"", "more_body": False}])
    assert got == []


def test_a_part_of_a_file_is_sent_whole(pools, tmp_path: Path):
    content = bytes(range(256)) * 40_000
    path = tmp_path / "file"
    path.write_bytes(content)
    part = File(str(path), 1000, 9_000_000)
    sent, _ = played(pools, lambda request: Response(200, file=part), [])
    assert b"".join(message.get("body", b"") for message in sent) == content[1000:9_001_000]

#!/usr/bin/env python3
"""Hand connections on between two places, each `tcp:HOST:PORT` or `unix:PATH`; a pair for each pair of words.

A Unix socket is reached from every network namespace, so two of these carry a cloud's ports into a namespace
that has no route to it.
"""

import asyncio
import contextlib
import sys


async def _open(place: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    kind, _, where = place.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(where)
    host, _, port = where.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
        sink.write_eof()


async def _serve(here: str, there: str) -> None:
    under_way: set[asyncio.Task[None] | None] = set()  # the loop itself would forget them

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way.add(asyncio.current_task())
        try:
            far_reader, far_writer = await _open(there)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        for end in (writer, far_writer):
            end.close()
        under_way.discard(asyncio.current_task())

    kind, _, where = here.partition(":")
    if kind == "unix":
        server = await asyncio.start_unix_server(connected, where)
    else:
        host, _, port = where.rpartition(":")
        server = await asyncio.start_server(connected, host, int(port))
    async with server:
        await server.serve_forever()


async def main(words: list[str]) -> None:
    """Serve every pair until the process is ended."""
    await asyncio.gather(*map(_serve, words[::2], words[1::2]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

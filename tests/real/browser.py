"""A headless Chromium, driven through its DevTools protocol, to see a page as a person does."""

import asyncio
import base64
import contextlib
import itertools
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

from websockets.asyncio.client import connect

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--window-size=900,600",
)


def chromium() -> str | None:
    """Return the browser's path if it is installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextlib.contextmanager
def browser() -> Iterator[str]:
    """Start a browser with an empty profile; yields its DevTools address."""
    program = chromium()
    assert program is not None
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, *ARGUMENTS, f"--user-data-dir={profile}", "about:blank"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stderr is not None
            for line in process.stderr:
                found = re.search(r"DevTools listening on (ws://\S+)", line)
                if found:
                    yield found[1]
                    return
            raise AssertionError("Chromium did not start")
        finally:
            process.terminate()
            process.wait(20)


def screenshot(address: str, url: str, ready: str, deadline_s: float) -> bytes:
    """Open a page, wait until the JavaScript expression `ready` is true, and return a PNG.

    Raises: TimeoutError, naming what the page said last.
    """
    return asyncio.run(_screenshot(address, url, ready, deadline_s))


async def _screenshot(address: str, url: str, ready: str, deadline_s: float) -> bytes:
    numbers = itertools.count(1)
    async with connect(address, max_size=None) as socket:

        async def call(method: str, session: str | None = None, **params: Any) -> Any:
            number = next(numbers)
            message: dict[str, Any] = {"id": number, "method": method, "params": params}
            if session:
                message["sessionId"] = session
            await socket.send(json.dumps(message))
            async for text in socket:
                answer = json.loads(text)
                if answer.get("id") == number:
                    assert "error" not in answer, answer
                    return answer["result"]
            raise AssertionError("the browser went away")

        target = (await call("Target.createTarget", url=url))["targetId"]
        session = (await call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        last = None
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    answer = await call(
                        "Runtime.evaluate", session, expression=ready, returnByValue=True
                    )
                    last = answer["result"].get("value")
                    if last is True:
                        break
                    await asyncio.sleep(0.5)
        except TimeoutError as error:
            raise TimeoutError(f"{url} was not ready; last: {last!r}") from error
        shot = await call("Page.captureScreenshot", session, format="png")
        return base64.b64decode(shot["data"])

"""The console proxy with real WebSockets and a real backend on loopback."""

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from gureum.core.listen import HttpListeners
from gureum.core.metrics import Metrics
from gureum.nova.console.config import NovncProxyOptions
from gureum.nova.console.contract import ConsoleAuth, ConsoleTarget
from gureum.nova.console.proxy import NovncProxy

GREETING = b"RFB 003.008\n"


class Screen:
    """A guest's screen: greets, then does what `talk` does."""

    def __init__(self, talk: Callable[[socket.socket], None]) -> None:
        outer = self
        self.connections = 0
        self.open = 0
        self.changed = threading.Condition()

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with outer.changed:
                    outer.connections += 1
                    outer.open += 1
                try:
                    self.request.sendall(GREETING)
                    talk(self.request)
                except OSError:
                    pass
                finally:
                    with outer.changed:
                        outer.open -= 1
                        outer.changed.notify_all()

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_closed(self) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.open == 0, timeout=10)


def echo(peer: socket.socket) -> None:
    while data := peer.recv(65536):
        peer.sendall(data)


class Auth(ConsoleAuth):
    """Tokens by hand."""

    def __init__(self) -> None:
        self.targets: dict[str, ConsoleTarget] = {}
        self.after_first: dict[str, ConsoleTarget] = {}
        self.deleted: set[str] = set()

    def validate(self, token: str) -> ConsoleTarget | None:
        found = self.targets.get(token)
        if token in self.after_first:
            self.targets[token] = self.after_first.pop(token)
        return found

    def session_alive(self, server_id: str) -> bool:
        return server_id not in self.deleted


class Proxy:
    """A running proxy."""

    def __init__(self, web: Path, talk: Callable[[socket.socket], None] = echo) -> None:
        self.screen = Screen(talk)
        self.auth = Auth()
        self.auth.targets["good"] = ConsoleTarget("server-1", "127.0.0.1", self.screen.port)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.base = f"http://console.test:{self.port}"
        options = NovncProxyOptions(
            web=str(web),
            allowed_origins=("dashboard.test",),
            session_check_s=0.1,
            connect_timeout_s=2,
            max_sessions=3,
        )
        self.app = NovncProxy(options, f"{self.base}/vnc_lite.html", self.auth)
        self.listeners = HttpListeners(Metrics(), dict, drain_s=1)
        self.listeners.mount("novncproxy", "127.0.0.1", self.port, self.app, websockets=True)
        self.listeners.open()
        self.listeners.serve()

    def close(self) -> None:
        self.listeners.drain()
        self.app.close()
        self.screen.server.shutdown()

    def console(self, token: str = "good", path: str = "/?token=", **changes) -> ClientConnection:
        """Open a console as a browser at the proxy's own page does."""
        options = {"origin": self.base, "subprotocols": ["binary"], "max_size": None} | changes
        sock = socket.create_connection(("127.0.0.1", self.port))
        host = options.pop("host", f"console.test:{self.port}")
        return connect(f"ws://{host}{path}{token}", sock=sock, proxy=None, **options)

    def get(self, path: str) -> tuple[int, bytes, bytes]:
        """Send a path as it is, which an ordinary client would tidy up."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            sock.sendall(head.encode("latin-1"))
            data = b""
            while chunk := sock.recv(65536):
                data += chunk
        head_bytes, _, body = data.partition(b"\r\n\r\n")
        return int(head_bytes.split()[1]), head_bytes, body


@pytest.fixture
def web(tmp_path: Path) -> Path:
    folder = tmp_path / "web"
    (folder / "core").mkdir(parents=True)
    (folder / "vnc_lite.html").write_text("<title>noVNC</title>")
    (folder / "core" / "rfb.js").write_text("export {}")
    (folder / "secret.conf").write_text("x")
    (tmp_path / "outside.html").write_text("secret")
    (folder / "link.html").symlink_to(tmp_path / "outside.html")
    return folder


@pytest.fixture
def proxy(web: Path) -> Iterator[Proxy]:
    made = Proxy(web)
    yield made
    made.close()


def refused(proxy: Proxy, **changes) -> bool:
    with pytest.raises(InvalidStatus) as caught:
        proxy.console(**changes)
    assert caught.value.response.status_code == 403
    return proxy.screen.connections == 0


def test_console_carries_bytes_both_ways(proxy: Proxy) -> None:
    with proxy.console() as console:
        assert console.subprotocol == "binary"
        assert console.recv() == GREETING
        for message in (b"\x00\x01\xff", b"x" * 300_000):
            console.send(message)
            got = b""
            while len(got) < len(message):
                got += console.recv(timeout=10)
            assert got == message
    proxy.screen.wait_closed()


def test_console_opens_without_subprotocol_and_at_novncs_other_path(proxy: Proxy) -> None:
    with proxy.console(path="/websockify?token=", subprotocols=None) as console:
        assert console.recv() == GREETING


def test_token_works_while_it_lives_for_its_server_only(proxy: Proxy) -> None:
    other = Screen(lambda peer: peer.sendall(b"other"))
    proxy.auth.targets["other"] = ConsoleTarget("server-2", "127.0.0.1", other.port)
    with proxy.console("other") as console:
        console.recv()
    assert proxy.screen.connections == 0
    other.server.shutdown()


@pytest.mark.parametrize("token", ["bad", "", "good&token=bad", "x" * 500, "%00", "good%20"])
def test_wrong_token_is_refused(proxy: Proxy, token: str) -> None:
    assert refused(proxy, token=token)


def test_token_at_another_path_is_refused(proxy: Proxy) -> None:
    assert refused(proxy, path="/other?token=")


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.test",
        "http://console.test.evil.test",
        "http://console.test",
        "https://evil.test:6080",
        "null",
        "file://",
        "http://console.test@evil.test",
    ],
)
def test_abuse_25_page_of_another_origin_is_refused(proxy: Proxy, origin: str) -> None:
    assert refused(proxy, origin=origin)


def test_abuse_25_host_header_does_not_widen_the_allowed_origins(proxy: Proxy) -> None:
    assert refused(proxy, host="evil.test:6080", origin="http://evil.test:6080")


def test_configured_origin_is_allowed(proxy: Proxy) -> None:
    with proxy.console(origin="https://dashboard.test") as console:
        assert console.recv() == GREETING


def test_client_that_is_no_browser_sends_no_origin(proxy: Proxy) -> None:
    with proxy.console(origin=None) as console:
        assert console.recv() == GREETING


def test_abuse_25_port_that_became_another_guests_is_not_shown(proxy: Proxy) -> None:
    proxy.auth.after_first["good"] = ConsoleTarget("server-1", "127.0.0.1", 1)
    with pytest.raises(InvalidStatus):
        proxy.console()
    proxy.screen.wait_closed()


def test_screen_that_does_not_listen_is_refused(proxy: Proxy) -> None:
    proxy.auth.targets["dead"] = ConsoleTarget("server-3", "127.0.0.1", 1)
    with pytest.raises(InvalidStatus):
        proxy.console("dead")


def test_console_closes_when_its_server_is_deleted(proxy: Proxy) -> None:
    with proxy.console() as console:
        console.recv()
        proxy.auth.deleted.add("server-1")
        with pytest.raises(ConnectionClosed) as caught:
            console.recv(timeout=10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1008
    proxy.screen.wait_closed()


def test_console_closes_when_the_screen_goes_away(web: Path) -> None:
    proxy = Proxy(web, talk=lambda peer: None)
    with proxy.console() as console:
        assert console.recv() == GREETING
        with pytest.raises(ConnectionClosed):
            console.recv(timeout=10)
    proxy.close()


def test_text_frame_closes_the_console(proxy: Proxy) -> None:
    with proxy.console() as console:
        console.recv()
        console.send("text")
        with pytest.raises(ConnectionClosed) as caught:
            console.recv(timeout=10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1003


def test_sessions_are_bounded(proxy: Proxy) -> None:
    with proxy.console(), proxy.console(), proxy.console(), pytest.raises(InvalidStatus):
        proxy.console()
    proxy.screen.wait_closed()
    deadline = time.monotonic() + 10
    while True:
        try:
            with proxy.console():
                return
        except InvalidStatus:
            assert time.monotonic() < deadline


def raw_console(proxy: Proxy) -> socket.socket:
    """A console of which the test itself decides when a byte is read."""
    peer = socket.create_connection(("127.0.0.1", proxy.port), timeout=2)
    peer.sendall(
        b"GET /?token=good HTTP/1.1\r\nHost: console.test:%d\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n\r\n" % proxy.port
    )
    assert peer.recv(12) == b"HTTP/1.1 101"
    return peer


def settled(value: Callable[[], int]) -> int:
    """Return a growing value once it stands still."""
    pause, before = threading.Event(), -1
    for _ in range(200):
        if value() == before:
            break
        before = value()
        pause.wait(0.3)
    return before


def test_slow_browser_slows_the_screen_down(web: Path) -> None:
    sent = [0]

    def flood(peer: socket.socket) -> None:
        while sent[0] < 256 << 20:
            peer.sendall(bytes(1 << 16))
            sent[0] += 1 << 16

    proxy = Proxy(web, talk=flood)
    with raw_console(proxy):
        assert 0 < settled(lambda: sent[0]) < 64 << 20
    proxy.screen.wait_closed()
    proxy.close()


def test_slow_screen_slows_the_browser_down(web: Path) -> None:
    end = threading.Event()
    proxy = Proxy(web, talk=lambda peer: end.wait(60) and None)
    frame = b"\x82\xff" + (1 << 16).to_bytes(8, "big") + bytes(4) + bytes(1 << 16)
    sent = 0
    with raw_console(proxy) as peer, pytest.raises(TimeoutError):
        while sent < 256 << 20:
            peer.sendall(frame)
            sent += len(frame)
    assert sent < 64 << 20
    end.set()
    proxy.screen.wait_closed()
    proxy.close()


def test_static_files_are_served(proxy: Proxy) -> None:
    answer = httpx.get(f"http://127.0.0.1:{proxy.port}/vnc_lite.html?path=%3Ftoken%3Dgood")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
    script = httpx.get(f"http://127.0.0.1:{proxy.port}/core/rfb.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert httpx.head(f"http://127.0.0.1:{proxy.port}/core/rfb.js").content == b""
    assert httpx.post(f"http://127.0.0.1:{proxy.port}/vnc_lite.html").status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/core",
        "/core/",
        "/../outside.html",
        "/core/../../outside.html",
        "/%2e%2e/outside.html",
        "/..%2foutside.html",
        "/link.html",
        "/secret.conf",
        "/vnc_lite.html%00.js",
        "/core\\rfb.js",
        "//evil.test/%2e%2e",
        "//evil.test/..",
        "//vnc_lite.html",
    ],
)
def test_abuse_25_path_tricks_find_nothing_and_never_redirect(proxy: Proxy, path: str) -> None:
    status, head, body = proxy.get(path)
    assert status in (400, 404)
    assert b"location:" not in head.lower()
    assert b"secret" not in body


@pytest.mark.skipif(
    not Path("/usr/share/novnc/vnc_lite.html").exists(), reason="noVNC is not installed"
)
def test_debians_novnc_is_served_whole() -> None:
    proxy = Proxy(Path("/usr/share/novnc"))
    for path in ("/vnc_lite.html", "/vnc.html", "/core/rfb.js", "/vendor/pako/lib/zlib/inflate.js"):
        assert httpx.get(f"http://127.0.0.1:{proxy.port}{path}").status_code == 200
    proxy.close()

"""Tokens known among processes: never wrong when memcached is gone, stale, emptied or poisoned."""

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from pymemcache.client.base import Client

from gureum.core.cache import BadCacheOptions, CacheOptions, SharedCache
from gureum.core.http.client import HttpReply
from gureum.core.spec.errors import Unauthorized
from gureum.keystone.client import TokenChecker

SECRET = "a secret of more than sixteen"
PROGRAM = shutil.which("memcached")

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Debian's memcached is missing")


class Server:
    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        words = [PROGRAM or "", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-u", "nobody"]
        self.process = subprocess.Popen(words)
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert time.monotonic() < deadline
            threading.Event().wait(0.02)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def raw(self) -> Client:
        return Client(("127.0.0.1", self.port), default_noreply=False)


@pytest.fixture(scope="module")
def memcached():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def server(memcached):
    if memcached.process is None:
        memcached.start()
    memcached.raw.flush_all()
    return memcached


def cache(server, **more):
    secret = more.pop("secret", SECRET)
    return SharedCache(CacheOptions((f"127.0.0.1:{server.port}",), secret), **more)


class Keystone:
    """Knows tokens; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.valid = {"tok": "alice"}
        self.expires = datetime.now(UTC) + timedelta(hours=1)
        self.credentials = SimpleNamespace(auth_url="http://keystone/v3")
        self.http = self

    def token(self) -> str:
        return "own"

    def request(self, method, url, *, headers):
        self.asked += 1
        user = self.valid.get(headers["x-subject-token"])
        if user is None:
            return HttpReply(404, {}, b"")
        expires = self.expires.isoformat().replace("+00:00", "Z")
        body = f'{{"token": {{"user": {{"id": "{user}", "name": "{user}"}}, "expires_at": "{expires}",'
        body += '"project": {"id": "p"}, "roles": [{"name": "member"}]}}'
        return HttpReply(200, {}, body.encode())


@pytest.fixture
def keystone():
    return Keystone()


def checker(keystone, shared, cache_s=5.0):
    return TokenChecker(keystone, cache_s=cache_s, shared=shared)


def user(one, token="tok"):
    return one.authenticate(token, None, "req").user_id


def test_a_token_checked_by_one_process_is_known_to_the_others(server, keystone):
    first, second = (checker(keystone, cache(server)) for _ in range(2))
    assert user(first) == user(second) == "alice"
    assert keystone.asked == 1
    known = second.authenticate("tok", None, "req")
    assert (known.roles, known.project_id, known.token) == (("member",), "p", "tok")
    assert known.expires_at == keystone.expires


def test_an_invalid_token_is_never_shared(server, keystone):
    for _ in range(2):
        with pytest.raises(Unauthorized):
            user(checker(keystone, cache(server)), "nonsense")
    assert keystone.asked == 2
    assert server.raw.get(cache(server)._key("token", "nonsense")) is None


def test_no_token_and_no_secret_stands_in_memcached(server, keystone):
    keystone.valid["gAAAAunique"] = "alice"
    user(checker(keystone, cache(server)), "gAAAAunique")
    key = _only_key(server)
    assert "unique" not in key
    assert b"unique" not in server.raw.get(key) and SECRET.encode() not in server.raw.get(key)


def _only_key(server):
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(b"lru_crawler metadump all\r\n")
        text = b""
        while b"END" not in text:
            text += line.recv(4096)
    words = text.decode().split()
    return next(word[4:] for word in words if word.startswith("key=")).replace("%3A", ":")


def test_a_revocation_is_seen_after_the_time_of_one_cache_not_of_two(server, keystone):
    first = checker(keystone, cache(server), cache_s=0.6)
    begun = time.monotonic()
    user(first)
    keystone.valid.clear()
    with pytest.raises(Unauthorized):  # each process that looks keeps the age, not a fresh time
        while time.monotonic() - begun < 3:
            user(checker(keystone, cache(server), cache_s=0.6))
            threading.Event().wait(0.05)
    assert 0.5 < time.monotonic() - begun < 1.5


def test_an_old_entry_put_back_counts_as_none(server, keystone):
    now = [time.time()]
    shared = cache(server, wall_clock=lambda: now[0])
    shared.set("token", "tok", b"x", 5.0)
    kept = server.raw.get(_only_key(server))
    assert shared.get("token", "tok", 5.0) == b"x"
    now[0] += 6
    server.raw.set(_only_key(server), kept)
    assert shared.get("token", "tok", 5.0) is None
    now[0] -= 60  # and one from the future too
    assert shared.get("token", "tok", 5.0) is None


@pytest.mark.parametrize("secret", ["another secret of sixteen or so"])
def test_poisoned_entries_are_ignored(server, keystone, secret):
    shared = cache(server)
    keystone.valid["admin-tok"] = "root"
    user(checker(keystone, shared), "admin-tok")
    admin_key = _only_key(server)
    stolen = server.raw.get(admin_key)
    key = shared._key("token", "tok")
    forger = cache(server, secret=secret)
    body = b"forged"
    stamp = int(time.time() * 1e6).to_bytes(8, "big")
    for value in (
        b"",
        b"short",
        stolen,  # somebody else's valid entry under my key
        forger._sign(key, stamp, body) + stamp + body,
        stolen[:-1] + bytes([stolen[-1] ^ 1]),
    ):
        server.raw.set(key, value)
        assert shared.get("token", "tok", 5.0) is None
        assert user(checker(keystone, cache(server))) == "alice"


def test_without_memcached_everything_goes_on_and_it_is_left_alone(server, keystone):
    now = [0.0]
    shared = cache(server, clock=lambda: now[0])
    user(checker(keystone, shared))
    server.stop()
    begun = time.monotonic()
    assert user(checker(keystone, shared)) == "alice"
    assert keystone.asked == 2
    for _ in range(200):  # nobody waits for it again and again
        shared.get("token", "tok", 5.0)
    assert time.monotonic() - begun < 3
    server.start()
    now[0] += 6
    user(checker(keystone, shared))
    assert user(checker(keystone, cache(server))) == "alice"
    assert keystone.asked == 3


def test_an_emptied_memcached_costs_a_question(server, keystone):
    shared = cache(server)
    user(checker(keystone, shared))
    server.raw.flush_all()
    user(checker(keystone, shared))
    assert keystone.asked == 2


def test_a_token_that_expires_is_refused_although_it_is_known(server, keystone):
    keystone.expires = datetime.now(UTC) + timedelta(seconds=0.4)
    user(checker(keystone, cache(server)))
    threading.Event().wait(0.5)
    keystone.valid.clear()
    with pytest.raises(Unauthorized):
        user(checker(keystone, cache(server)))


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(BadCacheOptions, match="16 characters"):
        SharedCache(CacheOptions(("127.0.0.1:11211",), "short"))
    with pytest.raises(BadCacheOptions, match="write it as"):
        SharedCache(CacheOptions(("localhost",), SECRET))

"""What several processes may know together, in memcached.

Owns: keys and values that whoever reads or writes memcached can neither understand, guess nor forge, and
being without it. Must not: be the truth; every caller can do without an answer.

A key is an HMAC of what it stands for. A value carries the moment it was written and an HMAC over both,
so that a forged, swapped or old one counts as none. A server that does not answer is left alone for a while.
"""

import hashlib
import hmac
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from gureum.core import log
from gureum.core.config import option, section

LOG = log.get(__name__)

LEAVE_ALONE_S = 5.0
TIMEOUT_S = 0.25
_MAC = 32
_HEAD = _MAC + 8


@section("cache", "memcached, shared by all processes.")
@dataclass(frozen=True, slots=True)
class CacheOptions:
    """Where it is, and how what stands there is kept from being forged."""

    servers: tuple[str, ...] = option(
        "Addresses of memcached, such as 127.0.0.1:11211; none: every process remembers for itself.",
        default=(),
    )
    secret_key: str = option(
        "Secret that entries are signed with; the same for all processes, needed with `servers`.",
        default="",
        secret=True,
    )
    token_cache_time: float = option(
        "How long a checked token counts; a revocation is seen after at most that time.",
        default=5.0,
        unit="s",
        min=0,
        max=300,
    )


class BadCacheOptions(ValueError):
    """The section [cache] cannot be used."""


class SharedCache:
    """A cache of bytes. Thread-safe. Every method is quick and never raises for a server's sake."""

    def __init__(
        self,
        options: CacheOptions,
        *,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from pymemcache.client.hash import HashClient  # only where it is used
        from pymemcache.exceptions import MemcacheError

        if len(options.secret_key) < 16:
            raise BadCacheOptions("[cache] secret_key needs 16 characters or more with `servers`")
        self._errors: tuple[type[BaseException], ...] = (MemcacheError, OSError, ValueError)
        self._secret = options.secret_key.encode()
        self._wall_clock = wall_clock
        self._clock = clock
        self._lock = threading.Lock()
        self._alone_until = float("-inf")
        self._client = HashClient(
            [_address(server) for server in options.servers],
            connect_timeout=TIMEOUT_S,
            timeout=TIMEOUT_S,
            use_pooling=True,
            max_pool_size=8,
            retry_attempts=0,
            dead_timeout=LEAVE_ALONE_S,
            ignore_exc=False,
            default_noreply=False,  # what is set or forgotten here counts before this goes on
        )

    def get(self, kind: str, name: str, max_age_s: float) -> bytes | None:
        """What was set for a name at most `max_age_s` ago, or None."""
        key = self._key(kind, name)
        value = self._ask(lambda: self._client.get(key))
        if value is None:
            return None
        if not isinstance(value, bytes) or len(value) < _HEAD:
            LOG.warning("cache entry is not ours and ignored", kind=kind)
            return None
        stamp, body = value[_MAC:_HEAD], value[_HEAD:]
        if not hmac.compare_digest(value[:_MAC], self._sign(key, stamp, body)):
            LOG.warning("cache entry is forged or of another secret and ignored", kind=kind)
            return None
        age_s = self._wall_clock() - int.from_bytes(stamp, "big") / 1e6
        if not -1.0 <= age_s <= max_age_s:  # one from the future is another machine's wrong clock
            return None
        return body

    def set(self, kind: str, name: str, body: bytes, max_age_s: float) -> None:
        """Remember for at most `max_age_s`."""
        key = self._key(kind, name)
        stamp = int(self._wall_clock() * 1e6).to_bytes(8, "big")
        value = self._sign(key, stamp, body) + stamp + body
        self._ask(lambda: self._client.set(key, value, expire=max(1, int(max_age_s + 1))))

    def delete(self, kind: str, name: str) -> None:
        """Forget."""
        key = self._key(kind, name)
        self._ask(lambda: self._client.delete(key))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _key(self, kind: str, name: str) -> str:
        digest = hmac.new(self._secret, f"key\0{kind}\0{name}".encode("utf-8", "replace"), hashlib.sha256)
        return f"gureum:{kind}:{digest.hexdigest()}"

    def _sign(self, key: str, stamp: bytes, body: bytes) -> bytes:
        return hmac.new(self._secret, b"value\0" + key.encode() + stamp + body, hashlib.sha256).digest()

    def _ask(self, question: Callable[[], object]) -> object:
        """Ask, unless the servers did not answer a moment ago."""
        if self._clock() < self._alone_until:
            return None
        try:
            return question()
        except self._errors as error:
            with self._lock:
                self._alone_until = self._clock() + LEAVE_ALONE_S
            LOG.warning("memcached does not answer", error=str(error), again_s=LEAVE_ALONE_S)
            return None


def _address(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    if not host or not port.isdigit():
        raise BadCacheOptions(f"[cache] servers: {server!r}; write it as 127.0.0.1:11211")
    return host.strip("[]"), int(port)

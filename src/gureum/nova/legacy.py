"""The API under its old name: /v2 is /v2.1 without microversions.

Follows: Compute API reference, "Versions". Owns: the ASGI wrapper that rewrites such requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

OLD = "/v2/"
NEW = "/v2.1/"
_VERSION_HEADERS = (b"openstack-api-version", b"x-openstack-nova-api-version")

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Any]


class LegacyPaths:
    """Serves /v2/… with the application of /v2.1/… at its lowest microversion."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(
        self,
        scope: Scope,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Rewrite the path of an old request."""
        path = scope.get("path", "")
        if scope["type"] == "http" and path.startswith(OLD) and len(path) > len(OLD):
            scope = dict(scope)
            scope["path"] = NEW + path[len(OLD) :]
            raw = scope.get("raw_path")
            if raw:
                scope["raw_path"] = raw.replace(OLD.encode(), NEW.encode(), 1)
            scope["headers"] = [
                pair for pair in scope["headers"] if pair[0].lower() not in _VERSION_HEADERS
            ]
        await self._app(scope, receive, send)

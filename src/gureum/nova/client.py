"""The typed client of Nova: what other services tell and ask it. Follows: Compute API v2.1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gureum.core.http.client import RemoteError
from gureum.keystone.client import Session, error_text


@dataclass(frozen=True, slots=True)
class ExternalEvent:
    """Something that happened to a server's port; `tag` is the port."""

    name: str
    server_id: str
    tag: str | None = None
    status: str = "completed"


class NovaClient:
    """Calls the Compute API as a service user."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def send_events(self, events: Sequence[ExternalEvent]) -> list[int]:
        """Tell Nova what happened; returns a code for each event: 200, or why not.

        Raises: RemoteUnavailable, RemoteError.
        """
        path = "/os-server-external-events"
        body = {
            "events": [
                {
                    "name": event.name,
                    "server_uuid": event.server_id,
                    "status": event.status,
                    **({"tag": event.tag} if event.tag is not None else {}),
                }
                for event in events
            ]
        }
        reply = self._session.request("POST", "compute", path, json=body)
        if reply.status not in (200, 207):
            raise RemoteError("POST", path, reply.status, error_text(reply))
        return [int(event["code"]) for event in reply.json()["events"]]

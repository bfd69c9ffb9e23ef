"""In front of the dispatcher: errors as HTML for clients that do not ask for JSON.

The Image API has always answered like this, and its own command-line client reads the HTML form. Must not:
change what succeeds, or a status.
"""

from __future__ import annotations

import html
from http import HTTPStatus

import msgspec

from gureum.core.http.dispatch import Dispatcher, Needs
from gureum.core.http.messages import Request, Response
from gureum.core.service import Service

_JSON = "application/json"


class Front(Dispatcher):
    """Passes everything to a dispatcher, and negotiates the form of its errors."""

    def __init__(self, inner: Dispatcher) -> None:
        self._inner = inner
        self.service: Service = inner.service

    def needs(self, request: Request) -> Needs:
        """See `Dispatcher.needs`."""
        return self._inner.needs(request)

    def handle(self, request: Request) -> Response:
        """Answer a request; never raises."""
        response = self._inner.handle(request)
        if response.status < 400 or "json" in request.headers.get("accept", ""):
            return response
        kinds = [value for name, value in response.headers if name.lower() == "content-type"]
        if kinds == [_JSON] and response.body:
            _as_html(response)
        return response


def _as_html(response: Response) -> None:
    title = f"{response.status} {HTTPStatus(response.status).phrase}"
    message = html.escape(str(msgspec.json.decode(response.body).get("message", "")))
    page = (
        f"<html>\n <head>\n  <title>{title}</title>\n </head>\n <body>\n  <h1>{title}</h1>\n"
        f"  {message}<br /><br />\n </body>\n</html>"
    )
    response.body = page.encode()
    response.headers = [
        (name, "text/html; charset=UTF-8" if name.lower() == "content-type" else value)
        for name, value in response.headers
    ]

"""A web server of a test, in a thread of this process, on loopback."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class HttpServer:
    """Answers by a class of handlers, to which it is known as `world`."""

    def __init__(self, handler, address="127.0.0.1", port=0):
        bound = type(handler.__name__, (handler,), {"world": self})
        self._server = ThreadingHTTPServer((address, port), bound)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class Handler(BaseHTTPRequestHandler):
    """Keeps connections and says nothing."""

    protocol_version = "HTTP/1.1"
    world = None

    def log_message(self, *args):
        pass

"""A web server in a thread, for what downloads and locations read."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web:
    """Serves `pages` by path; redirects by `moved`. `asked` is what came, as (path, host header)."""

    def __init__(self):
        self.pages = {}
        self.moved = {}
        self.cut = set()
        self.asked = []
        owner = self

        class Handler(_Handler):
            web = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def url(self, path, host="images.example.org"):
        return f"http://{host}:{self.port}{path}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web = None

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.web.asked.append((self.path, self.headers["host"]))
        if self.path in self.web.moved:
            self.send_response(302)
            self.send_header("Location", self.web.moved[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = self.web.pages.get(self.path)
        if content is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if asked:
            first, last = int(asked[1]), int(asked[2] or len(content) - 1)
            part = content[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
        else:
            part = content
            self.send_response(200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.path in self.web.cut:
            self.wfile.write(part[: len(part) // 2])
            self.close_connection = True
            return
        self.wfile.write(part)

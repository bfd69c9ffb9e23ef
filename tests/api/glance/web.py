"""A web server in a thread, for what downloads and locations read."""

import re

from http_server import Handler, HttpServer


class Web(HttpServer):
    """Serves `pages` by path; redirects by `moved`. `asked` is what came, as (path, host header)."""

    def __init__(self, address="127.0.0.1", port=0):
        self.pages = {}
        self.moved = {}
        self.cut = set()
        self.asked = []
        super().__init__(_Handler, address, port)

    def url(self, path, host="images.example.org"):
        return f"http://{host}:{self.port}{path}"


class _Handler(Handler):
    def do_GET(self):
        self.world.asked.append((self.path, self.headers["host"]))
        if self.path in self.world.moved:
            self.send_response(302)
            self.send_header("Location", self.world.moved[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = self.world.pages.get(self.path)
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
        if self.path in self.world.cut:
            self.wfile.write(part[: len(part) // 2])
            self.close_connection = True
            return
        self.wfile.write(part)

"""A small server that speaks what the Swift driver asks: Keystone v3 tokens, containers, objects, ranges,
static large objects. It is no Swift: it keeps everything in memory and checks what the driver may get wrong.
"""

import hashlib
import json
import re
from urllib.parse import parse_qs, unquote, urlsplit

from http_server import Handler, HttpServer


class SmallSwift(HttpServer):
    """Runs in a thread; `url` is Keystone's, `objects` is what is kept, by container and name."""

    def __init__(self):
        self.objects = {}
        self.tokens = set()
        self.logins = 0
        self.fail_next = []
        super().__init__(_Handler)
        self.url = f"http://127.0.0.1:{self.port}/v3"


class _Handler(Handler):
    def _answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self):
        if self.headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def do_POST(self):
        asked = json.loads(self._body())["auth"]
        user = asked["identity"]["password"]["user"]
        if (user["name"], user["password"]) != ("images", "secret"):
            return self._answer(401)
        assert asked["scope"]["project"]["name"] == "service"
        self.world.logins += 1
        token = f"token-{self.world.logins}"
        self.world.tokens = {token}
        end = {
            "interface": "public",
            "region_id": "one",
            "url": f"http://127.0.0.1:{self.world.port}/v1/AUTH_service",
        }
        catalog = [{"type": "object-store", "endpoints": [end]}]
        body = json.dumps({"token": {"catalog": catalog}}).encode()
        return self._answer(201, body, X_Subject_Token=token)

    def _place(self):
        parts = urlsplit(self.path)
        found = re.fullmatch(r"/v1/AUTH_service/([^/]+)(?:/(.+))?", unquote(parts.path))
        return found[1], found[2], {k: v[0] for k, v in parse_qs(parts.query).items()}

    def _refused(self, body):
        if self.headers.get("x-auth-token") not in self.world.tokens:
            self._answer(401)
            return True
        if self.world.fail_next:
            self._answer(self.world.fail_next.pop(0))
            return True
        return False

    def do_PUT(self):
        body = self._body()
        if self._refused(body):
            return None
        container, name, query = self._place()
        if name is None:
            self.world.objects.setdefault(container, {})
            return self._answer(201)
        if container not in self.world.objects:
            return self._answer(404)
        if query.get("multipart-manifest") == "put":
            segments = json.loads(body)
            for row in segments:
                _, held, inner = row["path"].split("/", 2)
                content = self.world.objects[held][inner][0]
                assert len(content) == row["size_bytes"] <= 1 << 30
                assert hashlib.md5(content).hexdigest() == row["etag"]
            self.world.objects[container][name] = (None, segments)
            return self._answer(201)
        self.world.objects[container][name] = (body, None)
        return self._answer(201, ETag=hashlib.md5(body).hexdigest())

    def _content(self, container, name):
        body, segments = self.world.objects[container][name]
        if segments is None:
            return body
        parts = (row["path"].split("/", 2) for row in segments)
        return b"".join(self.world.objects[held][inner][0] for _, held, inner in parts)

    def do_GET(self):
        if self._refused(b""):
            return None
        container, name, query = self._place()
        kept = self.world.objects.get(container)
        if kept is None or (name is not None and name not in kept):
            return self._answer(404)
        if name is None and self.command == "HEAD":  # as Swift 2.30 does, chunk and all
            self.send_response(204)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            return self.wfile.write(b"0\r\n\r\n")
        if name is None:
            rows = [{"name": n} for n in sorted(kept) if n.startswith(query.get("prefix", ""))]
            return self._answer(200, json.dumps(rows).encode())
        content, large = self._content(container, name), kept[name][1] is not None
        extra = {"X_Static_Large_Object": "True"} if large else {}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if asked:
            first = int(asked[1])
            last = min(int(asked[2]) if asked[2] else len(content) - 1, len(content) - 1)
            if first >= len(content):
                return self._answer(416)
            return self._answer(206, content[first : last + 1], **extra)
        if self.command == "HEAD":
            return self._answer(200, b"", Content_Length=str(len(content)), **extra)
        return self._answer(200, content, **extra)

    do_HEAD = do_GET

    def do_DELETE(self):
        if self._refused(b""):
            return None
        container, name, query = self._place()
        kept = self.world.objects.get(container, {})
        if name not in kept:
            return self._answer(404)
        _, segments = kept.pop(name)
        if segments and query.get("multipart-manifest") == "delete":
            for row in segments:
                _, held, inner = row["path"].split("/", 2)
                self.world.objects[held].pop(inner, None)
        return self._answer(204 if not segments else 200)

"""Swift itself on one machine: one replica, one device, every server a process of its own on loopback.

Owns: rings, settings, processes, a folder on a file system with extended attributes. In front of it stands a
door that speaks as much of Keystone v3 as a login takes, and gets its tokens from Swift's own tempauth.
Must not: touch /etc/swift or a Swift of this machine: the servers have a mount namespace of their own.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from http_server import Handler, HttpServer
from loopback import free_port

START_S = 60.0
PROGRAMS = (
    "swift-proxy-server",
    "swift-account-server",
    "swift-container-server",
    "swift-object-server",
)
_KINDS = ("account", "container", "object")
_RINGS = """
import sys
from swift.common.ring import RingBuilder
for kind, port in zip(("account", "container", "object"), sys.argv[2:]):
    made = RingBuilder(4, 1, 0)
    made.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1",
                  "weight": 1, "replication_ip": "127.0.0.1", "replication_port": int(port), "meta": ""})
    made.rebalance()
    made.get_ring().save(f"{sys.argv[1]}/{kind}.ring.gz")
"""
_BACK = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
devices = {folder}/devices
mount_check = false
swift_dir = {folder}/etc
user = root
workers = 0
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
_PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}/etc
user = root
workers = 0
[pipeline:main]
pipeline = catch_errors cache tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_service_images = secret .admin
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:slo]
use = egg:swift#slo
min_segment_size = 1
[filter:catch_errors]
use = egg:swift#catch_errors
"""
_SWIFT = """
[swift-hash]
swift_hash_path_suffix = test
swift_hash_path_prefix = test
[storage-policy:0]
name = one
default = yes
"""


def missing():
    """Return why Swift cannot run here; empty when it can."""
    absent = [name for name in (*PROGRAMS, "memcached", "unshare") if shutil.which(name) is None]
    if absent:
        return f"{', '.join(absent)} is not installed (apt-get install swift-proxy swift-account …)"
    if os.geteuid() != 0:
        return "a mount namespace over /etc/swift needs root"
    return ""


class SwiftLab:
    """A Swift; `url` is the door's, as a Keystone's. A context manager."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="gureum-swift-", dir="/var/tmp"))
        self._processes = []
        self._door = None

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error):
        self.close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._door.port}/v3"

    def _start(self):
        etc = self.folder / "etc"
        etc.mkdir()
        (self.folder / "devices" / "d1").mkdir(parents=True)
        probe = self.folder / "probe"
        probe.touch()
        os.setxattr(probe, "user.swift", b"1")
        ports = {name: free_port() for name in (*_KINDS, "proxy", "memcached")}
        (etc / "swift.conf").write_text(_SWIFT)
        for kind in _KINDS:
            text = _BACK.format(kind=kind, port=ports[kind], folder=self.folder)
            (etc / f"{kind}-server.conf").write_text(text)
        text = _PROXY.format(port=ports["proxy"], folder=self.folder, memcached=ports["memcached"])
        (etc / "proxy-server.conf").write_text(text)
        words = ["/usr/bin/python3", "-c", _RINGS, str(etc), *(str(ports[kind]) for kind in _KINDS)]
        self._run(self._inside(words))
        self._spawn(["memcached", "-u", "root", "-l", "127.0.0.1", "-p", str(ports["memcached"])])
        for name in PROGRAMS:
            kind = name.split("-")[1]
            self._spawn(
                self._inside(
                    ["/usr/bin/python3", shutil.which(name), str(etc / f"{kind}-server.conf")]
                )
            )
        self._door = _KeystoneDoor(f"http://127.0.0.1:{ports['proxy']}")
        self._wait()

    def _inside(self, words):
        bind = f'mount --bind "{self.folder}/etc" /etc/swift && exec "$@"'
        return ["unshare", "-m", "--", "sh", "-c", bind, "sh", *words]

    def _run(self, words):
        subprocess.run(words, check=True, timeout=START_S, capture_output=True)

    def _spawn(self, words):
        with (self.folder / "log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
            )

    def _wait(self):
        """Wait until a container can be made."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                url, token = self._door.log_in()
                asked = urllib.request.Request(
                    f"{url}/ready", method="PUT", headers={"X-Auth-Token": token}
                )
                with urllib.request.urlopen(asked, timeout=10):
                    return
            except OSError as error:
                dead = [p for p in self._processes if p.poll() is not None]
                if dead or time.monotonic() > deadline:
                    log = (self.folder / "log").read_text(errors="replace")[-3000:]
                    raise RuntimeError(f"Swift does not start: {error}\n{log}") from error
                time.sleep(0.1)

    def close(self):
        """End every process and remove the folder."""
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if self._door is not None:
            self._door.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class _KeystoneDoor(HttpServer):
    """Logs in at tempauth, and answers as Keystone v3 does."""

    def __init__(self, swift):
        self.swift = swift
        super().__init__(_DoorHandler)

    def log_in(self, user="service:images", key="secret"):
        """Return (storage URL, token). Raises: OSError."""
        headers = {"X-Auth-User": user, "X-Auth-Key": key}
        asked = urllib.request.Request(f"{self.swift}/auth/v1.0", headers=headers)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.headers["X-Storage-Url"], answer.headers["X-Auth-Token"]


class _DoorHandler(Handler):
    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers["content-length"])))["auth"]
        user = given["identity"]["password"]["user"]
        name = f"{given['scope']['project']['name']}:{user['name']}"
        try:
            url, token = self.world.log_in(name, user["password"])
        except OSError:
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        end = {"interface": "public", "region_id": "one", "url": url}
        catalog = [{"type": "object-store", "endpoints": [end]}]
        body = json.dumps({"token": {"catalog": catalog}}).encode()
        self.send_response(201)
        self.send_header("X-Subject-Token", token)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

#!/usr/bin/env python3
"""Send and fetch one large image, beside a plain copy through a loopback socket in the same run.

Owns: the ratio of both, the memory and the processor time of the server meanwhile. The copy is one process
that sends to another, with pieces of 1 MiB, as `dd` through a socket would. The digests are computed alone
too: md5 and sha512 of every byte bound what an upload can reach.

usage: bench/streams.py --auth-url URL --password PASSWORD [--mib 2048] [--pid PID]
"""

import argparse
import hashlib
import multiprocessing
import os
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

from cloud import Cloud

MIB = 1 << 20
PIECE = bytes(range(256)) * 4096
DIGEST_MIB = 256


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--auth-url", required=True)
    parser.add_argument("--user", default="admin")
    parser.add_argument("--password", required=True)
    parser.add_argument("--project", default="admin")
    parser.add_argument("--mib", type=int, default=2048)
    parser.add_argument("--pid", type=int, help="the server's, for its memory and processor time")
    args = parser.parse_args()
    cloud = Cloud(args.auth_url, args.user, args.password, args.project)
    copied = _copy(args.mib)
    print(f"loopback copy   {copied:7.0f} MiB/s")
    for name in ("md5", "sha512"):
        print(f"{name} alone    {_digest(name):7.0f} MiB/s on one thread")
    body = {"name": "stream", "disk_format": "raw", "container_format": "bare"}
    id = cloud.call("POST", "image", "/images", body)["id"]
    try:
        for word, act in (("sent", _send), ("fetched", _fetch)):
            used, most = _spent(args.pid), 0.0
            begun = time.monotonic()
            for _ in act(cloud, f"/images/{id}/file", args.mib):
                most = max(most, _resident_mib(args.pid))
            speed = args.mib / (time.monotonic() - begun)
            line = f"image {word:8}  {speed:7.0f} MiB/s, {speed / copied:4.0%} of the copy"
            if args.pid:
                cost = (_spent(args.pid) - used) * 1000 / args.mib
                line += f", {cost:.2f} ms of processor time a MiB, {most:.0f} MiB resident"
            print(line)
    finally:
        cloud.call("DELETE", "image", f"/images/{id}")


def _copy(mib: int) -> float:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = multiprocessing.Process(target=_pour, args=(server.getsockname(), mib))
        sender.start()
        taken, room, left = server.accept()[0], memoryview(bytearray(MIB)), mib * MIB
        begun = time.monotonic()
        with taken:
            while left:
                left -= taken.recv_into(room)
        spent = time.monotonic() - begun
        sender.join()
    return mib / spent


def _pour(place: tuple[str, int], mib: int) -> None:
    with socket.create_connection(place) as wire:
        for _ in range(mib):
            wire.sendall(PIECE)


def _digest(name: str) -> float:
    digest, begun = hashlib.new(name, usedforsecurity=False), time.thread_time()
    for _ in range(DIGEST_MIB):
        digest.update(PIECE)
    return DIGEST_MIB / (time.thread_time() - begun)


def _open(cloud: Cloud, method: str, tail: str, length: int | None) -> socket.socket:
    parts = urlsplit(cloud.url("image"))
    lines = [f"{method} {cloud.path('image', tail)} HTTP/1.1", f"host: {parts.netloc}"]
    lines += [f"x-auth-token: {cloud.token}", "connection: close"]
    if length is not None:
        lines += ["content-type: application/octet-stream", f"content-length: {length}"]
    wire = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 80), 300)
    wire.sendall("\r\n".join((*lines, "", "")).encode())
    return wire


def _send(cloud: Cloud, tail: str, mib: int):
    with _open(cloud, "PUT", tail, mib * MIB) as wire:
        for number in range(mib):
            wire.sendall(PIECE)
            if number % 64 == 0:
                yield
        answer = wire.recv(65536)
    if not answer.startswith(b"HTTP/1.1 204"):
        raise SystemExit(f"the upload was answered {answer[:300]!r}")


def _fetch(cloud: Cloud, tail: str, mib: int):
    with _open(cloud, "GET", tail, None) as wire:
        head = b""
        while b"\r\n\r\n" not in head:
            head += wire.recv(65536)
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"the download was answered {head[:300]!r}")
        room, left, turn = memoryview(bytearray(MIB)), mib * MIB, 0
        left -= len(head.partition(b"\r\n\r\n")[2])
        while left:
            left -= wire.recv_into(room)
            turn += 1
            if turn % 256 == 0:
                yield


def _spent(pid: int | None) -> float:
    if not pid:
        return 0.0
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mib(pid: int | None) -> float:
    if not pid:
        return 0.0
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


if __name__ == "__main__":
    main()

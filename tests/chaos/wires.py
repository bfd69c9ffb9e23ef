"""A wire between a client and a server that can go dead without being cut, or be cut."""

import contextlib
import socket
import threading


class Wire:
    """Forwards TCP connections of loopback to a port. `freeze`: what is connected stays so, nothing passes;
    new connections pass. `cut`: every connection ends."""

    def __init__(self, target):
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                client.close()
                continue
            frozen = threading.Event()
            with self._lock:
                self._open.append((client, server, frozen))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, sink, frozen), daemon=True).start()

    def _pass(self, source, sink, frozen):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not frozen.is_set():
                    sink.sendall(data)
        if frozen.is_set():
            return  # the other end is never told
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def freeze(self):
        """Let nothing pass on the present connections; returns how many there are."""
        with self._lock:
            for _, _, frozen in self._open:
                frozen.set()
            return len(self._open)

    def cut(self):
        """End every connection."""
        with self._lock:
            ends = [end for pair in self._open for end in pair[:2]]
            self._open.clear()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self):
        self._listener.close()
        self.cut()

"""A TCP port before a server that can be taken away in each way in which servers go."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class Proxy:
    """Leads to `target` until told otherwise."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self._flows = threading.Event()
        self._flows.set()
        # Freeze by itself before passing on what has this in it.
        self.freeze_at: bytes | None = None
        self._open: set[socket.socket] = set()
        self.port = 0
        self._listen()

    def freeze(self) -> None:
        """Connections are accepted, and nothing is ever said."""
        self._flows.clear()

    def is_frozen(self) -> bool:
        return not self._flows.is_set()

    def refuse(self) -> None:
        """Connections are refused, and those that are there end."""
        # A thread that waits in accept() keeps a closed socket listening.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def drop(self) -> None:
        """Connections that are there end."""
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        self._flows.set()
        if self._listener.fileno() < 0:
            self._listen()

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client = listener.accept()[0]
                server = socket.create_connection(self.target)
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        self._open.add(source)
        try:
            with suppress(OSError):
                while data := source.recv(65536):
                    if self.freeze_at and self.freeze_at in data:
                        self.freeze_at = None
                        self.freeze()
                    self._flows.wait()
                    sink.sendall(data)
        finally:
            self._open.discard(source)
            with suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)
            source.close()


@contextmanager
def before(url: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy before the server of `url`, and the URL that leads through it."""
    parts = urlsplit(url)
    host, port = str(parts.hostname), int(parts.port or 0)
    proxy = Proxy((host, port))
    try:
        yield proxy, url.replace(f"{host}:{port}", f"127.0.0.1:{proxy.port}")
    finally:
        proxy.restore()
        proxy.refuse()

"""Gunicorn's answers in one piece: header and body leave in a single write.

Gunicorn writes them one after the other. A worker that is killed in between has begun an answer
that nobody can finish or, once nginx has passed the header on, ask another worker for.
"""

from typing import Any

from gunicorn.http import wsgi


class _Kept:
    """Takes what would be sent, and keeps it."""

    def __init__(self) -> None:
        self.data = b""

    def sendall(self, data: bytes) -> None:
        self.data += data


class Response(wsgi.Response):  # type: ignore[misc]
    """Holds the header back until the body's first bytes, or the end, go with it."""

    sock: Any
    _header = b""

    def send_headers(self) -> None:
        if self.headers_sent:
            return
        socket, self.sock = self.sock, _Kept()
        try:
            super().send_headers()
        finally:
            kept, self.sock = self.sock, socket
        self._header = kept.data

    def _emit_body(self, data: bytes) -> None:
        if self.chunked:
            self._flush()
        else:
            data, self._header = self._header + data, b""
        super()._emit_body(data)

    def sendfile(self, respiter: Any) -> bool:
        # A file goes from kernel to socket, past us.
        self.send_headers()
        self._flush()
        return bool(super().sendfile(respiter))

    def close(self) -> None:
        self.send_headers()
        self._flush()
        super().close()

    def _flush(self) -> None:
        if self._header:
            header, self._header = self._header, b""
            self.sock.sendall(header)


def install() -> None:
    """Make gunicorn's WSGI workers answer so."""
    wsgi.Response = Response

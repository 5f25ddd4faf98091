"""What gunicorn itself puts on the wire: whole answers, and refusals as problem documents."""

import json
import secrets
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from gunicorn import util
from gunicorn.config import Config
from gunicorn.http import message as messages
from gunicorn.http import wsgi
from gunicorn.http.parser import Parser

from slipway import headers
from slipway.problems import CONTENT_TYPE, members
from slipway.telemetry import tracing

_CONSTANT = frozenset(headers.DEFAULTS.items())


@lru_cache(maxsize=1)
def _date_of(second: int) -> str:
    return formatdate(second, usegmt=True)


def _date() -> str:
    """As the header `Date` has it: the same for all answers of a second."""
    return _date_of(int(time.time()))


class _Kept:
    """Takes what would be sent, and keeps it."""

    def __init__(self) -> None:
        self.data = b""

    def sendall(self, data: bytes) -> None:
        self.data += data


class Response(wsgi.Response):  # type: ignore[misc]
    """Sends header and body in one piece: the header waits for the body's first bytes, or the end.

    Gunicorn writes one after the other. A worker that is killed in between has begun an answer
    that nobody can finish or, once nginx has passed the header on, ask another worker for.
    """

    sock: Any
    headers: list[tuple[str, str]]
    _header = b""

    def process_headers(self, said: list[tuple[str, str]]) -> None:
        # Gunicorn checks each for what no header may have; these never change, or are hexadecimal.
        ours: list[tuple[str, str]] = []
        others: list[tuple[str, str]] = []
        for line in said:
            is_id = line[0] == tracing.HEADER and line[1].isalnum()
            (ours if is_id or line in _CONSTANT else others).append(line)
        super().process_headers(others)
        self.headers += ours

    def send_headers(self) -> None:
        if self.headers_sent:
            return
        socket, self.sock = self.sock, _Kept()
        try:
            super().send_headers()
        finally:
            kept, self.sock = self.sock, socket
        self._header = kept.data

    def default_headers(self) -> list[str]:
        # What serves here is nobody's business.
        lines: list[str] = super().default_headers()
        del lines[1]
        return lines

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


def refuse(socket: Any, status: int, reason: str, message: str) -> None:
    """Answer a request that is no HTTP, which never reaches the application."""
    trace_id = secrets.token_hex(16)
    body = json.dumps(members(status, message or reason, trace_id)) + "\n"
    header = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        "Connection: close\r\n"
        f"Content-Type: {CONTENT_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"{tracing.HEADER}: {trace_id}\r\n"
        + "".join(f"{name}: {value}\r\n" for name, value in headers.DEFAULTS.items())
        + "\r\n"
    )
    util.write_nonblock(socket, (header + body).encode())


def _without_body(finish_body: Callable[..., bool]) -> Callable[..., bool]:
    """Skips what is left of a request's body, which asks the socket, unless nothing can be."""

    def finish(parser: Any, *limits: Any, **more: Any) -> bool:
        reader = parser.mesg and parser.mesg.body.reader
        return getattr(reader, "length", None) == 0 or finish_body(parser, *limits, **more)

    return finish


def _unless_nobody(is_in: Callable[..., bool]) -> Callable[..., bool]:
    """Parses the caller's address, unless there is no list that it could be in."""
    return lambda address, allowed, networks: bool(allowed) and is_in(address, allowed, networks)


def install() -> None:
    """Make gunicorn's WSGI workers answer so; it has no setting for any of it."""
    wsgi.Response = Response
    util.write_error = refuse
    util.http_date = _date
    messages._ip_in_allow_list = _unless_nobody(messages._ip_in_allow_list)
    Parser.finish_body = _without_body(Parser.finish_body)


def at_hand(settings: Config) -> None:
    """Let gunicorn's settings be attributes: it looks up some twenty at each request, each by name.

    To be called in the worker, once they are what they will be.
    """
    vars(settings).update({name: setting.get() for name, setting in settings.settings.items()})

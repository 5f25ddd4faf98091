"""Logs: one JSON object a line on standard output, from every process and every library.

A line says of which trace, request or task it is; that comes from the request or task itself, so
that no thread tells of the one before. Whatever a client sends stays inside of one line, shorter
than 4 KiB (PIPE_BUF): processes share a pipe, in which longer ones might mix. On a terminal, in
development, the same is readable.
"""

import logging
import os
import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from select import PIPE_BUF
from typing import Any, TextIO

import orjson
import structlog
from celery import current_task
from flask import Flask, has_request_context, request
from flask.logging import default_handler
from gunicorn import glogging
from structlog.typing import EventDict, WrappedLogger

from slipway.settings import Settings
from slipway.telemetry import tracing
from slipway.telemetry.metrics import ROUTE, UNMATCHED, route

FIELDS = ("timestamp", "level", "event", "logger", "trace_id", "span_id", "request_id")
LINE_BYTES = 4000
# Access lines that follow each other more closely are written together, seconds.
TOGETHER_SECONDS = 0.02
# Of a millisecond: rounding takes as long as writing the line.
TENTH = timedelta(microseconds=100)
# A traceback keeps its end, which says what happened and where; other texts keep their beginning.
TRACEBACK_CHARACTERS = 2000
TEXT_CHARACTERS = 500

# What was done to the request on purpose, if anything was.
FAULT = "slipway.fault"

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
# Passwords in addresses, tokens, and what libraries print as `password=…`.
_SECRETS = re.compile(
    r"(?<=://)[^/@\s]*:[^/@\s]*(?=@)"
    r"|(?<=Bearer )[\w.~+/-]+=*"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|(?<=password=)[^\s&,;]+|(?<=token=)[^\s&,;]+|(?<=secret=)[^\s&,;]+",
    re.IGNORECASE,
)

# Those that would say more than anybody wants, or what the access line says already.
LEVELS = {
    # Readiness asks for the schema's revision; `migrate` lets it speak.
    "alembic": "WARNING",
    "alembic.runtime.plugins": "WARNING",
    "authlib": "INFO",
    "celery.utils.functional": "WARNING",
    "kombu": "WARNING",
    "opentelemetry": "ERROR",
    # SQLAlchemy names a pool's log by the class of the pool.
    "slipway.telemetry.saturation.Pool": "WARNING",
    "sqlalchemy": "WARNING",
    "urllib3": "WARNING",
    "waitress": "WARNING",
}


def _origin(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Whose line it is: the ids of the trace, the request or the task."""
    if "trace_id" not in line:
        line["trace_id"], line["span_id"] = tracing.current()
    if has_request_context():
        line.setdefault("request_id", request_id(request.environ))
        line.setdefault("route", route(request))
    elif current_task and current_task.request.id:
        line.setdefault("task", current_task.name)
        line.setdefault("task_id", current_task.request.id)
    line.setdefault("request_id", "")
    return line


def request_id(environ: Mapping[str, Any]) -> str:
    """The id by which nginx knows a request; empty where there is none that could be one."""
    name = environ.get("HTTP_X_REQUEST_ID", "")
    return name if name and _REQUEST_ID.fullmatch(name) else ""


def without_secrets(text: str) -> str:
    """A text without the passwords and tokens that libraries put into their messages."""
    return _SECRETS.sub("…", text)


def _clean(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    # Celery's own, with a task's arguments, which may be somebody's mail.
    line.pop("data", None)
    for name in ("event", "exception"):
        if text := line.get(name):
            line[name] = without_secrets(str(text))
    return line


def _render(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
    """The line, in the order of the contract, and bounded."""
    whole = {**{name: line.get(name, "") for name in FIELDS}, **line}
    # Left in the record by who formatted it before.
    for name in ("message", "asctime"):
        whole.pop(name, None)
    return _dumped(whole).decode()


def _dumped(whole: EventDict) -> bytes:
    try:
        rendered = orjson.dumps(whole, default=str)
    except orjson.JSONEncodeError:
        # Text that is no Unicode, such as half of a pair; a number beyond 64 bits.
        rendered = orjson.dumps({name: _printable(value) for name, value in whole.items()})
    if len(rendered) > LINE_BYTES:
        rendered = orjson.dumps({name: _short(name, value) for name, value in whole.items()})
    if len(rendered) > LINE_BYTES:
        # Escapes make a text longer than its characters.
        rendered = orjson.dumps({name: _ascii(value) for name, value in whole.items()})
    return rendered


_readable = structlog.dev.ConsoleRenderer(colors=True)


def _printable(value: object) -> str:
    return str(value).encode(errors="replace").decode()


def _short(name: str, value: object) -> object:
    if isinstance(value, int | float | None):
        return value
    text = _printable(value)
    if name == "exception":
        return text[-TRACEBACK_CHARACTERS:]
    return text[:TEXT_CHARACTERS]


def _ascii(value: object) -> object:
    """So little that twenty of them fit into a line."""
    if isinstance(value, int | float | None):
        return value
    return re.sub(r"[^ -~]|[\"\\]", "?", str(value))[:120]


def _pre_chain() -> list[Any]:
    return [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _origin,
        structlog.processors.format_exc_info,
        _clean,
    ]


class _StandardOutput(logging.StreamHandler[TextIO]):
    """What standard output is at the moment: a test or a command may have put another in place."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.is_readable = False
        self._waiting: deque[bytes] = deque()
        self._told_at = 0.0

    def tell(self, line: EventDict) -> None:
        """Take a line that is whole, and in the order of the contract.

        It is written at once, but for one that comes right after another: those of a busy process
        go together, with the next one after TOGETHER_SECONDS or by `flush`.
        """
        text = _readable(None, "", line).encode() if self.is_readable else _dumped(line)
        self._waiting.append(text + b"\n")
        if time.monotonic() - self._told_at > TOGETHER_SECONDS:
            self.flush()

    def emit(self, record: logging.LogRecord) -> None:
        """Leave nothing in Python's own buffer: a process forked from this would write it again."""
        super().emit(record)
        with suppress(OSError):
            self.stream.flush()

    def flush(self) -> None:
        """Write what waits, in pieces that a pipe takes as one, and without the handler's lock."""
        if not self._waiting:
            return
        self._told_at = time.monotonic()
        piece = b""
        # Other threads take from it, too.
        with suppress(IndexError):
            while True:
                line = self._waiting.popleft()
                if len(piece) + len(line) > PIPE_BUF:
                    self._write(piece)
                    piece = b""
                piece += line
        self._write(piece)

    def _write(self, piece: bytes) -> None:
        # Nobody reads any more: that is no reason to fail the request.
        with suppress(OSError):
            os.write(self.stream.fileno(), piece)

    @property
    def stream(self) -> TextIO:
        return sys.stdout

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise NotImplementedError


# The one of this process.
_output = _StandardOutput()


def flush() -> None:
    """Write the lines that wait for others: for who has nothing to do."""
    _output.flush()


def configure(settings: Settings) -> None:
    """Have everything that this process logs written so; again, it changes nothing."""
    is_readable = settings.environment == "development" and sys.stdout.isatty()
    without_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_pre_chain(),
        processors=[without_meta, _readable if is_readable else _render],
    )
    root = logging.getLogger()
    root.addHandler(_output)
    _output.setFormatter(formatter)
    _output.is_readable = is_readable
    root.setLevel(settings.log_level)
    # Flask's own, which it gives an application that is made before this.
    logging.getLogger("slipway").removeHandler(default_handler)
    for name, level in LEVELS.items():
        logging.getLogger(name).setLevel(max(getattr(logging, level), root.level))
    logging.captureWarnings(True)


@lru_cache(maxsize=1)
def _second(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"


class GunicornLogger(glogging.Logger):  # type: ignore[misc]
    """Gunicorn's own lines among ours, and a line for each request."""

    def _set_handler(self, log: logging.Logger, *_: Any, **__: Any) -> None:
        """In place of gunicorn's own handlers."""
        log.propagate = True

    def _compute_access_log_enabled(self) -> bool:
        self.access_log.propagate = True
        return True

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> None:
        """Without a record for the handlers, which would take longer than the rest of telemetry."""
        if not self.access_log.isEnabledFor(logging.INFO):
            return
        now = time.time()
        second = int(now)
        name, span = environ.get(tracing.IDS, ("", ""))
        fields = {
            "timestamp": f"{_second(second)}.{int((now - second) * 1e6):06d}Z",
            "level": "info",
            "event": "request",
            "logger": self.access_log.name,
            "trace_id": name,
            "span_id": span,
            "request_id": request_id(environ),
            # What is no HTTP has hardly anything.
            "method": environ.get("REQUEST_METHOD", ""),
            "route": environ.get(ROUTE, UNMATCHED),
            "path": environ.get("PATH_INFO", "")[:TEXT_CHARACTERS],
            "status": int(str(resp.status)[:3]),
            "duration_ms": request_time // TENTH / 10,
            "client": environ.get("REMOTE_ADDR", ""),
        }
        if fault := environ.get(FAULT):
            fields["fault"] = fault
        _output.tell(fields)


def _for_nginx(environ: dict[str, Any]) -> list[tuple[str, str]]:
    """Route and span for its line: it cannot know them itself, and keeps them from clients."""
    # A rule may be in any script; a header is ASCII.
    rule = environ.get(ROUTE, UNMATCHED).encode("ascii", "backslashreplace")
    told = [("X-Route", rule.decode())]
    if span := environ[tracing.IDS][1]:
        told.append(("X-Span-Id", span))
    return told


def init_app(app: Flask) -> None:
    """Behind nginx, around `tracing`, which notes the ids."""
    settings: Settings = app.config["SETTINGS"]
    app.logger.setLevel(settings.log_level)
    if not settings.forwarded_hops:
        return
    inner = app.wsgi_app

    def told(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def start(status: str, said: list[tuple[str, str]], *error: Any) -> Any:
            return start_response(status, said + _for_nginx(environ), *error)

        return inner(environ, start)

    app.wsgi_app = told  # type: ignore[method-assign]

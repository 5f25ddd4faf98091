"""One id for a request, the same in the answer, in a problem document, in every log and every span.

It is the trace id of an incoming W3C `traceparent` (https://www.w3.org/TR/trace-context/), else
nginx's id of the request, else new. It goes on to the tasks that a request starts, whether or not
spans are made: for these, OTEL_EXPORTER_OTLP_ENDPOINT names a collector, and OpenTelemetry's other
variables say how.
"""

import os
import re
import secrets
from collections.abc import Iterable
from contextlib import AbstractContextManager
from random import getrandbits
from typing import TYPE_CHECKING, Any, NamedTuple

from celery import current_task
from flask import Flask, current_app, has_request_context, request
from opentelemetry import trace
from opentelemetry.trace import SpanKind, TraceFlags

from slipway.settings import Settings

if TYPE_CHECKING:
    from slipway.telemetry.spans import Spans

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_HEX_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
# Who asks is told the trace's id by it.
HEADER = "X-Trace-Id"
_KEY = "slipway.trace"
# Where the ids of a request's trace and span are noted for gunicorn's log.
IDS = "slipway.ids"
# Those of this process, once it makes any.
_spans: "list[Spans]" = []


class Trace(NamedTuple):
    """Who asks, as far as ids go: the trace, and the caller's span in it, if there is one."""

    id: str
    parent: str | None = None
    sampled: bool = False


def asked(environ: dict[str, Any], settings: Settings) -> Trace:
    """The trace of a request, the same whenever it is asked for."""
    found: Trace | None = environ.get(_KEY)
    if found is None:
        told = environ.get("HTTP_TRACEPARENT")
        if told and (match := _TRACEPARENT.fullmatch(told)):
            found = Trace(match[1], match[2], bool(int(match[3], 16) & TraceFlags.SAMPLED))
        else:
            # By nginx, where it stands in front: its log has no other one to tell.
            name = environ.get("HTTP_X_REQUEST_ID", "") if settings.forwarded_hops else ""
            is_one = name and _HEX_ID.fullmatch(name)
            found = Trace(name if is_one else f"{getrandbits(128):032x}")
        environ[_KEY] = found
    return found


def trace_id() -> str:
    """The trace id of the current request: 32 hexadecimal digits."""
    return asked(request.environ, current_app.config["SETTINGS"]).id


def current() -> tuple[str, str]:
    """The ids of the trace and of the span that this is part of; empty where there is none."""
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        return f"{span.trace_id:032x}", f"{span.span_id:016x}"
    if has_request_context():
        return trace_id(), ""
    if current_task:
        match = _TRACEPARENT.fullmatch(str(carried(current_task.request, "traceparent")))
        return (match[1], "") if match else ("", "")
    return "", ""


def carried(message: Any, name: str) -> Any:
    """A header of a task's message; None without it. Celery gives them in two ways."""
    return getattr(message, name, None) or (getattr(message, "headers", None) or {}).get(name)


def traceparent() -> str:
    """What the next process is told of the current request, or task: a W3C `traceparent`."""
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
    name = current()[0] or secrets.token_hex(16)
    return f"00-{name}-{secrets.token_hex(8)}-00"


def span(name: str) -> AbstractContextManager[object]:
    """A span of what another server does for us, and that no library tells of."""
    # What a server says may name whom a mail is for.
    tracer = trace.get_tracer("slipway")
    return tracer.start_as_current_span(name, kind=SpanKind.CLIENT, record_exception=False)


def init_app(app: Flask) -> None:
    """Give every answer its id. Spans begin with `start`, in the process that serves."""
    settings: Settings = app.config["SETTINGS"]
    inner = app.wsgi_app

    def named(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def start(status: str, said: list[tuple[str, str]], *error: Any) -> Any:
            # Those of its span, where it has one.
            if not (ids := environ.get(IDS)):
                ids = environ[IDS] = asked(environ, settings).id, ""
            return start_response(status, [*said, (HEADER, ids[0])], *error)

        return inner(environ, start)

    app.wsgi_app = named  # type: ignore[method-assign]


def is_wanted() -> bool:
    """Whether the environment names a collector for spans, and does not switch them off."""
    named = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not off and any(os.environ.get(name) for name in named)


def start(app: Flask) -> None:
    """Make spans in this process, if they are wanted: after it was forked, before it serves."""
    if is_wanted():
        # Half a second of imports, for who wants none.
        from slipway.telemetry.spans import Spans  # noqa: PLC0415

        _spans.append(Spans(app))


def end() -> None:
    """Hand over what spans are left, for a while."""
    for spans in _spans:
        spans.end()

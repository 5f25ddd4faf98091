"""Spans of OpenTelemetry, for a collector: of requests, database, Valkey, other services and tasks.

Whether a request is sampled is decided before anything else: one that is not takes the way around
all of it. The request's own span is made here, by the semantic conventions for HTTP
(https://opentelemetry.io/docs/specs/semconv/http/http-spans/): OpenTelemetry's instrumentation of
Flask reads the same attributes twice, and takes longer than most answers do.
"""

import threading
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, got_request_exception
from opentelemetry import context, propagate, trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.utils import unwrap
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import Engine

from slipway import limits
from slipway.database import db
from slipway.settings import Settings
from slipway.telemetry.metrics import METHODS, OTHER, ROUTE, UNMATCHED
from slipway.telemetry.tracing import IDS, Trace, asked

# What an export may take, and what all that is left may take at the end of the process, seconds.
EXPORT_SECONDS = 2
FLUSH_SECONDS = 4

# The id that the next trace of this context gets, where it has one before it begins.
_next_trace_id: ContextVar[int | None] = ContextVar("next_trace_id", default=None)


class _Ids(RandomIdGenerator):
    """Random ids, but for a trace that has had one before its first span."""

    def generate_trace_id(self) -> int:
        return _next_trace_id.get() or super().generate_trace_id()


def _provider(settings: Settings) -> TracerProvider:
    """Spans by OpenTelemetry's variables, exported from a thread of this process."""
    own = {"service.name": "slipway", "service.version": version("slipway")}
    own |= {"service.commit": settings.commit, "deployment.environment.name": settings.environment}
    # What the environment says of the same names counts.
    resource = Resource.create(own).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, id_generator=_Ids(), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(timeout=EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _choice(sampler: Sampler) -> Callable[[int], bool]:
    """Whether a trace that begins here is sampled, by its id."""
    root = getattr(sampler, "_root", sampler)
    if isinstance(root, TraceIdRatioBased):
        # As it does, but for the result that it makes of it, which takes longer.
        bound, mask = root.bound, root.TRACE_ID_LIMIT
        return lambda name: name & mask < bound
    return lambda name: root.should_sample(None, name, "").decision is Decision.RECORD_AND_SAMPLE


class Spans:
    """The spans of this process, from its start to its end."""

    def __init__(self, app: Flask) -> None:
        propagate.set_global_textmap(TraceContextTextMapPropagator())
        self._provider = _provider(app.config["SETTINGS"])
        trace.set_tracer_provider(self._provider)
        with app.app_context():
            SQLAlchemyInstrumentor().instrument(engine=db.engine, enable_commenter=False)
        # It also tells of each connection that any engine gives, of the probes' too.
        unwrap(Engine, "connect")
        if valkey := app.extensions["valkey"]:
            # These alone: neither what workers poll nor what probes ask is anybody's request.
            RedisInstrumentor.instrument_client(valkey.client)
            RedisInstrumentor.instrument_client(limits.client_of_limits(app))
        RequestsInstrumentor().instrument(request_hook=_of_provider)
        CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]
        got_request_exception.connect(_failed)
        self._of_requests(app)

    def _of_requests(self, app: Flask) -> None:
        inner = app.wsgi_app
        tracer = self._provider.get_tracer("slipway")
        is_chosen, settings = _choice(self._provider.sampler), app.config["SETTINGS"]
        # Of no trace, so that `tracing` tells the request's own id.
        unsampled = context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True, context.Context())

        def sampled(
            environ: dict[str, Any], start_response: Any, its: Trace, name: int
        ) -> Iterable[bytes]:
            before = propagate.extract(_carried(environ)) if its.parent else context.Context()
            begins = _next_trace_id.set(name)
            try:
                span = tracer.start_span("HTTP", before, SpanKind.SERVER, _of_request(environ))
            finally:
                _next_trace_id.reset(begins)
            own = span.get_span_context()
            environ[IDS] = f"{own.trace_id:032x}", f"{own.span_id:016x}"

            def start(status: str, said: list[tuple[str, str]], *error: Any) -> Any:
                _answered(span, environ, int(status[:3]))
                return start_response(status, said, *error)

            token = context.attach(trace.set_span_in_context(span, before))
            try:
                return inner(environ, start)
            finally:
                context.detach(token)
                span.end()

        def sampled_or_plain(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            its = asked(environ, settings)
            name = int(its.id, 16)
            if its.sampled if its.parent else is_chosen(name):
                return sampled(environ, start_response, its, name)
            token = context.attach(unsampled)
            try:
                return inner(environ, start_response)
            finally:
                context.detach(token)

        app.wsgi_app = sampled_or_plain  # type: ignore[method-assign]

    def end(self) -> None:
        """Hand over what is left, for a while: a collector that is away holds nobody up."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(FLUSH_SECONDS)


def _carried(environ: dict[str, Any]) -> dict[str, str]:
    """What the caller's request says of its trace."""
    names = ("traceparent", "tracestate")
    return {name: environ.get(f"HTTP_{name.upper()}", "") for name in names}


def _method(environ: dict[str, Any]) -> str:
    """One that HTTP has: clients may invent any number."""
    method: str = environ["REQUEST_METHOD"]
    return method if method in METHODS else f"_{OTHER}"


def _of_request(environ: dict[str, Any]) -> dict[str, str]:
    """Without the query: providers send people back with codes in it."""
    return {
        "http.request.method": _method(environ),
        "url.scheme": environ["wsgi.url_scheme"],
        "url.path": environ.get("PATH_INFO", ""),
        "server.address": environ.get("HTTP_HOST", ""),
        "client.address": environ.get("REMOTE_ADDR", ""),
        "user_agent.original": environ.get("HTTP_USER_AGENT", ""),
    }


def _answered(span: trace.Span, environ: dict[str, Any], status: int) -> None:
    rule = environ.get(ROUTE, UNMATCHED)
    # Metrics are made of spans by their names; a path that nobody serves is no name.
    span.update_name(f"{_method(environ)} {rule}")
    if rule != UNMATCHED:
        span.set_attribute("http.route", rule)
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))


def _failed(_app: Flask, exception: BaseException, **_: Any) -> None:
    """An exception that nobody expected, and that Flask makes a 500 of."""
    trace.get_current_span().record_exception(exception)


def _of_provider(span: trace.Span, message: Any) -> None:
    """Providers are sent codes and tokens in the query. A method alone is Valkey's name, too."""
    url = urlsplit(message.url)
    span.update_name(f"{message.method} {url.hostname}")
    for name in ("http.url", "url.full"):
        span.set_attribute(name, f"{url.scheme}://{url.netloc}{url.path}")

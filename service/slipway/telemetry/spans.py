"""Spans of OpenTelemetry, for a collector: of requests, database, Valkey, other services and tasks.

Whether a request is sampled is decided before anything else: one that is not takes the way around
the instrumentation, which would cost it more than most answers do.
"""

import threading
from collections.abc import Iterable
from contextvars import ContextVar
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, request
from opentelemetry import context, propagate, trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.utils import unwrap
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import Engine

from slipway import limits
from slipway.database import db
from slipway.settings import Settings
from slipway.telemetry.metrics import UNMATCHED
from slipway.telemetry.tracing import asked

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
        self._instrument(app)

    def _instrument(self, app: Flask) -> None:
        plain = app.wsgi_app
        FlaskInstrumentor.instrument_app(  # type: ignore[no-untyped-call]
            app, excluded_urls="", enable_commenter=False, response_hook=_bounded
        )
        instrumented = app.wsgi_app
        # Its hooks come last, and should come first; and they are for sampled requests alone.
        begin: Any = app.before_request_funcs[None].pop()
        end: Any = app.teardown_request_funcs[None].pop()

        def begin_if_sampled() -> None:
            if _is_sampled():
                begin()

        def end_if_sampled(error: BaseException | None) -> None:
            if _is_sampled():
                end(error)

        app.before_request_funcs[None].insert(0, begin_if_sampled)
        app.teardown_request_funcs[None].append(end_if_sampled)
        sampler, settings = self._provider.sampler, app.config["SETTINGS"]
        # Of no trace, so that `tracing` tells the request's own id.
        unsampled = context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True, context.Context())

        def sampled_or_plain(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            its = asked(environ, settings)
            name = int(its.id, 16)
            if its.parent:
                is_sampled = its.sampled
            else:
                decided = sampler.should_sample(None, name, "").decision
                is_sampled = decided is Decision.RECORD_AND_SAMPLE
            if is_sampled:
                environ["slipway.sampled"] = True
                begins = _next_trace_id.set(name)
                try:
                    return instrumented(environ, start_response)
                finally:
                    _next_trace_id.reset(begins)
            token = context.attach(unsampled)
            try:
                return plain(environ, start_response)
            finally:
                context.detach(token)

        app.wsgi_app = sampled_or_plain  # type: ignore[method-assign]

    def end(self) -> None:
        """Hand over what is left, for a while: a collector that is away holds nobody up."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(FLUSH_SECONDS)


def _is_sampled() -> bool:
    return "slipway.sampled" in request.environ


def _bounded(span: trace.Span | None, *_: object) -> None:
    """This comes after what is instrumented: providers send people back with codes in the query."""
    if span:
        span.set_attribute("http.target", request.path)
        if not request.url_rule:
            # Metrics are made of spans by their names; a path that nobody serves is no name.
            span.update_name(f"{request.method} {UNMATCHED}")


def _of_provider(span: trace.Span, message: Any) -> None:
    """Providers are sent codes and tokens in the query. A method alone is Valkey's name, too."""
    url = urlsplit(message.url)
    span.update_name(f"{message.method} {url.hostname}")
    for name in ("http.url", "url.full"):
        span.set_attribute(name, f"{url.scheme}://{url.netloc}{url.path}")

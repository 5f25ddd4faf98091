"""Request metrics for the RED method: rate, errors and duration by route, method and status.

Labels are bounded: `route` is the URL rule, never the path. Served on the operations port alone.
"""

from flask import Flask, Request
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
from prometheus_client.registry import Collector
from prometheus_flask_exporter import PrometheusMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def _route(request: Request) -> str:
    return request.url_rule.rule if request.url_rule else "unmatched"


def init_app(app: Flask) -> None:
    PrometheusMetrics(app, path=None, group_by=_route, registry=CollectorRegistry())


def exposition(*more: Collector) -> bytes:
    """The metrics of all processes of this server, and `more`, in Prometheus' text format."""
    registry = CollectorRegistry()
    for collector in more:
        registry.register(collector)
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)

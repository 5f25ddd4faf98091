"""Request metrics for the RED method: rate, errors and duration by route, method and status.

Labels are bounded: `route` is the URL rule, never the path, and `method` one that HTTP has. Served
on the operations port alone. Every process counts in files of its own, in PROMETHEUS_MULTIPROC_DIR;
what an ended one has counted is added up in one file, so that no counter falls and no file is left.
"""

import fcntl
import os
import struct
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flask import Flask, Request, Response, request
from prometheus_client import CollectorRegistry, Histogram, generate_latest, multiprocess
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.registry import Collector

from slipway.settings import Settings

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Seconds. What an SLO asks for has to be one of them: ops/slo.yaml.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
OTHER = "OTHER"
UNMATCHED = "unmatched"
# Where a request's beginning is noted, and its route, for gunicorn's log has no request of Flask's.
BEGAN = "slipway.began"
ROUTE = "slipway.route"
# How often, and after which pause, a scrape looks again at files that change under it.
TRIES = 4
AGAIN_SECONDS = 0.02

_SECONDS = "flask_http_request_duration_seconds"


def route(request: Request) -> str:
    """The URL rule of a request."""
    return request.url_rule.rule if request.url_rule else UNMATCHED


class _Requests:
    """Counts requests, under the names that Flask's exporters for Prometheus give.

    Those look series up by name at each request, and take as long as Flask itself does; here each
    route, method and status is looked up once. The total follows from the durations' counts.
    """

    def __init__(self) -> None:
        self._seconds = Histogram(
            _SECONDS,
            "Flask HTTP request duration in seconds",
            ["method", "route", "status"],
            buckets=BUCKETS,
            registry=None,
        )
        self._series: dict[tuple[str, str, int], Histogram] = {}

    def count(self, response: Response) -> Response:
        asked = request._get_current_object()  # type: ignore[attr-defined]
        environ = asked.environ
        environ[ROUTE] = rule = route(asked)
        # Clients may invent any number of methods, and each would be a series.
        method = asked.method if asked.method in METHODS else OTHER
        seen = (method, rule, response.status_code)
        if not (series := self._series.get(seen)):
            series = self._seconds.labels(method, rule, str(response.status_code))
            self._series[seen] = series
        series.observe(time.perf_counter() - environ[BEGAN])
        return response


def init_app(app: Flask) -> None:
    """To be called before what changes answers: what is registered first sees them last."""
    app.after_request(_Requests().count)
    inner = app.wsgi_app

    def begun(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ[BEGAN] = time.perf_counter()
        return inner(environ, start_response)

    app.wsgi_app = begun  # type: ignore[method-assign]


class BuildInfo(Collector):
    """Which release this is, for who tells old and new pods apart."""

    def __init__(self, settings: Settings) -> None:
        self._labels = [version("slipway"), settings.commit]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        info = GaugeMetricFamily(
            "slipway_build_info", "The release, by its labels", labels=["version", "commit"]
        )
        info.add_metric(self._labels, 1)
        yield info


def _directory() -> Path:
    return Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])


@contextmanager
def _locked(how: int) -> Iterator[None]:
    """Nobody reads the files while some are added up."""
    with (_directory() / "lock").open("w") as lock:
        fcntl.flock(lock, how)
        yield


def _totals(found: Iterable[Metric]) -> Iterator[Metric]:
    """Requests by method and status alone, as many as have a duration."""
    counted: Counter[tuple[str, str]] = Counter()
    for metric in found:
        for sample in metric.samples:
            if sample.name == f"{_SECONDS}_count":
                counted[sample.labels["method"], sample.labels["status"]] += int(sample.value)
    if counted:
        total = CounterMetricFamily(
            "flask_http_request", "Total number of HTTP requests", labels=["method", "status"]
        )
        for labels, number in counted.items():
            total.add_metric(labels, number)
        yield total


class _Counted(Collector):
    """What all processes of this server have counted."""

    def collect(self) -> Iterable[Metric]:
        files: Any = multiprocess.MultiProcessCollector(None)  # type: ignore[no-untyped-call]
        tries = TRIES
        while True:
            try:
                with _locked(fcntl.LOCK_SH):
                    found = list(files.collect())
                return [*found, *_totals(found)]
            except (OSError, struct.error):
                # The file of a process that just begins may have nothing in it yet.
                tries -= 1
                if not tries:
                    raise
            time.sleep(AGAIN_SECONDS)


def exposition(*more: Collector) -> bytes:
    """The metrics of all processes of this server, and `more`, in Prometheus' text format."""
    registry = CollectorRegistry()
    for collector in (*more, _Counted()):
        registry.register(collector)
    return generate_latest(registry)


def settle(pid: int) -> None:
    """Add what the process `pid`, which has ended, has counted to what ended ones have.

    By its parent alone: whoever is killed in between counts twice.
    """
    with _locked(fcntl.LOCK_EX):
        for path in _directory().glob(f"*_{pid}.db"):
            kind = path.name.split("_")[0]
            # A gauge tells of what is there now.
            if kind != "gauge":
                _add_up(path, path.with_name(f"{kind}_ended.db"))
            path.unlink()


def settle_ended() -> None:
    """Do so for every process that has ended: for a parent that is not told of each."""
    named = {path.stem.rsplit("_", 1)[1] for path in _directory().glob("*_*.db")}
    for pid in (int(name) for name in named if name.isdigit()):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            settle(pid)


def _add_up(path: Path, ended: Path) -> None:
    total = MmapedDict(str(ended))  # type: ignore[no-untyped-call]
    for key, value, _, _ in MmapedDict.read_all_values_from_file(path):  # type: ignore[no-untyped-call]
        total.write_value(key, total.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]
    total.close()  # type: ignore[no-untyped-call]

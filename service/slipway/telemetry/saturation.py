"""What runs out first: threads, database connections, workers; and what spares them, or refuses.

Gauges are added up over the processes of a pod; a process says what it has with `begin`.
"""

import time
from collections import deque
from collections.abc import Iterable
from functools import cache
from typing import Any

from flask import Flask
from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy import QueuePool, event

from slipway.settings import Settings

# Seconds.
WAITS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# A clock that is so far off is another one than nginx's, seconds.
LONGEST = 120
# One for each request that is served: threads add to it, take from it and count it without a lock.
_served: deque[None] = deque()

CACHE = Counter(
    "slipway_cache_requests",
    "Questions to the cache of answers, by topic: hit, miss, or away when it could not be asked",
    ["topic", "outcome"],
    registry=None,
)
LIMITS = Counter(
    "slipway_limits_hit", "Requests that were refused by a limit", ["limit"], registry=None
)


class _Measures:
    """Those without labels, which exist in a process from the moment in which they are made."""

    def __init__(self) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, multiprocess_mode="livesum", registry=None)

        self.threads = gauge("slipway_threads", "Threads that may serve requests")
        self.threads_busy = gauge("slipway_threads_busy", "Threads that serve one")
        self.queued = Histogram(
            "slipway_request_queue_seconds",
            "How long requests waited for a thread, from nginx on",
            buckets=WAITS,
            registry=None,
        )
        self.connections = gauge(
            "slipway_database_connections", "Database connections that may be open"
        )
        self.connections_busy = gauge(
            "slipway_database_connections_busy", "Database connections in use"
        )
        self.connected = Histogram(
            "slipway_database_wait_seconds",
            "How long it took to get a database connection",
            buckets=WAITS,
            registry=None,
        )
        self.workers = gauge("slipway_worker_processes", "Processes that may work on tasks")
        self.workers_busy = gauge("slipway_worker_processes_busy", "Processes that work on one")


@cache
def measures() -> _Measures:
    """Made when first needed: by then a worker has said where metrics are kept."""
    return _Measures()


class Pool(QueuePool):
    """SQLAlchemy's, which tells how long each had to wait for a connection."""

    def _do_get(self) -> Any:
        began = time.perf_counter()
        try:
            return super()._do_get()
        finally:
            measures().connected.observe(time.perf_counter() - began)


def _taken(*_: object) -> None:
    measures().connections_busy.inc()


def _given_back(*_: object) -> None:
    measures().connections_busy.dec()


def _waited(environ: dict[str, Any]) -> float | None:
    """Seconds since nginx handed the request over, as its header `X-Request-Start` has it."""
    try:
        waited = time.time() - float(environ.get("HTTP_X_REQUEST_START", "").removeprefix("t="))
    except ValueError:
        return None
    return max(waited, 0.0) if -LONGEST < waited < LONGEST else None


def init_app(app: Flask) -> None:
    """Count busy threads and, behind nginx, how long requests waited for one."""
    settings: Settings = app.config["SETTINGS"]
    inner, measured = app.wsgi_app, measures()

    def counted(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if settings.forwarded_hops and (waited := _waited(environ)) is not None:
            measured.queued.observe(waited)
        _served.append(None)
        try:
            return inner(environ, start_response)
        finally:
            _served.pop()

    app.wsgi_app = counted  # type: ignore[method-assign]


def tell() -> None:
    """Say how many threads are busy: now and then, as it takes longer than to count them."""
    measures().threads_busy.set(len(_served))


def watch_pool(engine: Any) -> None:
    """Count the connections of the engine's pool that are in use."""
    event.listen(engine, "checkout", _taken)
    event.listen(engine, "checkin", _given_back)


def begin(app: Flask, *, threads: int = 0, workers: int = 0) -> None:
    """Say what this process has, once it has been forked."""
    settings: Settings = app.config["SETTINGS"]
    measured = measures()
    if threads:
        measured.threads.set(threads)
    if workers:
        measured.workers.set(workers)
    measured.connections.set(settings.web_threads)

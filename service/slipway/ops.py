"""Operations on a port of their own: probes, metrics and faults, for the platform alone.

They are answered by threads that requests cannot use up, in every worker process: one that
hangs as a whole fails its probe, one that is only busy does not.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as TooLate
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import waitress
from flask import Flask
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from slipway import database, fault_control, faults, schema, tasks
from slipway.settings import Settings
from slipway.telemetry import edge, metrics

# One for each kind of question: a readiness check that waits leaves the others theirs.
THREADS = 4
# Nobody has more to say here.
MOST_BYTES = 16_384
# How long readiness waits for the database, seconds: less than the platform waits for readiness.
READY_SECONDS = 2
# How long a scrape does.
SCRAPE_SECONDS = 0.1


def listen(settings: Settings) -> socket.socket:
    """The operations port, bound once before the workers fork. OSError when it is taken."""
    family = socket.AF_INET6 if ":" in settings.ops_host else socket.AF_INET
    return socket.create_server((settings.ops_host, settings.ops_port), family=family, backlog=64)


class Operations:
    """The WSGI application of the operations port."""

    def __init__(
        self,
        app: Flask,
        *,
        is_alive: Callable[[], bool] = lambda: True,
        missing: Callable[[], dict[str, str]] = dict,
        before_scrape: Callable[[], None] = lambda: None,
    ) -> None:
        """`missing` tells what the process itself lacks to be ready, by name."""
        self._is_alive, self._missing, self._before_scrape = is_alive, missing, before_scrape
        settings: Settings = app.config["SETTINGS"]
        with app.app_context():
            url = database.db.engine.url
        # Not the pool of the requests: a full one is no reason to be taken out of service.
        self.engine = create_engine(url, **database.engine_options(settings, pool_size=1))
        # One check at a time, in no thread that answers; who asks meanwhile gets what it finds.
        self._checker = ThreadPoolExecutor(1, "readiness")
        self._checking = threading.Lock()
        self._check: Future[str | None] | None = None
        queued = tasks.Queued(app)
        self._collectors = [
            queued,
            _Dependencies(self._revision, queued),
            faults.Active(app),
            edge.Edge(settings),
            metrics.BuildInfo(settings),
        ]
        self._pages: dict[str, Callable[[], tuple[int, str, bytes]]] = {
            "/livez": self._alive,
            "/startupz": self._started,
            "/readyz": self._ready,
            "/metrics": self._metrics,
        }
        self._control = None
        if settings.faults_token and "faults" in app.extensions:
            self._control = fault_control.FaultControl(app, settings.faults_token)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if self._control and environ["PATH_INFO"] == fault_control.PATH:
            return self._control(environ, start_response)
        page = self._pages.get(environ["PATH_INFO"], self._unknown)
        status, content_type, body = page()
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _started(self) -> tuple[int, str, bytes]:
        """The process alone, which answers once it has loaded the application."""
        return _json(200, {"status": "ok"})

    def _alive(self) -> tuple[int, str, bytes]:
        return self._started() if self._is_alive() else _json(503, {"status": "hangs"})

    def _ready(self) -> tuple[int, str, bytes]:
        """What requests cannot be served without: the database, with a schema that fits."""
        missing = self._missing()
        revision = None
        try:
            revision = self._revision().result(READY_SECONDS)
        except (SQLAlchemyError, TooLate) as error:
            reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            missing["database"] = f"does not answer: {reason or f'{READY_SECONDS} s'}"
        else:
            if not schema.serves(revision):
                missing["schema"] = (
                    f"is at {revision}, needs {schema.head()}: flask --app slipway migrate"
                )
        if missing:
            return _json(503, {"status": "unavailable", "missing": missing})
        return _json(200, {"status": "ok", "schema": revision})

    def _revision(self) -> "Future[str | None]":
        """The revision of the database's schema, once it answers."""
        with self._checking:
            # A process that ends begins nothing more, and says what it found last.
            with suppress(RuntimeError):
                if self._check is None or self._check.done():
                    self._check = self._checker.submit(schema.current, self.engine)
            return self._check or Future()

    def _metrics(self) -> tuple[int, str, bytes]:
        self._before_scrape()
        return 200, metrics.CONTENT_TYPE, metrics.exposition(*self._collectors)

    def _unknown(self) -> tuple[int, str, bytes]:
        return _json(404, {"status": "unknown", "pages": sorted(self._pages)})


class _Dependencies(Collector):
    """Whether what the service depends on answers. Collected after `queued`, which asks Valkey."""

    def __init__(self, check: "Callable[[], Future[str | None]]", queued: tasks.Queued) -> None:
        self._check, self._queued, self._database_is_up = check, queued, True

    def collect(self) -> Iterator[GaugeMetricFamily]:
        # As the last check found it: a scrape does not wait for one.
        check = self._check()
        wait([check], SCRAPE_SECONDS)
        if check.done():
            self._database_is_up = check.exception() is None
        up = GaugeMetricFamily(
            "slipway_dependency_up",
            "Whether what the service depends on answers",
            labels=["dependency"],
        )
        up.add_metric(["database"], self._database_is_up)
        if self._queued.is_up is not None:
            up.add_metric(["valkey"], self._queued.is_up)
        yield up


def _json(status: int, body: dict[str, Any]) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps(body).encode() + b"\n"


def serve(app: Flask, listener: socket.socket, **checks: Any) -> None:
    """Answer on `listener` from threads of this process, as long as it lives."""
    server = waitress.create_server(
        Operations(app, **checks),
        sockets=[listener],
        threads=THREADS,
        max_request_body_size=MOST_BYTES,
        clear_untrusted_proxy_headers=True,
    )
    threading.Thread(target=server.run, name="operations", daemon=True).start()

"""Operations on a port of their own: probes and metrics, for the platform alone.

They are answered by threads that requests cannot use up, in every worker process: one that
hangs as a whole fails its probe, one that is only busy does not.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

import waitress
from flask import Flask
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from slipway import database, schema
from slipway.settings import Settings
from slipway.telemetry import metrics

THREADS = 2


def listen(settings: Settings) -> socket.socket:
    """The operations port, bound once before the workers fork. OSError when it is taken."""
    family = socket.AF_INET6 if ":" in settings.ops_host else socket.AF_INET
    return socket.create_server((settings.ops_host, settings.ops_port), family=family, backlog=64)


class Operations:
    """The WSGI application of the operations port."""

    def __init__(self, app: Flask) -> None:
        settings: Settings = app.config["SETTINGS"]
        with app.app_context():
            url = database.db.engine.url
        # Not the pool of the requests: a full one is no reason to be taken out of service.
        self.engine = create_engine(url, **database.engine_options(settings, pool_size=1))
        self._pages: dict[str, Callable[[], tuple[int, str, bytes]]] = {
            "/livez": self._alive,
            "/startupz": self._alive,
            "/readyz": self._ready,
            "/metrics": self._metrics,
        }

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        page = self._pages.get(environ["PATH_INFO"], self._unknown)
        status, content_type, body = page()
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _alive(self) -> tuple[int, str, bytes]:
        """The process alone; a worker answers once it has loaded the application."""
        return _json(200, {"status": "ok"})

    def _ready(self) -> tuple[int, str, bytes]:
        """What requests cannot be served without: the database, with a schema that fits."""
        try:
            revision = schema.current(self.engine)
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            missing = {"database": f"does not answer: {reason}"}
        else:
            if schema.serves(revision):
                return _json(200, {"status": "ok", "schema": revision})
            missing = {
                "schema": f"is at {revision}, needs {schema.head()}: flask --app slipway migrate"
            }
        return _json(503, {"status": "unavailable", "missing": missing})

    def _metrics(self) -> tuple[int, str, bytes]:
        return 200, metrics.CONTENT_TYPE, metrics.exposition()

    def _unknown(self) -> tuple[int, str, bytes]:
        return _json(404, {"status": "unknown", "pages": sorted(self._pages)})


def _json(status: int, body: dict[str, Any]) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps(body).encode() + b"\n"


def serve(app: Flask, listener: socket.socket) -> None:
    """Answer on `listener` from threads of this process, as long as it lives."""
    server = waitress.create_server(
        Operations(app), sockets=[listener], threads=THREADS, clear_untrusted_proxy_headers=True
    )
    threading.Thread(target=server.run, name="operations", daemon=True).start()

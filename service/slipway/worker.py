"""What `celery --app slipway.worker worker` runs: tasks of this service, over Valkey."""

import atexit
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

import redis
from celery.apps import worker as program
from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)
from prometheus_client import values

from slipway import create_app, ops, schema
from slipway.consumer import Pulse
from slipway.database import db
from slipway.settings import SettingsError, load_settings
from slipway.telemetry import errors, logs, metrics, saturation, tracing

# New at each start, as in gunicorn.conf.py; the package has loaded the client by now, which looked
# for the directory as it was loaded.
metrics_directory = tempfile.mkdtemp(prefix="slipway-metrics-")
os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_directory
values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]


def _clean_up(process: int = os.getpid()) -> None:
    """Not in the children, who share the directory."""
    if os.getpid() == process:
        shutil.rmtree(metrics_directory, ignore_errors=True)


atexit.register(_clean_up)


def _give_up(reason: object) -> NoReturn:
    for line in str(reason).splitlines():
        print(f"slipway: {line}", file=sys.stderr)
    sys.exit(1)


try:
    settings = load_settings()
except SettingsError as error:
    _give_up(error)
if settings.redis_url is None:
    _give_up("REDIS_URL: a worker needs one, to get its tasks from")

logs.configure(settings)
# Celery would print that it ends, amid the lines of the log; see `_cut_off`.
program.safe_say = lambda *_: None
# Celery takes a variable named `app` for its own.
flask_app = create_app(settings)
celery = flask_app.extensions["celery"]
celery.pulse = Pulse()
celery.dead_letters = flask_app.extensions["dead_letters"]
celery.conf.update(
    broker_transport="slipway.transport:Transport",
    worker_consumer="slipway.consumer:Consumer",
    worker_redirect_stdouts=False,
    worker_proc_alive_timeout=60,
    # What was done is worth some patience to write down; a request has none.
    result_backend_transport_options={
        "retry_policy": {"max_retries": 5, "interval_start": 0.5, "interval_step": 0.5}
    },
)
# The one worker of this process, and its operations port, once there are any.
_workers: list[Any] = []
_sockets: list[socket.socket] = []


@setup_logging.connect  # type: ignore[untyped-decorator]
def _log(**_: object) -> None:
    """In place of Celery's own: there is a log already."""


@worker_init.connect  # type: ignore[untyped-decorator]
def _prepare(sender: Any, **_: object) -> None:
    """Open the operations port, and take no task before this code's migration is done."""
    # Its banner is no line of a log.
    sender.quiet = True
    # Celery has its own handlers later; the first process of a container dies of nothing else.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _workers.append(sender)
    _serve_operations()
    with flask_app.app_context():
        while not schema.is_served_by(db.engine):
            flask_app.logger.warning("waiting for the database's schema")
            celery.pulse.beat()
            time.sleep(1)
        # No child gets a connection that another one has too.
        db.engine.dispose()


def _serve_operations() -> None:
    try:
        listener = ops.listen(settings)
    except OSError as error:
        _give_up(
            f"OPS_PORT: cannot listen on {settings.ops_host}:{settings.ops_port}: {error.strerror}"
        )
    _sockets.append(listener)
    ops.serve(
        flask_app,
        listener,
        is_alive=lambda: not celery.pulse.is_stale(),
        missing=_missing,
        before_scrape=metrics.settle_ended,
    )


def _missing() -> dict[str, str]:
    """What a worker needs besides the database: a connection, and somebody at its end."""
    consumer = getattr(_workers[0], "consumer", None)
    try:
        celery.dead_letters.client.ping()
    except redis.RedisError as error:
        return {"broker": f"does not answer: {error}"}
    return {} if consumer and consumer.connection else {"broker": "not connected yet"}


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _begin_child(**_: object) -> None:
    """A child that outlives its parent must not keep the port; what it tells begins here."""
    for listener in _sockets:
        listener.close()
    saturation.begin(flask_app, workers=1)
    errors.start(settings)
    tracing.start(flask_app)


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _end_child(**_: object) -> None:
    tracing.end()
    errors.end()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _end(**_: object) -> None:
    """Celery takes nothing more, and waits for what runs; this is how long."""
    threading.Thread(target=_cut_off, args=(settings.graceful_seconds,), daemon=True).start()


def _cut_off(seconds: float) -> None:
    flask_app.logger.info("the worker ends, and what it works on within %g s", seconds)
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        celery.pulse.beat()
        time.sleep(min(left, 1))
    (worker,) = _workers
    flask_app.logger.warning("what still runs after %g s goes back to the queue", seconds)
    for process in list(worker.pool._pool._pool):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    qos = worker.consumer.connection.default_channel.qos
    for tag in list(qos._delivered):
        qos.restore_by_tag(tag, leftmost=True)
    _clean_up()
    os._exit(0)

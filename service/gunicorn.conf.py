"""Gunicorn's settings, from the service's own: https://docs.gunicorn.org/en/stable/settings.html."""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

# Before anything imports prometheus_client, and new at each start: an old one revives old counters.
metrics_directory = tempfile.mkdtemp(prefix="slipway-metrics-")
os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_directory

from slipway import faults, ops, wire  # noqa: E402
from slipway.settings import SettingsError, load_settings  # noqa: E402
from slipway.telemetry import errors, logs, metrics, saturation, tracing  # noqa: E402


def _give_up(reason: object) -> None:
    shutil.rmtree(metrics_directory, ignore_errors=True)
    for line in str(reason).splitlines():
        print(f"slipway: {line}", file=sys.stderr)
    sys.exit(1)


try:
    settings = load_settings()
except SettingsError as error:
    _give_up(error)
try:
    operations = ops.listen(settings)
except OSError as error:
    _give_up(
        f"OPS_PORT: cannot listen on {settings.ops_host}:{settings.ops_port}: {error.strerror}"
    )

wire.install()
logs.configure(settings)

wsgi_app = "slipway:create_app()"
bind = settings.bind
worker_class = "slipway.threads.Worker"
workers = settings.web_concurrency
threads = settings.web_threads
graceful_timeout = settings.graceful_seconds
# Longer than nginx keeps an idle connection to it, so that nginx is always the one that closes.
keepalive = 75
# Heartbeats in memory: a slow disk must not look like a dead worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
control_socket_disable = True
# As much as nginx lets through.
limit_request_line = 8190
limit_request_field_size = 32_768
# The socket is shared with nginx, which runs as another user of the same group.
umask = 0o007
# Addresses from the one proxy in front; which of its headers count is settled by FORWARDED_HOPS.
forwarded_allow_ips = ""
loglevel = settings.log_level.lower()
logger_class = logs.GunicornLogger


def when_ready(server: Any) -> None:
    if settings.environment == "development":
        host = "127.0.0.1" if settings.ops_host == "0.0.0.0" else settings.ops_host  # noqa: S104
        print(
            f"\n  slipway serves   http://{settings.bind}/"
            f"\n  probes, metrics  http://{host}:{settings.ops_port}/readyz /livez /metrics"
            "\n  end it with      Ctrl-C\n",
            file=sys.stderr,
        )


def post_worker_init(worker: Any) -> None:
    wire.at_hand(worker.cfg)
    saturation.begin(worker.wsgi, threads=settings.web_threads)
    errors.start(settings)
    tracing.start(worker.wsgi)
    faults.install(worker.wsgi, Path(metrics_directory))
    ops.serve(worker.wsgi, operations)


def worker_exit(server: Any, worker: Any) -> None:
    logs.flush()
    tracing.end()
    errors.end()


def child_exit(server: Any, worker: Any) -> None:
    metrics.settle(worker.pid)


def on_exit(server: Any) -> None:
    shutil.rmtree(metrics_directory, ignore_errors=True)

"""The contenders, all up at once on the first core; whoever is not asked waits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import kit
from .engine import build, container, last_words
from .net import free_port, until_it_answers
from .nginx import kits, nginx, plain

KIT, SILENT = "kit", "kit, telemetry off"
FLASK = "bare Flask, `gunicorn -w 4`"
BARE = "bare FastAPI"
OPEN = "instrumented FastAPI, unchecked"
FASTAPI = "instrumented FastAPI"

DIRECT, NGINX = "directly", "through nginx"

# Of all contenders; it is the kit's default.
RATE_LIMIT = "600 per minute"


@dataclass(frozen=True)
class Server:
    """Where a contender is asked, and the containers whose work for the answer is its own."""

    url: str
    containers: tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """What contenders are started with."""

    image: str
    settings: Mapping[str, str]
    collector_url: str
    # A folder that containers see as /bench.
    shared: Path


Servers = dict[str, dict[str, Server]]


@contextmanager
def servers(stage: Stage) -> Iterator[Servers]:
    """Every contender by its name, by way."""
    image = build("slipway-bench-fastapi", kit.CONTENDERS)
    loud, silent = kit.telemetry(stage.collector_url), kit.telemetry(stage.collector_url, on=())
    traced = {"INSTRUMENTED": "1", **kit.traced(stage.collector_url)}
    with ExitStack() as stack:
        up = stack.enter_context
        direct = {
            KIT: up(_kit("kit", stage, loud)),
            SILENT: up(_kit("silent", stage, silent, *kit.ALONE)),
            FLASK: up(_flask(stage)),
            BARE: up(_fastapi("fastapi-bare", image, stage, {})),
            OPEN: up(_fastapi("fastapi-unchecked", image, stage, traced)),
            FASTAPI: up(_fastapi("fastapi", image, stage, {**traced, "CHECKED": "1"})),
        }
        fronted = {
            KIT: up(_kit_by_nginx("kit-fronted", stage, loud)),
            SILENT: up(_kit_by_nginx("silent-fronted", stage, silent, *kit.ALONE)),
            FLASK: up(_by_nginx("flask-nginx", direct[FLASK], stage, log=False)),
            FASTAPI: up(_by_nginx("fastapi-nginx", direct[FASTAPI], stage, log=True)),
        }
        yield {DIRECT: direct, NGINX: fronted}


@contextmanager
def _kit(role: str, stage: Stage, telemetry: Mapping[str, str], *command: str) -> Iterator[Server]:
    settings = {**stage.settings, **telemetry}
    with kit.gunicorn(role, stage.image, settings, command) as (url, name):
        yield Server(url, (name,))


@contextmanager
def _kit_by_nginx(
    role: str, stage: Stage, telemetry: Mapping[str, str], *command: str
) -> Iterator[Server]:
    """As in its pod: by a socket, of which gunicorn trusts one hop."""
    sockets = stage.shared / role
    sockets.mkdir()
    sockets.chmod(0o777)
    volumes = [
        "--volume",
        f"{sockets}:/run/slipway",
        "--volume",
        f"{kit.CONTENDERS}:/contenders:ro",
    ]
    settings = {**stage.settings, **telemetry}
    options = [*kit.options_of(settings, "unix:/run/slipway/gunicorn.sock", hops=1), *volumes]
    port = free_port()
    with (
        container(role, stage.image, options, command) as behind,
        nginx(f"{role}-nginx", kits(port), port, stage.shared, volumes) as (url, front),
    ):
        until_it_answers(url, "/ping", lambda: last_words(behind))
        yield Server(url, (front, behind))


@contextmanager
def _flask(stage: Stage) -> Iterator[Server]:
    """The service's image, with nothing of the service."""
    bind = f"127.0.0.1:{free_port()}"
    # Elsewhere than in /app, where the service's own gunicorn.conf.py would be found.
    options = ["--network", "host", "--workdir", "/contenders"]
    options += ["--volume", f"{kit.CONTENDERS}:/contenders:ro"]
    command = ["gunicorn", "--workers", "4", "--bind", bind]
    command += ["--no-control-socket", "flask_app:app"]
    with container("flask", stage.image, options, command) as name:
        until_it_answers(f"http://{bind}", "/ping", lambda: last_words(name))
        yield Server(f"http://{bind}", (name,))


@contextmanager
def _fastapi(role: str, image: str, stage: Stage, own: Mapping[str, str]) -> Iterator[Server]:
    port = free_port()
    shared = {
        name: stage.settings[name] for name in ("DATABASE_URL", "REDIS_URL", "JWT_SECRET_KEY")
    }
    environment = {**shared, "RATE_LIMIT": RATE_LIMIT, **own}
    command = ["uvicorn", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", str(kit.PROCESSES)]
    if "INSTRUMENTED" in own:
        environment["PROMETHEUS_MULTIPROC_DIR"] = "/metrics"
        command += ["--log-config", "logging.json"]
    else:
        command += ["--no-access-log"]
    options = ["--network", "host", *kit.environment(environment)]
    with container(role, image, options, [*command, "fastapi_app:app"]) as name:
        url = f"http://127.0.0.1:{port}"
        until_it_answers(url, "/ping", lambda: last_words(name))
        yield Server(url, (name,))


@contextmanager
def _by_nginx(role: str, behind: Server, stage: Stage, *, log: bool) -> Iterator[Server]:
    port = free_port()
    conf = plain(port, behind.url, log=log)
    with nginx(role, conf, port, stage.shared) as (url, front):
        until_it_answers(url, "/ping", lambda: last_words(front))
        yield Server(url, (front, *behind.containers))

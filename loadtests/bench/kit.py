"""The kit as a contender: its settings, its telemetry, its data, and how it is started."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.shell import run

from .engine import PREFIX, container, last_words
from .net import free_port, until_it_answers

# One for the one core that a contender has: with four, the kit and FastAPI are slower.
PROCESSES = 1
# Of the requests, those whose spans are made and sent.
SAMPLED = 0.1
SIGNALS = ("logs", "metrics", "traces", "errors")
CONTENDERS = Path(__file__).parent / "contenders"
# What serves the signals that `telemetry` names, and no others.
ALONE = ("gunicorn", "silenced:create_app()")

# Run inside the image: tokens as the service makes them, that outlast the longest run.
TOKENS = """
from datetime import timedelta
from slipway import create_app, tokens
from slipway.database import db
from slipway.models import User
app = create_app()
app.config["JWT_ACCESS_TOKEN_EXPIRES"] = timedelta(days=1)
with app.test_request_context():
    for user in db.session.scalars(db.select(User).order_by(User.id).limit({count})).all():
        print("token", tokens.first(user)["access_token"])
"""


def settings_of(database_url: str, redis_url: str) -> dict[str, str]:
    """What all processes of the service share; limits are the production's."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": secrets.token_hex(32),
        "JWT_SECRET_KEY": secrets.token_hex(32),
        "WEB_CONCURRENCY": str(PROCESSES),
    }


def traced(collector_url: str) -> dict[str, str]:
    """OpenTelemetry's variables, the same for all contenders."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector_url,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": str(SAMPLED),
        # Once in about each slice, so that no other contender's pays for them.
        "OTEL_BSP_SCHEDULE_DELAY": "2000",
    }


def telemetry(collector_url: str, on: Collection[str] = SIGNALS) -> dict[str, str]:
    """The environment of these signals: of some alone it is for `ALONE`."""
    silenced = ",".join(sorted({*SIGNALS} - {*on}))
    own = {"SILENCED": silenced, "PYTHONPATH": "/contenders"} if silenced else {}
    if "traces" in on:
        own |= traced(collector_url)
    if "errors" in on:
        # Nothing fails, so nothing is sent.
        own["SENTRY_DSN"] = "http://key@127.0.0.1:1/1"
    return own


def environment(values: Mapping[str, str]) -> list[str]:
    return [part for name, value in values.items() for part in ("--env", f"{name}={value}")]


def options_of(settings: Mapping[str, str], bind: str, hops: int = 0) -> list[str]:
    """`docker run`'s, for a container of the service on this machine's own network."""
    own = {
        "BIND": bind,
        "OPS_HOST": "127.0.0.1",
        "OPS_PORT": str(free_port()),
        "FORWARDED_HOPS": str(hops),
    }
    return ["--network", "host", *environment({**own, **settings})]


@contextmanager
def gunicorn(
    role: str, image: str, settings: Mapping[str, str], more: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """The service on a port of this machine: its URL and container; `more` follows the image."""
    bind = f"127.0.0.1:{free_port()}"
    options = [*options_of(settings, bind), "--volume", f"{CONTENDERS}:/contenders:ro"]
    with container(role, image, options, more) as name:
        until_it_answers(f"http://{bind}", "/ping", lambda: last_words(name))
        yield f"http://{bind}", name


def _once(role: str, *command: str) -> str:
    name = f"{PREFIX}-{role}"
    return run("docker", "run", "--rm", "--name", name, *command, what=f"running {name}")


def migrate(image: str, settings: Mapping[str, str]) -> None:
    command = ["flask", "--app", "slipway", "migrate"]
    _once("migrate", *options_of(settings, "127.0.0.1:0"), image, *command)


def tokens(image: str, settings: Mapping[str, str], count: int) -> list[str]:
    """Access tokens of the first `count` users."""
    command = ["python", "-c", TOKENS.format(count=count)]
    said = _once("tokens", *options_of(settings, "127.0.0.1:0"), image, *command)
    words = [line.split() for line in said.splitlines()]
    return [line[1] for line in words if line[:1] == ["token"]]

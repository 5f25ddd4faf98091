"""The service on each database, as its tests meet it."""

import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

# The multiprocess metrics of production need their directory before anything imports them.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="slipway-test-metrics-")

import psycopg
import pytest
import redis
import yaml
from answers import MIGRATE, settings, signed_in, until
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from post import MAILPIT, Mailpit

from slipway import create_app, passwords
from slipway.database import db
from slipway.models import ADMIN

ROOT = Path(__file__).parents[2]


@contextmanager
def running(image: str, *ports: int, options: Sequence[str] = ()) -> Iterator[list[int]]:
    """The ports on this machine of a server from `image`, for those that it has."""
    name = f"slipway-test-{secrets.token_hex(4)}"
    published = [f"--publish=127.0.0.1::{port}" for port in ports]
    run = ["docker", "run", "-d", "--rm", "--name", name, *published, *options, image]
    subprocess.run(run, check=True, capture_output=True)
    try:
        said = [
            subprocess.check_output(["docker", "port", name, str(port)], text=True)
            for port in ports
        ]
        yield [int(line.rsplit(":", 1)[1]) for line in said]
    finally:
        subprocess.run(["docker", "rm", "-f", "-v", name], check=True, capture_output=True)


@contextmanager
def container(service: str, port: int, *options: str) -> Iterator[int]:
    """The port on this machine of a server from the image that the chart takes for `service`."""
    image = yaml.safe_load((ROOT / "helm/slipway/values.yaml").read_text())[service]["image"]
    with running(f"{image['repository']}:{image['tag']}", port, options=options) as ports:
        yield ports[0]


@contextmanager
def _postgres(password: str) -> Iterator[str]:
    options = ["-e", f"POSTGRES_PASSWORD={password}", "--tmpfs", "/var/lib/postgresql"]
    with container("postgresql", 5432, *options) as port:
        url = f"postgresql://postgres:{password}@127.0.0.1:{port}/"
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(url + "postgres", connect_timeout=2).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                break
        yield url


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server's URL, without the database's name."""
    with _postgres(secrets.token_hex(16)) as url:
        yield url


@pytest.fixture
def two_postgres() -> Iterator[tuple[str, str]]:
    """The same of two servers of the test's own, which differ in nothing but the port."""
    password = secrets.token_hex(16)
    with _postgres(password) as one, _postgres(password) as other:
        yield one, other


@contextmanager
def _valkey() -> Iterator[str]:
    with container("valkey", 6379, "--tmpfs", "/data") as port:
        url = f"redis://127.0.0.1:{port}/0"

        def answers() -> bool:
            with redis.Redis.from_url(url) as asked, suppress(redis.RedisError):
                return bool(asked.ping())
            return False

        until(answers, lambda: f"no Valkey answers on port {port}")
        yield url


@contextmanager
def _valkey() -> Iterator[str]:
    def answers(url: str) -> bool:
        try:
            with redis.Redis.from_url(url) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    with container("valkey", 6379, "--tmpfs", "/data") as port:
        url = f"redis://127.0.0.1:{port}/0"
        until(lambda: answers(url), lambda: "Valkey does not answer")
        yield url


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[str]:
    """The URL of a Valkey that tests empty."""
    with _valkey() as url:
        yield url


@pytest.fixture
def valkey() -> Iterator[str]:
    """The URL of a Valkey of the test's own."""
    with _valkey() as url:
        yield url


@pytest.fixture(scope="session")
def _shared_mailpit() -> Iterator[Mailpit]:
    with running(MAILPIT, 1025, 8025, options=["--tmpfs", "/tmp"]) as ports:  # noqa: S108
        mailpit = Mailpit(*ports)
        until(mailpit.answers, lambda: f"no Mailpit answers on ports {ports}")
        yield mailpit


@pytest.fixture
def mailpit(_shared_mailpit: Mailpit) -> Mailpit:
    """A mail server, emptied."""
    _shared_mailpit.empty()
    return _shared_mailpit


@contextmanager
def new_database(postgres: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres + "postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield postgres + name
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database."""
    with new_database(postgres) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("engine"))])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new, empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/slipway.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def redis_url(request: pytest.FixtureRequest, database_url: str) -> str | None:
    """An emptied Valkey beside PostgreSQL, as in production; none beside SQLite."""
    if database_url.startswith("sqlite"):
        return None
    url: str = request.getfixturevalue("shared_valkey")
    with redis.Redis.from_url(url) as emptied:
        emptied.flushdb()
    return url


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests make thousands of passwords; how dear a hash is has a test of its own."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(1, 8, 1))
    passwords._nobodys.cache_clear()


@pytest.fixture
def app(database_url: str, redis_url: str | None) -> Iterator[Flask]:
    """The service with its schema: embedded, and on PostgreSQL and Valkey."""
    app = create_app(settings(database_url=database_url, redis_url=redis_url))
    result = app.test_cli_runner().invoke(args=MIGRATE)
    assert result.exit_code == 0, result.output
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """An admin."""
    return signed_in(app, "admin@example.com", ADMIN)


@pytest.fixture
def member(app: Flask) -> FlaskClient:
    """Somebody who may only touch what is theirs."""
    return signed_in(app, "member@example.com")


@pytest.fixture
def anonymous(app: Flask) -> FlaskClient:
    """Nobody in particular."""
    return app.test_client()

"""The service on each database, as its tests meet it."""

import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The multiprocess metrics of production need their directory before anything imports them.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="slipway-test-metrics-")

import psycopg
import pytest
import redis
import yaml
from answers import MIGRATE, settings, signed_in
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient

from slipway import create_app, passwords
from slipway.database import db
from slipway.models import ADMIN

ROOT = Path(__file__).parents[2]


@contextmanager
def container(service: str, port: int, *options: str) -> Iterator[int]:
    """The port on this machine of a server from the image that the chart takes for `service`."""
    image = yaml.safe_load((ROOT / "helm/slipway/values.yaml").read_text())[service]["image"]
    name = f"slipway-test-{secrets.token_hex(4)}"
    run = ["docker", "run", "-d", "--rm", "--name", name, "-p", f"127.0.0.1::{port}", *options]
    run += [f"{image['repository']}:{image['tag']}"]
    subprocess.run(run, check=True, capture_output=True)
    try:
        published = subprocess.check_output(["docker", "port", name, str(port)], text=True)
        yield int(published.rsplit(":", 1)[1])
    finally:
        subprocess.run(["docker", "rm", "-f", "-v", name], check=True, capture_output=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server's URL, without the database's name."""
    password = secrets.token_hex(16)
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
def shared_valkey() -> Iterator[str]:
    with container("valkey", 6379, "--tmpfs", "/data") as port:
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture
def valkey() -> Iterator[str]:
    """The URL of a Valkey of the test's own."""
    with container("valkey", 6379, "--tmpfs", "/data") as port:
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres + "postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield postgres + name
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


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

"""The service on each database, as its tests meet it."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

# The multiprocess metrics of production need their directory before anything imports them.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="slipway-test-metrics-")

import pytest
import redis
from answers import MIGRATE, settings, signed_in, until
from argon2 import PasswordHasher
from containers import new_database, numbered, postgres_server, running, valkey_server
from flask import Flask
from flask.testing import FlaskClient
from post import MAILPIT, Mailpit, Peer, peer
from serving import migrate

from slipway import create_app, passwords
from slipway.database import db
from slipway.models import ADMIN


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server's URL, without the database's name."""
    if given := os.environ.get("TEST_POSTGRES_URL"):
        yield given
        return
    with postgres_server(secrets.token_hex(16)) as url:
        yield url


@pytest.fixture
def two_postgres() -> Iterator[tuple[str, str]]:
    """The same of two servers of the test's own, which differ in nothing but the port."""
    password = secrets.token_hex(16)
    with postgres_server(password) as one, postgres_server(password) as other:
        yield one, other


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[str]:
    """The URL of a Valkey that tests empty."""
    if given := os.environ.get("TEST_VALKEY_URL"):
        # It is all processes': each has two of its databases, which are 16.
        process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
        yield numbered(given, 2 * process)
        return
    with valkey_server() as url:
        yield url


@pytest.fixture
def valkey() -> Iterator[str]:
    """The URL of a Valkey of the test's own."""
    with valkey_server() as url:
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


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database."""
    with new_database(postgres) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("databases"))])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new, empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/slipway.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def migrated_url(tmp_path: Path) -> str:
    """The URL of a new embedded database that has its schema, for a server of the test's own."""
    url = f"sqlite:///{tmp_path}/slipway.db"
    migrate(url)
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


@pytest.fixture
def server() -> Iterator[Peer]:
    """A mail server that does as it is told."""
    with peer() as one:
        yield one


@pytest.fixture
def worker(postgres_url: str, shared_valkey: str, server: Peer) -> Iterator[Flask]:
    """The service where there are workers, with that mail server."""
    with redis.Redis.from_url(shared_valkey) as emptied:
        emptied.flushdb()
    app = create_app(
        settings(database_url=postgres_url, redis_url=shared_valkey, smtp_url=server.url)
    )
    assert app.test_cli_runner().invoke(args=MIGRATE).exit_code == 0
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()

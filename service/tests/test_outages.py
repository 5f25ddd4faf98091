"""What the service depends on goes away in each way, and comes back: its deadlines, on gunicorn.

The deadlines are promises to clients, so these tests look at the clock.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import proxy
import psycopg
import pytest
import redis
from answers import ANN, PASSWORD, settings, signed_in, until
from containers import new_database, spare
from proxy import Proxy
from serving import Server, migrate, serving

from slipway import create_app
from slipway.database import db
from slipway.models import ADMIN

pytestmark = pytest.mark.needs("engine")

WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
HOWS = ["freeze", "refuse"]
READ, WRITE, DATABASE, RECOVERY = 1.0, 3.0, 5.0, 5.0


@dataclass
class Service:
    """The service behind gunicorn, as an admin meets it, and what it depends on."""

    server: Server
    client: httpx.Client
    database: Proxy
    valkey: Proxy
    counts: "redis.Redis"
    # Past the proxy.
    database_url: str

    def ask(self, method: str, path: str, seconds: float, **more: Any) -> httpx.Response:
        """An answer that takes less than `seconds`."""
        started = time.monotonic()
        answer = self.client.request(method, path, **more)
        took = time.monotonic() - started
        assert took < seconds, f"{method} {path}: {answer.status_code} after {took:.2f} s"
        return answer

    def create(self, name: str, seconds: float) -> httpx.Response:
        person = {"name": name, "email": f"{name}-{time.monotonic_ns()}@example.com"}
        return self.ask("POST", "/api/users", seconds, json=person)

    def names(self) -> list[str]:
        listed = self.ask("GET", "/api/users?limit=100", READ)
        assert listed.status_code == 200, listed.text
        return [user["name"] for user in listed.json()["items"]]

    def probe(self, path: str, seconds: float = READ) -> int:
        started = time.monotonic()
        status, body = self.server.get(path, ops=True)
        took = time.monotonic() - started
        assert took < seconds, f"{path}: {status} {body} after {took:.2f} s"
        return status


def token(database_url: str) -> str:
    app = create_app(settings(database_url=database_url))
    bearer: str = signed_in(app, "admin@example.com", ADMIN).environ_base["HTTP_AUTHORIZATION"]
    with app.app_context():
        db.engine.dispose()
    return bearer


@pytest.fixture(scope="module")
def shared_service(
    tmp_path_factory: pytest.TempPathFactory, postgres: str, shared_valkey: str
) -> Iterator[Service]:
    valkey = spare(shared_valkey)
    with (
        new_database(postgres) as url,
        proxy.before(url) as (database, database_url),
        proxy.before(valkey) as (before_valkey, redis_url),
        redis.Redis.from_url(valkey) as counts,
    ):
        migrate(url)
        with (
            serving(
                tmp_path_factory.mktemp("outages"), database_url, REDIS_URL=redis_url
            ) as server,
            httpx.Client(
                base_url=f"http://127.0.0.1:{server.port}",
                headers={"Authorization": token(url)},
                timeout=30,
            ) as client,
        ):
            yield Service(server, client, database, before_valkey, counts, url)


@pytest.fixture
def service(shared_service: Service) -> Iterator[Service]:
    """With everything there, and connections open that a test may cut."""
    answers = [shared_service.client.get(path) for path in ("/api/users", "/expensive") * 2]
    assert [answer.status_code for answer in answers] == [200] * 4
    yield shared_service
    shared_service.database.restore()
    shared_service.valkey.restore()
    recovers(lambda: shared_service.client.get("/me").status_code == 200)


def recovers(works: Callable[[], bool], seconds: float = RECOVERY) -> None:
    until(works, lambda: f"not back after {seconds} s", seconds=seconds)


@pytest.mark.parametrize("how", HOWS)
def test_without_valkey_reads_and_writes_go_on(service: Service, how: str) -> None:
    getattr(service.valkey, how)()
    for number in range(3):
        assert service.ask("GET", "/me", READ).status_code == 200
        # It takes the processor's time, whatever that is here.
        assert service.client.get("/expensive").status_code == 200
        assert service.create(f"away{number}", WRITE).status_code == 201
        assert f"away{number}" in service.names()
        assert service.probe("/livez") == service.probe("/readyz") == 200
    service.counts.flushdb()
    service.valkey.restore()

    def kept_and_counted() -> bool:
        service.names()
        kinds = ("slipway:cache:users:*", "LIMITS:*")
        return all(list(service.counts.scan_iter(kind)) for kind in kinds)

    recovers(kept_and_counted)
    assert service.create("back", WRITE).status_code == 201
    assert "back" in service.names()


@pytest.mark.parametrize("how", HOWS)
def test_without_the_database_everything_says_so_and_recovers(service: Service, how: str) -> None:
    getattr(service.database, how)()
    for method, path in (("GET", "/api/users"), ("GET", "/me"), ("POST", "/api/users")):
        answer = service.ask(method, path, DATABASE, json=ANN if method == "POST" else None)
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["Retry-After"]) >= 1
        assert service.probe("/livez") == 200
        assert service.ask("GET", "/ping", READ).status_code == 200
    assert service.probe("/readyz", seconds=3) == 503
    assert "database" in service.server.get("/readyz", ops=True)[1]
    service.database.restore()
    recovers(lambda: service.client.get("/api/users").status_code == 200)
    recovers(lambda: service.server.get("/readyz", ops=True)[0] == 200)


def test_a_readiness_check_that_hangs_leaves_threads_to_the_other_probes(service: Service) -> None:
    service.database.freeze()
    with ThreadPoolExecutor(3) as pool:
        checks = [pool.submit(service.server.get, "/readyz", ops=True) for _ in range(3)]
        for _ in range(5):
            assert service.probe("/livez") == 200
        assert {check.result()[0] for check in checks} == {503}


def test_a_statement_that_is_never_answered_is_given_up(service: Service) -> None:
    with (
        psycopg.connect(service.database_url, autocommit=True) as watcher,
        psycopg.connect(service.database_url) as holder,
        ThreadPoolExecutor(1) as pool,
    ):
        holder.execute("LOCK TABLE users")
        asked = pool.submit(service.ask, "GET", "/me", DATABASE)
        until(lambda: watcher.execute(WAITING).fetchone() == (1,), lambda: "nothing asks for users")
        service.database.freeze()
        assert asked.result().status_code == 503
        assert service.client.get("/ping").status_code == 200


def test_a_switchover_that_leaves_the_old_primary_read_only_is_survived(
    tmp_path: Path, two_postgres: tuple[str, str]
) -> None:
    old, new = (url + "postgres" for url in two_postgres)
    for url in (old, new):
        migrate(url)
    host = urlsplit(new)
    with (
        proxy.before(old) as (primary, database_url),
        serving(tmp_path, database_url, SIGNUP_LIMIT="1000 per minute") as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client,
    ):
        people = (f"{number}@example.com" for number in range(1000))

        def sign_up(_: object = None) -> int:
            person = {"name": "x", "email": next(people), "password": PASSWORD}
            return client.post("/api/users", json=person).status_code

        with ThreadPoolExecutor(8) as pool:
            # Several connections lead to the old one.
            assert set(pool.map(sign_up, range(8))) == {201}
        primary.target = (str(host.hostname), int(host.port or 0))
        with psycopg.connect(old, autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            admin.execute("SELECT pg_reload_conf()")
        seen = []

        def works() -> bool:
            seen.append(sign_up())
            return seen[-5:] == [201] * 5

        recovers(works)
        assert set(seen) <= {201, 503}, seen
    with psycopg.connect(new) as there:
        assert there.execute("SELECT count(*) >= 5 FROM users").fetchone() == (True,)

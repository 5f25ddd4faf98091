"""Who may ask how often, counted for whom, and what an answer says of it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import proxy
import pytest
import redis
from answers import ANN, MIGRATE, PASSWORD, problem, settings, signed_in, until
from containers import spare
from flask import Flask
from flask.testing import FlaskClient
from serving import migrate, serving
from werkzeug.test import TestResponse

from slipway import accounts, create_app
from slipway.database import db
from slipway.limits import limiter
from slipway.models import ADMIN

Limited = Callable[..., Flask]


@pytest.fixture
def limited(database_url: str, redis_url: str | None) -> Iterator[Limited]:
    """The service with these settings, and its schema."""
    apps = []

    def made(**values: Any) -> Flask:
        app = create_app(settings(database_url=database_url, redis_url=redis_url, **values))
        assert app.test_cli_runner().invoke(args=MIGRATE).exit_code == 0
        apps.append(app)
        return app

    yield made
    for app in apps:
        with app.app_context():
            limiter.reset()
            db.engine.dispose()


def from_address(app: Flask, address: str, **headers: str) -> FlaskClient:
    client = app.test_client()
    client.environ_base["REMOTE_ADDR"] = address
    client.environ_base.update({f"HTTP_{name.upper()}": value for name, value in headers.items()})
    return client


def left(answer: TestResponse) -> int:
    return int(answer.headers["RateLimit-Remaining"])


def test_every_answer_says_what_is_left(limited: Limited) -> None:
    client = limited(rate_limit="3 per minute").test_client()
    answers = [client.get(path) for path in ("/expensive", "/api/users", "/api/users/1")]
    assert [a.status_code for a in answers] == [200, 401, 401]
    assert [left(a) for a in answers] == [2, 1, 0]
    for answer in answers:
        assert answer.headers["RateLimit-Limit"] == "3"
        assert answer.headers["RateLimit-Policy"] == "3;w=60"
        assert 1 <= int(answer.headers["RateLimit-Reset"]) <= 60
        assert "Retry-After" not in answer.headers
    refused = client.get("/expensive")
    problem(refused, 429)
    assert left(refused) == 0
    assert refused.headers["Retry-After"] == refused.headers["RateLimit-Reset"]
    assert not [name for name, _ in refused.headers if name.lower().startswith("x-ratelimit")]


def test_who_comes_again_when_told_to_is_answered(limited: Limited) -> None:
    client = limited(rate_limit="2 per 2 seconds").test_client()
    answers = [client.get("/expensive") for _ in range(3)]
    assert [a.status_code for a in answers] == [200, 200, 429]
    until(
        lambda: client.get("/expensive").status_code == 200,
        lambda: "it is still refused",
        seconds=int(answers[-1].headers["Retry-After"]),
    )


def test_what_a_platform_asks_all_the_time_is_not_limited(limited: Limited) -> None:
    client = limited(rate_limit="1 per minute").test_client()
    for path in ("/ping", "/", "/version") * 2:
        answer = client.get(path)
        assert answer.status_code == 200
        assert "RateLimit-Limit" not in answer.headers


def test_users_behind_one_address_do_not_share(limited: Limited) -> None:
    app = limited(rate_limit="2 per minute")
    clients = [signed_in(app, f"{name}@example.com") for name in "abc"]
    assert [left(client.get("/me")) for client in clients] == [1, 1, 1]
    stranger = app.test_client()
    assert [stranger.get("/expensive").status_code for _ in range(3)] == [200, 200, 429]
    assert [client.get("/me").status_code for client in clients] == [200, 200, 200]
    assert [client.get("/me").status_code for client in clients] == [429, 429, 429]


def test_a_user_is_the_same_from_every_address(limited: Limited) -> None:
    app = limited(rate_limit="2 per minute")
    client = signed_in(app, "a@example.com")
    answers = []
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        client.environ_base["REMOTE_ADDR"] = address
        answers.append(client.get("/me").status_code)
    assert answers == [200, 200, 429]


@pytest.mark.parametrize("token", ["x", "a.b.c", "\u00ff", "", "e30.e30."])
def test_who_makes_up_a_token_is_counted_by_address(limited: Limited, token: str) -> None:
    app = limited(rate_limit="2 per minute")
    app.test_client().get("/expensive")
    forged = app.test_client().get("/expensive", headers={"Authorization": f"Bearer {token}"})
    assert left(forged) == 0


@pytest.mark.parametrize(
    ("hops", "one", "other", "same"),
    [
        (0, "198.51.100.1", "198.51.100.2", True),
        (1, "198.51.100.1, 203.0.113.7", "198.51.100.2, 203.0.113.7", True),
        (1, "203.0.113.7", "203.0.113.8", False),
        (1, "2001:db8:1:2::1", "2001:db8:1:2:ffff::2", True),
        (1, "2001:db8:1:2::1", "2001:db8:1:3::1", False),
        (1, "::ffff:192.0.2.1", "192.0.2.1", True),
        (1, "::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        (1, "nonsense", "nonsense", True),
    ],
)
def test_an_address_is_what_the_trusted_proxies_saw(
    limited: Limited, hops: int, one: str, other: str, same: bool
) -> None:
    app = limited(rate_limit="2 per minute", forwarded_hops=hops)
    answers = [
        app.test_client().get("/expensive", headers={"X-Forwarded-For": said})
        for said in (one, other)
    ]
    assert [left(a) for a in answers] == [1, 0 if same else 1]


def log_in(client: FlaskClient, email: str, password: str) -> int:
    return client.post("/login", json={"email": email, "password": password}).status_code


def test_log_ins_are_limited_by_address_whoever_asks(limited: Limited) -> None:
    app = limited(login_limit="3 per minute")
    clients = [signed_in(app, f"{name}@example.com") for name in "abcd"]
    tries = [log_in(client, f"{n}@example.org", "wrong") for n, client in enumerate(clients)]
    assert tries == [401, 401, 401, 429]
    assert log_in(from_address(app, "192.0.2.1"), "ann@example.com", "wrong") == 401


def test_log_ins_that_fail_are_limited_by_account(limited: Limited) -> None:
    app = limited()
    with app.test_request_context():
        accounts.add("Ann", "ann@example.com", password=PASSWORD)
        accounts.add("Bo", "bo@example.com", password=PASSWORD)
        db.session.commit()

    def tried(number: int, password: str, email: str) -> int:
        return log_in(from_address(app, f"192.0.2.{number}"), email, password)

    assert {tried(n, PASSWORD, "ann@example.com") for n in range(60)} == {200}
    spellings = ("ann@example.com", "ANN@example.com", " Ann@Example.com ")
    failed = [tried(n, "wrong", spellings[n % 3]) for n in range(50)]
    assert failed == [401] * 50
    assert tried(100, PASSWORD, "ann@example.com") == 429
    assert tried(100, PASSWORD, "bo@example.com") == 200


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b"null", "application/json"),
        (b"[1]", "application/json"),
        (b'{"email": ["a"], "password": 1}', "application/json"),
        (b'{"email": "\\ud800", "password": "x"}', "application/json"),
        (b'{"email": "a\\u0000@x.org", "password": "x"}', "application/json"),
        (b'{"email": ' + b"[" * 100_000, "application/json"),
        (b'{"email": ' + b"1" * 5000 + b"}", "application/json"),
        (b"\xff", "application/json; charset=utf-7"),
        (b"email=a%00", "application/x-www-form-urlencoded"),
        (b"email", "multipart/form-data"),
        (json.dumps({"email": "x" * 2_000_000}).encode(), "application/json"),
    ],
)
@pytest.mark.parametrize("path", ["/login", "/account/login"])
def test_an_odd_log_in_is_still_the_clients_mistake(
    limited: Limited, path: str, body: bytes, content_type: str
) -> None:
    answer = limited().test_client().post(path, data=body, content_type=content_type)
    assert 400 <= answer.status_code < 500, answer.text


@pytest.mark.parametrize("path", ["/", "/ping", "/version"])
def test_what_costs_nothing_is_not_limited(anonymous: FlaskClient, path: str) -> None:
    assert "RateLimit-Limit" not in anonymous.get(path).headers
    assert anonymous.get("/expensive").headers["RateLimit-Limit"] == "600"


def test_signing_up_is_limited_by_address_for_strangers_alone(limited: Limited) -> None:
    app = limited(signup_limit="2 per hour")

    def sign_up(client: FlaskClient, number: int) -> int:
        person = {**ANN, "email": f"{number}@example.com", "password": PASSWORD}
        return client.post("/api/users", json=person).status_code

    stranger, admin = app.test_client(), signed_in(app, "admin@example.com", ADMIN)
    assert [sign_up(stranger, n) for n in range(3)] == [201, 201, 429]
    assert [sign_up(admin, n) for n in range(3, 7)] == [201] * 4


@contextmanager
def behind_a_proxy(tmp_path: Path, url: str) -> Iterator[tuple[FlaskClient, proxy.Proxy]]:
    with proxy.before(url) as (valkey, redis_url):
        database_url = f"sqlite:///{tmp_path}/slipway.db"
        values = {"database_url": database_url, "redis_url": redis_url}
        yield create_app(settings(**values, rate_limit="5 per minute")).test_client(), valkey


@pytest.mark.needs("engine")
@pytest.mark.parametrize("how", ["freeze", "refuse"])
def test_without_valkey_a_process_counts_for_itself_until_it_is_back(
    shared_valkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("slipway.valkey.PAUSE_SECONDS", 0.5)
    url = spare(shared_valkey)
    with redis.Redis.from_url(url) as counts, behind_a_proxy(tmp_path, url) as (client, valkey):
        assert [left(client.get("/expensive")) for _ in range(2)] == [4, 3]
        getattr(valkey, how)()
        away = [client.get("/expensive") for _ in range(6)]
        assert [a.status_code for a in away] == [200] * 5 + [429]
        assert [left(a) for a in away] == [4, 3, 2, 1, 0, 0]
        valkey.restore()
        until(lambda: client.get("/expensive").status_code == 200, lambda: "not back", seconds=5)
        assert counts.llen(counts.keys("LIMITS*address*")[0]) >= 3


@pytest.mark.needs("engine")
def test_replicas_count_together(tmp_path: Path, shared_valkey: str) -> None:
    url = f"sqlite:///{tmp_path}/slipway.db"
    migrate(url)
    environment = {"REDIS_URL": spare(shared_valkey), "RATE_LIMIT": "4 per minute"}
    for name in "ab":
        (tmp_path / name).mkdir()
    with (
        serving(tmp_path / "a", url, **environment) as one,
        serving(tmp_path / "b", url, **environment) as other,
    ):
        ports = [one.port, other.port] * 3
        answers = [httpx.get(f"http://127.0.0.1:{port}/expensive") for port in ports]
    assert [a.status_code for a in answers] == [200] * 4 + [429] * 2
    assert [a.headers["RateLimit-Remaining"] for a in answers] == ["3", "2", "1", "0", "0", "0"]


def test_a_mistake_of_ours_is_not_taken_for_an_absent_valkey(
    limited: Limited, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = limited(rate_limit="3 per minute")
    client = app.test_client()
    assert left(client.get("/expensive")) == 2
    with monkeypatch.context() as patch:
        patch.setattr("slipway.identity.claimed", lambda: 1 / 0)
        problem(client.get("/expensive"), 500)
    assert left(client.get("/expensive")) == 1


@pytest.mark.needs("engine")
def test_a_limit_is_one_question_to_valkey(valkey: str, tmp_path: Path) -> None:
    with redis.Redis.from_url(valkey) as counts, behind_a_proxy(tmp_path, valkey) as (client, _):
        client.get("/me")
        counts.config_resetstat()
        assert left(client.get("/me")) == 3
        asked = {name: said["calls"] for name, said in counts.info("commandstats").items()}
    assert asked["cmdstat_evalsha"] == 1

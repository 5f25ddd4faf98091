"""The service's own endpoints, its tasks, and what it says when something is away."""

import re
import time
from datetime import datetime

import pytest
import redis
from answers import problem, settings
from flask import Flask, request
from flask.testing import FlaskClient
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.exc import StaleDataError

from slipway import create_app
from slipway.brand import NAME
from slipway.database import db
from slipway.ops import Operations

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_the_root_links_to_what_answers(client: FlaskClient) -> None:
    for path in client.get("/").get_json()["links"].values():
        assert client.get(path).status_code == 200


def test_the_version_is_the_packages(client: FlaskClient) -> None:
    version = client.get("/version").get_json()
    assert version["name"] == NAME
    assert re.fullmatch(r"\d+\.\d+\.\d+", version["version"])


def test_slow_waits_two_seconds(client: FlaskClient) -> None:
    started = time.monotonic()
    assert client.get("/slow").status_code == 200
    assert time.monotonic() - started >= 2


def test_an_expensive_answer_is_made_once(client: FlaskClient) -> None:
    first, second = (client.get("/expensive").get_json() for _ in range(2))
    assert first == second
    assert first["primes_below_20000"] == 2262
    assert datetime.fromisoformat(first["computed_at"]).tzinfo


def test_the_trace_id_of_the_caller_is_in_the_answer(client: FlaskClient) -> None:
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    assert problem(client.get("/nowhere", headers=headers), 404)["trace_id"] == TRACE


@pytest.mark.parametrize("bad", ["x", f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{TRACE}-x-01"])
def test_a_broken_traceparent_gets_a_new_id(client: FlaskClient, bad: str) -> None:
    trace = client.get("/ping", headers={"traceparent": bad}).headers["X-Trace-Id"]
    assert re.fullmatch("[0-9a-f]{32}", trace)
    assert trace != TRACE


def test_a_database_that_is_away_is_a_503_that_says_when_to_come_again() -> None:
    app = create_app(settings(database_url="postgresql://x:secret@127.0.0.1:1/x"))
    answer = app.test_client().post("/login", json={"email": "a@example.com", "password": "x"})
    assert "secret" not in str(problem(answer, 503))
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DBAPIError("SELECT 1", {}, Exception("inside"), connection_invalidated=True), 503),
        (DBAPIError("SELECT 1", {}, Exception("inside")), 500),
        (StaleDataError("an inside"), 409),
        (redis.ConnectionError("inside"), 503),
    ],
    ids=["the connection is gone", "the statement is wrong", "overtaken", "Valkey is gone"],
)
def test_what_goes_wrong_with_data_has_its_status(
    app: Flask, client: FlaskClient, error: Exception, status: int
) -> None:
    def fail() -> str:
        raise error

    app.view_functions["root.ping"] = fail
    answer = client.get("/ping")
    assert "inside" not in str(problem(answer, status))
    assert ("Retry-After" in answer.headers) == (status == 503)


def test_readiness_asks_the_database_that_requests_use() -> None:
    app = create_app(settings(database_url="sqlite:///relative.db"))
    with app.app_context():
        assert Operations(app).engine.url == db.engine.url


def test_an_unforeseen_error_is_a_500_without_its_insides(app: Flask, client: FlaskClient) -> None:
    def fail() -> str:
        raise ValueError("an inside")

    app.view_functions["root.ping"] = fail
    assert "inside" not in str(problem(client.get("/ping"), 500))


@pytest.mark.parametrize(("hops", "seen"), [(0, "127.0.0.1"), (1, "203.0.113.7")])
def test_an_address_is_believed_from_as_many_proxies_as_there_are(
    database_url: str, hops: int, seen: str
) -> None:
    app = create_app(settings(database_url=database_url, forwarded_hops=hops))
    addresses = []
    app.before_request(lambda: addresses.append(request.remote_addr))
    app.test_client().get("/ping", headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.7"})
    assert addresses == [seen]

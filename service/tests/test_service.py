"""The service's own endpoints, its tasks, and what it says when something is away."""

import re
import time
from collections.abc import Iterator

import pytest
from answers import ANN, problem, settings
from flask import Flask, request
from flask.testing import FlaskClient

from slipway import create_app
from slipway.cache import cache
from slipway.database import db
from slipway.limits import limiter
from slipway.ops import Operations

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(autouse=True)
def _afresh(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield
        cache.clear()
        limiter.reset()


def test_the_root_links_to_what_answers(client: FlaskClient) -> None:
    for path in client.get("/").get_json()["links"].values():
        assert client.get(path).status_code == 200


def test_the_version_is_the_packages(client: FlaskClient) -> None:
    version = client.get("/version").get_json()
    assert version["name"] == "slipway"
    assert re.fullmatch(r"\d+\.\d+\.\d+", version["version"])


def test_slow_waits_two_seconds(client: FlaskClient) -> None:
    started = time.monotonic()
    assert client.get("/slow").status_code == 200
    assert time.monotonic() - started >= 2


def test_an_expensive_answer_is_made_once(client: FlaskClient) -> None:
    first, second = (client.get("/expensive").get_json() for _ in range(2))
    assert first == second


def test_the_trace_id_of_the_caller_is_in_the_answer(client: FlaskClient) -> None:
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    assert problem(client.get("/nowhere", headers=headers), 404)["trace_id"] == TRACE


@pytest.mark.parametrize("bad", ["x", f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{TRACE}-x-01"])
def test_a_broken_traceparent_gets_a_new_id(client: FlaskClient, bad: str) -> None:
    trace = client.get("/ping", headers={"traceparent": bad}).headers["X-Trace-Id"]
    assert re.fullmatch("[0-9a-f]{32}", trace)
    assert trace != TRACE


def test_a_task_can_be_followed_to_its_end(client: FlaskClient) -> None:
    user = client.post("/api/users", json=ANN).get_json()["id"]
    started = client.post("/api/tasks/email", json={"user_id": user})
    assert started.status_code == 202
    followed = client.get(started.headers["Location"]).get_json()
    assert followed["id"] == started.get_json()["id"]
    assert followed["status"] == "SUCCESS"


def test_a_task_that_never_was_is_a_404(client: FlaskClient) -> None:
    problem(client.get("/api/tasks/0af76519-16cd-43dd-8448-eb211c80319c"), 404)
    problem(client.get("/api/tasks/none"), 404)


def test_a_mail_to_nobody_is_refused(client: FlaskClient) -> None:
    for user_id in (1, 0, 2**63, "1"):
        problem(client.post("/api/tasks/email", json={"user_id": user_id}), 422)


def test_mails_are_limited(client: FlaskClient) -> None:
    user = client.post("/api/users", json=ANN).get_json()["id"]
    mails = [client.post("/api/tasks/email", json={"user_id": user}) for _ in range(31)]
    assert [m.status_code for m in mails] == [202] * 30 + [429]
    problem(mails[-1], 429)
    assert int(mails[-1].headers["Retry-After"]) <= 60


def test_a_database_that_is_away_is_a_503_that_says_when_to_come_again() -> None:
    app = create_app(settings(database_url="postgresql://x:secret@127.0.0.1:1/x"))
    answer = app.test_client().get("/api/users")
    assert "secret" not in str(problem(answer, 503))
    assert int(answer.headers["Retry-After"]) > 0


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

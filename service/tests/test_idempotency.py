"""A POST that is sent again by the same key is done once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from answers import ANN, PASSWORD, problem, settings, signed_in, until
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from slipway import accounts, create_app
from slipway.database import db, now
from slipway.models import ADMIN, IdempotencyKey, User

BO = {"name": "Bo", "email": "bo@example.com"}
STRANGER = {**ANN, "password": PASSWORD}
WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def create(client: FlaskClient, key: str | None, person: dict[str, Any] = ANN) -> TestResponse:
    headers = {"Idempotency-Key": key} if key is not None else {}
    return client.post("/api/users", json=person, headers=headers)


def count(app: Flask, model: Any = User) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(model)) or 0


def test_the_same_request_gets_the_same_answer(app: Flask, client: FlaskClient) -> None:
    first, second = create(client, "k"), create(client, "k")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.get_json() == second.get_json()
    for name in ("Location", "ETag", "Content-Type"):
        assert first.headers[name] == second.headers[name]
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert count(app) == 2


def test_without_a_key_every_request_counts(client: FlaskClient) -> None:
    assert create(client, None).status_code == 201
    problem(create(client, None), 409)


@pytest.mark.parametrize("key", ["k", 'a key of "words" {}~', "!", "x" * 255])
def test_a_key_may_be_any_printable_text(client: FlaskClient, key: str) -> None:
    assert create(client, key).status_code == 201
    assert create(client, key).headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "schl\u00fcssel", "a\tb"])
def test_any_other_key_is_a_400(app: Flask, client: FlaskClient, key: str) -> None:
    problem(create(client, key), 400)
    assert count(app) == 1


def test_another_request_by_the_same_key_is_a_409(app: Flask, client: FlaskClient) -> None:
    create(client, "k")
    answer = create(client, "k", BO)
    assert "Idempotency-Key" in problem(answer, 409)["detail"]
    assert count(app) == 2


def test_keys_of_different_people_are_different(app: Flask, client: FlaskClient) -> None:
    other = signed_in(app, "other@example.com", ADMIN)
    assert create(client, "k").status_code == 201
    assert create(other, "k", BO).status_code == 201
    answer = create(app.test_client(), "k", {**STRANGER, "email": "cy@example.com"})
    assert answer.status_code == 201
    assert "Idempotency-Replayed" not in answer.headers


def test_each_of_many_keys_has_its_own_answer(app: Flask, client: FlaskClient) -> None:
    """In whichever order keys and people sort."""
    other = signed_in(app, "other@example.com", ADMIN)
    asked = [
        (who, key, {"name": "N", "email": f"{n}{key}@example.com"})
        for n, who in enumerate([other, client])
        for key in "bac"
    ]
    first = [create(*one) for one in asked]
    assert [answer.status_code for answer in first] == [201] * len(asked)
    assert ["Idempotency-Replayed" in answer.headers for answer in first] == [False] * len(asked)
    again = [create(*one) for one in asked]
    assert [answer.get_json() for answer in again] == [answer.get_json() for answer in first]


def test_a_stranger_who_knows_the_key_but_not_the_request_learns_nothing(
    anonymous: FlaskClient,
) -> None:
    create(anonymous, "k", STRANGER)
    answer = create(anonymous, "k", {**STRANGER, "password": PASSWORD + "?"})
    assert "ann" not in str(problem(answer, 409)).lower()
    assert create(anonymous, "k", STRANGER).status_code == 201


def test_an_ended_session_gets_no_answer_of_former_times(app: Flask, client: FlaskClient) -> None:
    create(client, "k")
    client.post("/logout")
    problem(create(client, "k"), 401)


def test_an_answer_that_is_an_error_is_not_kept(app: Flask, client: FlaskClient) -> None:
    problem(create(client, "k", {**ANN, "email": "nobody"}), 422)
    problem(create(client, "k", {**ANN, "email": "admin@example.com"}), 409)
    assert count(app, IdempotencyKey) == 0
    assert create(client, "k").status_code == 201


def test_the_key_and_what_it_stands_for_are_written_together(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("slipway.idempotency._write_down", lambda *_: 1 / 0)
        problem(create(client, "k"), 500)
    assert (count(app), count(app, IdempotencyKey)) == (1, 0)
    assert create(client, "k").status_code == 201


def test_a_key_is_forgotten_after_a_day(app: Flask, client: FlaskClient) -> None:
    create(client, "k")
    create(client, "l", BO)
    with app.app_context():
        expires = db.session.scalars(select(IdempotencyKey.expires_at)).all()
        assert all(timedelta(hours=23) < e - now() < timedelta(hours=25) for e in expires)
        db.session.execute(update(IdempotencyKey).values(expires_at=now() - timedelta(seconds=1)))
        db.session.commit()
    problem(create(client, "k"), 409)
    assert create(client, "k", {**BO, "email": "cy@example.com"}).status_code == 201
    assert count(app, IdempotencyKey) == 1


def test_no_password_can_be_found_from_a_key(app: Flask, anonymous: FlaskClient) -> None:
    create(anonymous, "k", STRANGER)
    with app.app_context():
        row = db.session.scalars(select(IdempotencyKey)).one()
        assert PASSWORD not in f"{row.fingerprint} {row.headers} {row.body}"
        prints = {row.fingerprint}
        db.session.delete(row)
        db.session.execute(update(User).values(email=User.name))
        db.session.commit()
    app.config["SECRET_KEY"] = "another" * 8
    create(anonymous, "k", STRANGER)
    with app.app_context():
        prints |= set(db.session.scalars(select(IdempotencyKey.fingerprint)))
    assert len(prints) == 2


def test_a_key_outlives_a_change_of_the_secret(app: Flask, client: FlaskClient) -> None:
    create(client, "k")
    app.config["SECRET_KEY_FALLBACKS"] = [app.config["SECRET_KEY"]]
    app.config["SECRET_KEY"] = "another" * 8
    assert create(client, "k").headers["Idempotency-Replayed"] == "true"
    create(client, "later", BO)
    app.config["SECRET_KEY_FALLBACKS"] = []
    assert create(client, "later", BO).headers["Idempotency-Replayed"] == "true"


def test_of_20_requests_at_once_one_is_done(app: Flask, client: FlaskClient) -> None:
    barrier = threading.Barrier(20)

    def ask(_: int) -> TestResponse:
        barrier.wait()
        return create(app.test_client(), "k", STRANGER)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))
    assert {a.status_code for a in answers} == {201}, [a.text for a in answers]
    assert len({a.text for a in answers}) == 1
    assert sum("Idempotency-Replayed" not in a.headers for a in answers) == 1
    assert (count(app), count(app, IdempotencyKey)) == (2, 1)


@pytest.fixture
def slow(app: Flask, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Makes accounts once the second event is set; the first one tells that one is being made."""
    begun, goes_on = threading.Event(), threading.Event()
    add = accounts.add

    def waits(*args: Any, **values: Any) -> User:
        begun.set()
        assert goes_on.wait(30)
        return add(*args, **values)

    monkeypatch.setattr(accounts, "add", waits)
    return begun, goes_on


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.needs("engine")
def test_who_comes_meanwhile_waits_a_moment_and_is_told_to_come_again(
    client: FlaskClient, app: Flask, slow: tuple[threading.Event, threading.Event]
) -> None:
    begun, goes_on = slow
    again = app.test_client()
    again.environ_base.update(client.environ_base)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(create, client, "k")
        assert begun.wait(20)
        answer = create(again, "k")
        assert "under way" in problem(answer, 409)["detail"]
        assert int(answer.headers["Retry-After"]) >= 1
        goes_on.set()
        assert first.result().status_code == 201
    assert create(again, "k").headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.needs("engine")
def test_who_waits_for_one_that_fails_does_it(
    client: FlaskClient,
    app: Flask,
    slow: tuple[threading.Event, threading.Event],
    postgres_url: str,
) -> None:
    begun, goes_on = slow
    taken = {**ANN, "email": "admin@example.com"}
    again = app.test_client()
    again.environ_base.update(client.environ_base)

    def waiting() -> bool:
        return admin.execute(WAITING).fetchone() == (1,)

    with psycopg.connect(postgres_url, autocommit=True) as admin, ThreadPoolExecutor(2) as pool:
        first = pool.submit(create, client, "k", taken)
        assert begun.wait(20)
        second = pool.submit(create, again, "k", taken)
        until(waiting, lambda: "the second does not wait for the first")
        goes_on.set()
        for answer in (first.result(), second.result()):
            assert "e-mail" in problem(answer, 409)["detail"]
    assert count(app, IdempotencyKey) == 0


def test_the_header_is_in_the_description(app: Flask) -> None:
    document = app.test_client().get("/openapi.json").get_json()
    operation = document["paths"]["/api/users"]["post"]
    (header,) = [p for p in operation["parameters"] if p["in"] == "header"]
    assert header["name"] == "Idempotency-Key"
    assert not header.get("required")
    assert {"400", "409"} <= set(operation["responses"])


def test_a_database_that_is_away_is_a_503_whatever_the_key() -> None:
    app = create_app(settings(database_url="postgresql://x:secret@127.0.0.1:1/x"))
    for key in ("k", None):
        answer = create(app.test_client(), key, STRANGER)
        problem(answer, 503)
        assert int(answer.headers["Retry-After"]) >= 1

"""Tasks from the outside in: who may ask, what is sent, and what becomes of what cannot be done."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import proxy
import pytest
import redis
import sqlalchemy.exc
from answers import problem, settings, signed_in, until
from flask import Flask
from flask.testing import FlaskClient
from kombu.exceptions import OperationalError as BrokerError
from post import Peer, peer
from prometheus_client import generate_latest
from prometheus_client.registry import CollectorRegistry
from werkzeug.test import TestResponse

from slipway import create_app, tasks
from slipway.consumer import Pulse
from slipway.database import db

MAIL = {"subject": "Hello", "text": "How do you do?\n"}
NOBODYS = "0af76519-16cd-43dd-8448-eb211c80319c"


def ask(client: FlaskClient, **more: Any) -> TestResponse:
    return client.post("/api/tasks/email", json={**MAIL, **more})


@pytest.fixture
def worked(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks are done as they are asked for, without a worker; where there is none, as usual."""
    celery = app.extensions["celery"]

    def run(self: Any, args: Any = (), task_id: str | None = None, **_: Any) -> None:
        celery.tasks[tasks.send_email.name].apply(args, task_id=task_id)

    monkeypatch.setattr(type(celery.tasks[tasks.send_email.name]), "apply_async", run)


def ended(client: FlaskClient, asked: TestResponse) -> dict[str, Any]:
    """The task's last state."""
    assert asked.status_code == 202, asked.text
    seen: dict[str, Any] = {}

    def is_over() -> bool:
        seen.update(client.get(asked.headers["Location"]).get_json())
        return seen["status"] in {"SUCCESS", "FAILURE"}

    until(is_over, lambda: str(seen))
    return seen


def test_a_task_can_be_followed_to_its_end(worked: None, member: FlaskClient) -> None:
    asked = ask(member)
    state = ended(member, asked)
    assert state == {
        "id": asked.get_json()["id"],
        "status": "SUCCESS",
        "result": "not sent: SMTP_URL is not set",
    }


def test_only_who_asked_for_a_task_and_admins_see_it(
    worked: None, app: Flask, client: FlaskClient, member: FlaskClient, anonymous: FlaskClient
) -> None:
    path = ask(member).headers["Location"]
    assert client.get(path).status_code == member.get(path).status_code == 200
    problem(signed_in(app, "another@example.com").get(path), 404)
    problem(anonymous.get(path), 401)


def test_a_task_that_never_was_is_a_404(client: FlaskClient) -> None:
    problem(client.get(f"/api/tasks/{NOBODYS}"), 404)
    problem(client.get("/api/tasks/none"), 404)


def test_only_admins_have_mail_sent_to_others(
    worked: None, client: FlaskClient, member: FlaskClient, anonymous: FlaskClient
) -> None:
    theirs = {c: c.get("/me").get_json()["id"] for c in (client, member)}
    assert ask(client, user_id=theirs[member]).status_code == 202
    assert ask(member, user_id=theirs[member]).status_code == 202
    problem(ask(member, user_id=theirs[client]), 403)
    problem(ask(anonymous), 401)


def test_a_mail_to_nobody_is_refused(client: FlaskClient) -> None:
    problem(ask(client, user_id=4711), 404)


@pytest.mark.parametrize("user_id", [0, 2**63, "1", None])
def test_a_mail_to_what_is_no_user_is_refused(client: FlaskClient, user_id: object) -> None:
    (error,) = problem(ask(client, user_id=user_id), 422)["errors"]
    assert (error["in"], error["field"]) == ("json", "user_id")


@pytest.mark.parametrize(
    "wrong",
    [
        {"subject": ""},
        {"subject": "s" * 201},
        {"subject": "two\nlines"},
        {"subject": "one\r\nBcc: you@example.com"},
        {"text": ""},
        {"text": " \n "},
        {"text": "t" * 10_001},
        {"text": "a\x00b"},
        {"text": "a\rb"},
        {"text": "\ud800"},
        {"text": 1},
    ],
)
def test_a_mail_that_no_server_should_see_is_refused(
    client: FlaskClient, wrong: dict[str, object]
) -> None:
    (error,) = problem(ask(client, **wrong), 422)["errors"]
    assert {error["field"]} == set(wrong)


def test_mails_are_limited(worked: None, member: FlaskClient) -> None:
    mails = [ask(member) for _ in range(31)]
    assert [m.status_code for m in mails] == [202] * 30 + [429]
    problem(mails[-1], 429)
    assert int(mails[-1].headers["Retry-After"]) <= 60


def test_a_request_that_is_sent_again_is_one_task(
    worked: None, app: Flask, member: FlaskClient, client: FlaskClient
) -> None:
    first, second = (
        member.post("/api/tasks/email", json=MAIL, headers={"Idempotency-Key": "k"})
        for _ in range(2)
    )
    assert first.get_json()["id"] == second.get_json()["id"]
    others = [
        client.post("/api/tasks/email", json=MAIL, headers={"Idempotency-Key": "k"}),
        member.post("/api/tasks/email", json=MAIL, headers={"Idempotency-Key": "l"}),
        ask(member),
        ask(member),
    ]
    assert len({first.get_json()["id"], *(o.get_json()["id"] for o in others)}) == 5


def test_a_lost_answer_does_not_send_the_mail_again(
    worked: None, app: Flask, member: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with peer() as server:
        app.config["SETTINGS"] = app.config["SETTINGS"].model_copy(
            update={"smtp_url": settings(smtp_url=server.url).smtp_url}
        )
        commit = db.session.commit

        def fail() -> None:
            monkeypatch.setattr(db.session, "commit", commit)
            raise sqlalchemy.exc.OperationalError("COMMIT", {}, Exception("away"))

        enqueue = tasks.enqueue

        def enqueue_and_lose(*args: Any, **kwargs: Any) -> str:
            task_id = enqueue(*args, **kwargs)
            until(lambda: len(server.mails) == 1, lambda: str(server.said))
            until(lambda: state_of(app, task_id) == "SUCCESS", lambda: state_of(app, task_id))
            monkeypatch.setattr(db.session, "commit", fail)
            return task_id

        def send() -> TestResponse:
            return member.post("/api/tasks/email", json=MAIL, headers={"Idempotency-Key": "k"})

        monkeypatch.setattr(tasks, "enqueue", enqueue_and_lose)
        problem(send(), 503)
        monkeypatch.setattr(tasks, "enqueue", enqueue)
        assert ended(member, send())["status"] == "SUCCESS"
        assert len(server.mails) == 1


def state_of(app: Flask, task_id: str) -> str:
    with app.app_context():
        return str(tasks.state(task_id)["status"])


@pytest.mark.needs("engine")
@pytest.mark.parametrize("how", ["refuse", "freeze"])
def test_without_its_broker_a_task_is_a_503_soon_and_comes_back(
    worker: Flask, valkey: str, how: str
) -> None:
    uri = worker.config["SETTINGS"].database_url
    with proxy.before(valkey) as (between, url):
        app = create_app(settings(database_url=uri, redis_url=url))
        client = signed_in(app, f"{how}@example.com")
        path = ask(client).headers["Location"]
        getattr(between, how)()
        for _ in range(3):
            calls: list[Callable[[], TestResponse]] = [
                lambda: ask(client),
                lambda: client.get(path),
            ]
            for call in calls:
                began = time.monotonic()
                answer = call()
                assert time.monotonic() - began < 3
                problem(answer, 503)
                assert int(answer.headers["Retry-After"]) > 0
        between.restore()
        assert ask(client).status_code == 202
        assert client.get(path).get_json()["status"] == "QUEUED"
        with app.app_context():
            db.engine.dispose()


@pytest.mark.needs("engine")
@pytest.mark.parametrize("how", ["refuse", "freeze", None])
def test_the_length_of_the_queue_is_told_while_it_is_known(valkey: str, how: str | None) -> None:
    with proxy.before(valkey) as (between, url), redis.Redis.from_url(valkey) as broker:
        broker.lpush(tasks.QUEUE, "a", "b", "c")
        registry = CollectorRegistry()
        registry.register(tasks.Queued(create_app(settings(redis_url=url))))
        if how:
            getattr(between, how)()
        began = time.monotonic()
        told = generate_latest(registry).decode()
        assert time.monotonic() - began < 1
        assert ("slipway_tasks_queued 3.0" in told) == (how is None)


def test_a_valkey_that_nobody_vouches_for_is_not_believed(server: Peer, tmp_path: Path) -> None:
    server.encrypt(tmp_path, at_once=True)
    app = create_app(settings(redis_url=server.url.replace("smtp", "rediss")))
    celery = app.extensions["celery"]
    with app.app_context():
        with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            tasks.asked_by(NOBODYS)
        with pytest.raises(BrokerError, match="CERTIFICATE_VERIFY_FAILED"):
            celery.send_task(tasks.send_email.name, retry=False)


def test_without_a_valkey_there_is_no_queue_to_measure() -> None:
    assert list(tasks.Queued(create_app(settings())).collect()) == []


def test_a_pulse_is_stale_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    pulse = Pulse()
    assert not pulse.is_stale()
    monkeypatch.setattr("slipway.consumer.STALE_SECONDS", -1)
    assert pulse.is_stale()

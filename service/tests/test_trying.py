"""What a worker does with a task, whatever becomes of it: once, again, or never more."""

from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest
import redis
import sqlalchemy.exc
from answers import signed_in
from celery.exceptions import Reject, Retry
from flask import Flask
from post import Peer
from sqlalchemy import select

from slipway import dead_letters, mail, tasks
from slipway.database import db, now
from slipway.dead_letters import DeadLetter, DeadLetters
from slipway.models import SentMail

MAIL = {"subject": "Hello", "text": "How do you do?\n"}
NOBODYS = "0af76519-16cd-43dd-8448-eb211c80319c"


pytestmark = pytest.mark.needs("engine")


def in_worker(app: Flask, *args: Any, retries: int = 0, task_id: str = "4-2") -> Any:
    """Run the task as a worker's process does."""
    task = app.extensions["celery"].tasks[tasks.send_email.name]
    task.push_request(
        id=task_id, retries=retries, args=args, kwargs={}, called_directly=False, is_eager=False
    )
    try:
        return task(*args)
    finally:
        task.pop_request()


@pytest.fixture
def ann(worker: Flask) -> int:
    return int(signed_in(worker, "ann@example.com").get("/me").get_json()["id"])


def letters(app: Flask) -> list[DeadLetter]:
    found: DeadLetters = app.extensions["dead_letters"]
    return found.every()


def test_a_mail_that_was_sent_is_not_sent_again(worker: Flask, server: Peer, ann: int) -> None:
    assert in_worker(worker, ann, "Hi", "?") == "sent"
    assert in_worker(worker, ann, "Hi", "?") == "sent before"
    assert len(server.mails) == 1


def test_a_user_who_is_gone_gets_no_mail(worker: Flask, server: Peer) -> None:
    assert in_worker(worker, 4711, "Hi", "?") == "no such user"
    assert not server.mails


def test_old_notes_of_what_was_sent_are_forgotten(worker: Flask, ann: int) -> None:
    with worker.app_context():
        db.session.add(SentMail(task_id="old", sent_at=now() - timedelta(days=8)))
        db.session.add(SentMail(task_id="recent", sent_at=now() - timedelta(days=6)))
        db.session.commit()
        in_worker(worker, ann, "Hi", "?")
        assert set(db.session.scalars(select(SentMail.task_id))) == {"4-2", "recent"}


def test_a_mail_that_two_workers_have_is_sent_by_one(worker: Flask, server: Peer, ann: int) -> None:
    with worker.app_context():
        with db.engine.begin() as other:
            other.execute(SentMail.__table__.insert().values(task_id="4-2", sent_at=now()))
            with pytest.raises(Retry):
                in_worker(worker, ann, "Hi", "?")
        assert in_worker(worker, ann, "Hi", "?") == "sent before"
    assert not server.mails


def test_a_mail_that_another_worker_sends_meanwhile_is_not_sent(
    worker: Flask, server: Peer, ann: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*args: Any, **kwargs: Any) -> Any:
        with db.engine.begin() as other:
            other.execute(SentMail.__table__.insert().values(task_id="4-2", sent_at=now()))
        return EmailMessage()

    monkeypatch.setattr(mail, "build", build)
    assert in_worker(worker, ann, "Hi", "?") == "sent before"
    assert not server.mails


def test_a_sent_mail_is_sent_even_if_that_cannot_be_written_down(
    worker: Flask, server: Peer, ann: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise sqlalchemy.exc.OperationalError("COMMIT", {}, Exception("away"))

    monkeypatch.setattr(db.session, "commit", fail)
    assert in_worker(worker, ann, "Hi", "?") == "sent"


def test_what_fails_for_the_moment_is_tried_again(worker: Flask, server: Peer, ann: int) -> None:
    server.replies["rcpt"] = ["451 later"]
    with pytest.raises(Retry):
        in_worker(worker, ann, "Hi", "?", retries=tasks.TRIES - 2)
    assert not letters(worker)
    server.replies["rcpt"] = ["451 later"]
    with pytest.raises(OSError, match="451"):
        in_worker(worker, ann, "Hi", "?", retries=tasks.TRIES - 1)
    (letter,) = letters(worker)
    assert (letter.id, letter.name, letter.args) == ("4-2", tasks.send_email.name, [ann, "Hi", "?"])
    assert (letter.tries, letter.reason) == (tasks.TRIES, "OSError: 451 later")


def test_what_fails_for_good_is_not_tried_again(worker: Flask, server: Peer, ann: int) -> None:
    server.replies["rcpt"] = ["550 never"]
    with pytest.raises(mail.Refused):
        in_worker(worker, ann, "Hi", "?")
    assert [letter.reason for letter in letters(worker)] == ["Refused: 550 never"]


def test_what_is_begun_again_and_again_and_never_ends_is_given_up(
    worker: Flask, server: Peer, ann: int
) -> None:
    for _ in range(dead_letters.MOST_DELIVERIES):
        worker.extensions["dead_letters"].deliveries("4-2", 0)
    with pytest.raises(RuntimeError, match="was begun 5 times and never ended"):
        in_worker(worker, ann, "Hi", "?")
    assert [letter.id for letter in letters(worker)] == ["4-2"]
    assert not server.mails


def test_each_try_has_deliveries_of_its_own(worker: Flask, ann: int) -> None:
    for retries in range(dead_letters.MOST_DELIVERIES + 1):
        worker.extensions["dead_letters"].deliveries("4-2", retries)
    assert in_worker(worker, ann, "Hi", "?") == "sent"


def test_pauses_grow_and_differ_and_stay_below_the_visibility_timeout() -> None:
    for tries in range(tasks.TRIES):
        pauses = {tasks.pause(tries) for _ in range(50)}
        assert len(pauses) > 40
        assert min(2**tries, 60) / 2 <= min(pauses)
        assert max(pauses) <= min(2**tries, 60)
    assert tasks.PAUSE_MOST_SECONDS + tasks.HARD_SECONDS < tasks.VISIBILITY_SECONDS


def away(*_: object, **__: object) -> None:
    raise redis.ConnectionError("away")


def test_a_retry_that_cannot_be_queued_goes_back_to_the_queue(
    worker: Flask, server: Peer, ann: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.replies["rcpt"] = ["451 later"]
    task = worker.extensions["celery"].tasks[tasks.send_email.name]
    monkeypatch.setattr(type(task), "apply_async", away)
    with pytest.raises(Reject) as rejected:
        in_worker(worker, ann, "Hi", "?")
    assert rejected.value.requeue


def test_what_cannot_be_buried_goes_back_to_the_queue(
    worker: Flask, ann: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeadLetters, "put", away)
    with pytest.raises(Reject) as rejected:
        in_worker(worker, "wrong")
    assert rejected.value.requeue


def test_a_mail_is_sent_though_nobody_can_count_its_deliveries(
    worker: Flask, server: Peer, ann: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeadLetters, "deliveries", away)
    assert in_worker(worker, ann, "Hi", "?") == "sent"

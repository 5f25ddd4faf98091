"""Dead letters, and the commands that show, replay and discard them."""

import json
import time

import proxy
import pytest
from answers import settings
from flask import Flask
from kombu.exceptions import OperationalError as BrokerError

from slipway import create_app, tasks
from slipway.dead_letters import DeadLetter, DeadLetters

MAIL = {"subject": "Hello", "text": "How do you do?\n"}
NOBODYS = "0af76519-16cd-43dd-8448-eb211c80319c"


pytestmark = pytest.mark.needs("engine")


@pytest.fixture
def box(worker: Flask) -> DeadLetters:
    """The list of dead letters."""
    letters: DeadLetters = worker.extensions["dead_letters"]
    return letters


def command(app: Flask, *arguments: str) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=["dead-letters", *arguments])
    return result.exit_code, result.output


def test_dead_letters_are_listed_shown_and_discarded(worker: Flask, box: DeadLetters) -> None:
    for number in (2, 1):
        box.put(DeadLetter("why", str(number), "a.task", [1], when=f"2026-01-0{number}"))
    status, listed = command(worker, "list")
    assert status == 0
    assert [line.split()[:3] for line in listed.splitlines()] == [
        ["1", "2026-01-01", "a.task"],
        ["2", "2026-01-02", "a.task"],
    ]
    shown = json.loads(command(worker, "show", "2")[1])
    assert (shown["name"], shown["args"], shown["reason"]) == ("a.task", [1], "why")
    assert command(worker, "discard", "2") == (0, "dead-letters: discarded 2\n")
    assert [letter.id for letter in box.every()] == ["1"]


def test_a_replayed_dead_letter_is_queued_once_more_under_its_id(
    worker: Flask, box: DeadLetters
) -> None:
    box.put(DeadLetter("why", "4-2", tasks.send_email.name, [1, "Hi", "?"], tries=12))
    box.put(DeadLetter("unreadable", "4-3", body="{"))
    assert [box.deliveries("4-2", 0) for _ in range(2)] == [1, 2]
    status, said = command(worker, "replay", "--all")
    assert status == 0
    assert "replayed 4-2" in said
    assert "4-3 cannot be replayed" in said
    assert [letter.id for letter in box.every()] == ["4-3"]
    assert box.deliveries("4-2", 0) == 1
    message = json.loads(box.client.lrange(tasks.QUEUE, 0, -1)[0])  # type: ignore[index]
    assert message["headers"]["id"] == "4-2"
    with worker.app_context():
        assert tasks.state("4-2")["status"] == "QUEUED"


def test_a_task_that_fails_again_while_it_is_replayed_stays_on_the_list(box: DeadLetters) -> None:
    box.put(DeadLetter("why", "4-2", "a.task"))
    replayed = box.every()[0]
    box.put(DeadLetter("why", "4-2", "a.task"))
    box.discard(replayed)
    assert len(box.every()) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["show", "x"], 1, "there is none of the id x"),
        (["discard", "x"], 1, "there is none of the id x"),
        (["replay", "x"], 1, "there is none of the id x"),
        (["replay"], 2, "name ids, or --all"),
        (["replay", "x", "--all"], 2, "name ids, or --all"),
        (["replay", "unreadable"], 1, "cannot be replayed"),
    ],
)
def test_a_wrong_command_says_why_in_a_line(
    worker: Flask, box: DeadLetters, arguments: list[str], status: int, said: str
) -> None:
    box.put(DeadLetter("why", "unreadable", body="{"))
    ended, output = command(worker, *arguments)
    assert ended == status
    assert said in output.splitlines()[-1]


def away(*_: object, **__: object) -> None:
    raise BrokerError("away")


def test_a_replay_without_a_broker_loses_nothing(worker: Flask, valkey: str) -> None:
    with proxy.before(valkey) as (between, url):
        box = worker.extensions["dead_letters"] = DeadLetters(url)
        box.put(DeadLetter("why", "4-2", "a.task"))
        celery = create_app(settings(redis_url=url)).extensions["celery"]
        worker.extensions["celery"] = celery
        between.freeze()
        began = time.monotonic()
        status, said = command(worker, "replay", "4-2")
        assert time.monotonic() - began < 3
        assert (status, said.count("\n")) == (1, 1)
        assert "does not answer" in said
        between.restore()
        assert len(box.every()) == 1
        # The broker alone.
        celery.send_task = away
        assert command(worker, "replay", "4-2")[0] == 1
        assert len(box.every()) == 1


def test_dead_letters_need_a_valkey() -> None:
    status, said = command(create_app(settings()), "list")
    assert (status, "REDIS_URL is not set" in said) == (1, True)

"""Tasks that came to nothing, kept in Valkey until an operator replays or discards them."""

import json
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import click
import redis
from flask import current_app
from flask.cli import AppGroup
from kombu.exceptions import OperationalError as BrokerError
from redis.backoff import NoBackoff
from redis.retry import Retry

KEY = "slipway:dead-letters"
DELIVERIES = "slipway:deliveries:"
# A message that was begun so often, and never ended, kills its workers.
MOST_DELIVERIES = 5
# Longer than a worker's death is noticed, times the deliveries.
DELIVERY_SECONDS = 3600
# For each step of asking Valkey.
SECONDS = 1


DISCARD = """
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
"""


def _now() -> str:
    return datetime.now(UTC).isoformat()


@dataclass(frozen=True)
class DeadLetter:
    """What is known of a task that came to nothing."""

    reason: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    # What it was to do; None when the message could not be read: then `body` has what came.
    name: str | None = None
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    body: str | None = None
    tries: int = 0
    when: str = field(default_factory=_now)

    def __str__(self) -> str:
        return f"{self.id}  {self.when}  {self.name or '-'}  tries={self.tries}  {self.reason}"


def _json(letter: DeadLetter) -> str:
    return json.dumps(asdict(letter))


class DeadLetters:
    """The list, and the count of deliveries that decides who gets on it."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(
            url,
            socket_timeout=SECONDS,
            socket_connect_timeout=SECONDS,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )

    def put(self, letter: DeadLetter) -> None:
        self.client.hset(KEY, letter.id, _json(letter))

    def every(self) -> list[DeadLetter]:
        """All of them, the oldest first."""
        found: Any = self.client.hvals(KEY)
        return sorted((DeadLetter(**json.loads(v)) for v in found), key=lambda one: one.when)

    def get(self, letter_id: str) -> DeadLetter | None:
        found: Any = self.client.hget(KEY, letter_id)
        return DeadLetter(**json.loads(found)) if found else None

    def discard(self, letter: DeadLetter) -> None:
        """Take it off the list, unless the same task came to nothing once more since."""
        self.client.eval(DISCARD, 1, KEY, letter.id, _json(letter))

    def deliveries(self, task_id: str, tries: int) -> int:
        """How often this try of the task was begun, this time included."""
        key = DELIVERIES + task_id
        with self.client.pipeline() as pipe:
            pipe.hincrby(key, str(tries), 1)
            pipe.expire(key, DELIVERY_SECONDS)
            return int(pipe.execute()[0])

    def forget_deliveries(self, task_id: str) -> None:
        self.client.delete(DELIVERIES + task_id)


commands = AppGroup("dead-letters", help="Show, replay or discard tasks that came to nothing.")


class _Group:
    """Every command's way to the list, and to its errors in one line."""

    def __enter__(self) -> DeadLetters:
        letters: DeadLetters | None = current_app.extensions["dead_letters"]
        if letters is None:
            raise click.ClickException(
                "dead-letters: REDIS_URL is not set: without a worker, nothing is kept"
            )
        return letters

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        if isinstance(error, redis.RedisError | BrokerError):
            raise click.ClickException(f"dead-letters: Valkey does not answer: {error}") from None


def _found(letters: DeadLetters, letter_id: str) -> DeadLetter:
    letter = letters.get(letter_id)
    if letter is None:
        raise click.ClickException(f"dead-letters: there is none of the id {letter_id}")
    return letter


@commands.command("list")
def list_all() -> None:
    """A line each, the oldest first."""
    with _Group() as letters:
        for letter in letters.every():
            click.echo(letter)


@commands.command()
@click.argument("letter_id", metavar="ID")
def show(letter_id: str) -> None:
    """All that is known of one, as JSON."""
    with _Group() as letters:
        click.echo(json.dumps(asdict(_found(letters, letter_id)), indent=2, ensure_ascii=False))


@commands.command()
@click.argument("ids", metavar="ID…", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that can be replayed.")
def replay(ids: tuple[str, ...], everything: bool) -> None:
    """Do them again from the start, under their own ids."""
    if bool(ids) == everything:
        raise click.UsageError("name ids, or --all")
    with _Group() as letters:
        chosen = letters.every() if everything else [_found(letters, one) for one in ids]
        for letter in chosen:
            if letter.name is None:
                problem = f"dead-letters: {letter.id} cannot be replayed: it could not be read"
                if not everything:
                    raise click.ClickException(problem)
                click.echo(problem, err=True)
                continue
            letters.forget_deliveries(letter.id)
            celery = current_app.extensions["celery"]
            celery.backend.store_result(letter.id, None, "QUEUED")
            celery.send_task(
                letter.name, letter.args, letter.kwargs, task_id=letter.id, retry=False
            )
            # Only now: on the list and in the queue is harmless, in neither is a loss.
            letters.discard(letter)
            click.echo(f"dead-letters: replayed {letter.id}")


@commands.command()
@click.argument("letter_id", metavar="ID")
def discard(letter_id: str) -> None:
    """Forget one for good."""
    with _Group() as letters:
        letters.discard(_found(letters, letter_id))
        click.echo(f"dead-letters: discarded {letter_id}")

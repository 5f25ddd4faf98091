"""Celery's consumer, that loses no message it cannot use, and shows that it is awake."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import redis
from celery.exceptions import InvalidTaskError, NotRegistered
from celery.utils.log import get_logger
from celery.worker import consumer
from celery.worker.state import maybe_shutdown
from kombu import Connection, Message

from slipway.dead_letters import DeadLetter

# A consumer that has not woken for so long hangs, seconds.
STALE_SECONDS = 30
# The longest pause between two tries to reach the broker.
PAUSE_MOST_SECONDS = 5

logger = get_logger(__name__)


class Pulse:
    """When something last showed that it goes on."""

    def __init__(self) -> None:
        self.beat()

    def beat(self) -> None:
        self._beaten_at = time.monotonic()

    def is_stale(self) -> bool:
        return time.monotonic() - self._beaten_at > STALE_SECONDS


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """Puts what is no task among the dead letters, where Celery would log it and drop it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Workers have nothing to tell each other; and to greet them fails with the broker.
        alone = {"without_mingle": True, "without_gossip": True, "without_heartbeat": True}
        super().__init__(*args, **kwargs, **alone)

    def ensure_connected(self, conn: Connection) -> Connection:
        """Wait for the broker, for ever; awake, and ready to be told to stop."""

        def say(error: Exception, seconds: float) -> None:
            logger.warning("the broker does not answer (%s): again in %g s", error, seconds)

        def awake() -> None:
            self.app.pulse.beat()
            maybe_shutdown()

        connected = conn.ensure_connection(
            say,
            interval_start=1,
            interval_step=1,
            interval_max=PAUSE_MOST_SECONDS,
            callback=awake,
        )
        self.first_connection_attempt = False
        return connected

    def register_with_event_loop(self, hub: Any) -> None:
        super().register_with_event_loop(hub)
        hub.call_repeatedly(1, self.app.pulse.beat)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:
        handle = super().create_task_handler(*args, **kwargs)

        def on_message(message: Message) -> None:
            try:
                if _call(message) is None:
                    # Celery would leave it to the pool, which drops it.
                    raise InvalidTaskError("it has no task, arguments and keyword arguments")
                handle(message)
            except (OSError, redis.RedisError):
                raise
            except Exception as error:
                # Celery's worker would end, and so would the next one that gets the message.
                self._bury(message, f"cannot be read: {type(error).__name__}: {error}")

        return on_message

    def on_unknown_task(self, body: object, message: Message, error: Exception) -> None:
        letter = self._bury(message, "there is no such task here")
        self.app.backend.store_result(letter.id, NotRegistered(letter.name), "FAILURE")

    def on_invalid_task(self, body: object, message: Message, error: Exception) -> None:
        self._bury(message, f"is not valid: {error}")

    def _bury(self, message: Message, reason: str) -> DeadLetter:
        letter = _letter(message, reason)
        # First of all: if Valkey goes away here, the message is delivered again.
        self.app.dead_letters.put(letter)
        if not message.acknowledged:
            message.reject()
        logger.error("a message became the dead letter %s: %s", letter.id, reason)
        return letter


def _call(message: Message) -> dict[str, Any] | None:
    """The task's name and its arguments, if the message has them."""
    match (message.headers, message.decode()):
        case ({"task": str(name), "id": str()}, [list(args), dict(kwargs), *_]):
            return {"name": name, "args": args, "kwargs": kwargs}
    return None


def _letter(message: Message, reason: str) -> DeadLetter:
    """What the message says, as far as it can be read."""
    letter = DeadLetter(reason=reason)
    match message.headers:
        case {"id": str(task_id)}:
            letter = replace(letter, id=task_id)
    with suppress(Exception):
        if call := _call(message):
            return replace(letter, **call)
    body = message.body
    return replace(
        letter, body=body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    )

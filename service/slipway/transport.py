"""Celery's way to Valkey, without the moment in which a message is in nobody's hands.

Kombu takes a message off the queue (BRPOP), and then writes it down as one to be acknowledged: a
worker that dies in between has lost it. Here it is moved to a list of its own, and leaves that when
it is written down; one that stays there goes back to the queue. That may deliver a message twice.
"""

from queue import Empty
from time import monotonic
from typing import Any

from celery import current_app
from celery.utils.log import get_logger
from kombu.transport import redis
from kombu.utils.json import loads

from slipway.dead_letters import DeadLetter

PUT_BACK = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 1 then redis.call('RPUSH', KEYS[2], ARGV[1]) end
"""

logger = get_logger(__name__)


def taken(queue: str) -> str:
    """The list of what was taken off `queue` and is not written down yet."""
    return f"{queue}:taken"


class QoS(redis.QoS):  # type: ignore[misc]
    """What is to be acknowledged, and what was taken."""

    _seen: frozenset[bytes] = frozenset()

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        super().restore_visible(*args, **kwargs)
        seen: set[bytes] = set()
        with self.channel.conn_or_acquire() as client:
            for queue in self.channel.active_queues:
                items = client.lrange(taken(queue), 0, -1)
                # It takes milliseconds: what was there the last time was left behind.
                for item in self._seen.intersection(items):
                    client.eval(PUT_BACK, 2, taken(queue), queue, item)
                seen.update(items)
        self._seen = frozenset(seen)


class Channel(redis.Channel):  # type: ignore[misc]
    QoS = QoS
    _source = ""

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Ask for the next message of one queue; of another one, the next time."""
        self._source = self._queue_cycle.consume(1)[0]
        self._queue_cycle.rotate(self._source)
        self._in_poll = connection = self.client.connection
        self._brpop_sent_at = monotonic()
        seconds = timeout or self.brpop_timeout
        connection.send_command(
            "BLMOVE", self._source, taken(self._source), "RIGHT", "LEFT", seconds
        )

    def _brpop_read(self, **options: Any) -> bool:
        queue = self._source
        try:
            item = self.client.parse_response(self.client.connection, "BLMOVE", **options)
        except self.connection_errors:
            self.client.connection.disconnect()
            raise
        finally:
            self._in_poll = None
        if item is None:
            raise Empty
        if message := self._read(item):
            self.connection._deliver(message, queue)
        with self.conn_or_acquire() as client:
            client.lrem(taken(queue), 1, item)
        return True

    def _read(self, item: bytes) -> dict[str, Any] | None:
        """The message, or None: what is none becomes a dead letter."""
        try:
            message: dict[str, Any] = loads(item.decode())
            self.Message(message, channel=self)
            delivery = message["properties"]["delivery_info"]
            delivery["exchange"], delivery["routing_key"]
        except Exception as error:
            reason = f"is no message: {type(error).__name__}: {error}"
            letter = DeadLetter(reason=reason, body=item.decode(errors="replace"))
            current_app.dead_letters.put(letter)
            logger.error("what was on the queue became the dead letter %s: %s", letter.id, reason)
            return None
        return message


class Transport(redis.Transport):  # type: ignore[misc]
    Channel = Channel

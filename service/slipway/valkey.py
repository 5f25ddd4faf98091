"""Valkey on a request's way: asked once and briefly, and left alone when it does not answer."""

import logging
import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

P = ParamSpec("P")
T = TypeVar("T")

# What an answer may take, and how long nobody asks after one that did not come, seconds.
ANSWER_SECONDS = 0.25
PAUSE_SECONDS = 2

logger = logging.getLogger(__name__)


class AwayError(Exception):
    """Valkey does not answer, or did not a moment ago."""


class Valkey:
    """A Valkey whose silence costs one request a moment, not every request of every thread."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(
            url,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._lock = threading.Lock()
        # When somebody may ask again, on the monotonic clock; None while it answers.
        self._again_at: float | None = None

    def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `question` gives, which asks this Valkey. Raises AwayError."""
        with self._lock:
            if self._again_at is not None:
                if time.monotonic() < self._again_at:
                    raise AwayError
                # One asks for all: the others wait for what it finds.
                self._again_at = time.monotonic() + PAUSE_SECONDS
        return self.insist(question, *args, **kwargs)

    def insist(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `ask`, and also just after a silence: for what must not be left out."""
        try:
            answer = question(*args, **kwargs)
        except redis.RedisError as error:
            if self._again_at is None:
                logger.warning("Valkey does not answer: %s", error)
            self._again_at = time.monotonic() + PAUSE_SECONDS
            raise AwayError from error
        if self._again_at is not None:
            logger.warning("Valkey answers again")
            self._again_at = None
        return answer

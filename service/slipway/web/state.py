"""How the service and what it depends on are, told within a second whatever is wrong with them."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass
from threading import Lock

from flask import Flask, current_app
from sqlalchemy.exc import SQLAlchemyError

from slipway import schema
from slipway.database import db
from slipway.valkey import AwayError, Valkey

# How long a page waits for all answers together, seconds.
PATIENCE = 0.5


@dataclass(frozen=True)
class Part:
    """A dependency: whether it is well, and in a few words how it is."""

    ok: bool
    text: str


class Check:
    """A question to a dependency, asked in a thread of its own, by one at a time.

    Whoever else wants to know meanwhile waits for the same answer: a dependency that hangs holds
    one thread, however many ask.
    """

    def __init__(self, question: Callable[[], Part]) -> None:
        self._question = question
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._lock = Lock()
        self._asked: Future[Part] | None = None

    def ask(self) -> Future[Part]:
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = self._thread.submit(self._question)
            return self._asked


def _database(app: Flask) -> Part:
    try:
        with app.app_context():
            revision = schema.current(db.engine)
    except SQLAlchemyError:
        return Part(ok=False, text="does not answer")
    if schema.serves(revision):
        return Part(ok=True, text=f"answers, schema {revision}")
    return Part(ok=False, text=f"has schema {revision}, needs {schema.head()}")


def _valkey(valkey: Valkey) -> Part:
    try:
        valkey.ask(valkey.client.ping)
    except AwayError:
        return Part(ok=False, text="does not answer: each process counts and keeps for itself")
    return Part(ok=True, text="answers")


def current() -> dict[str, Part]:
    """What the service depends on, by name."""
    checks: dict[str, Check] = current_app.extensions["slipway.state"]
    deadline = time.monotonic() + PATIENCE
    asked = {name: check.ask() for name, check in checks.items()}
    parts = {}
    for name, answer in asked.items():
        try:
            parts[name] = answer.result(timeout=max(0, deadline - time.monotonic()))
        except TooLate:
            parts[name] = Part(ok=False, text="does not answer")
    if "Valkey" not in parts:
        parts["Cache"] = Part(ok=True, text="in this process")
    return parts


def init_app(app: Flask) -> None:
    """After the cache, whose Valkey is asked."""
    checks = {"Database": Check(lambda: _database(app))}
    valkey: Valkey | None = app.extensions["valkey"]
    if valkey:
        checks["Valkey"] = Check(lambda: _valkey(valkey))
    app.extensions["slipway.state"] = checks

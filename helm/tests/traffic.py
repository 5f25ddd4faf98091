"""People who use a release at a constant rate, whatever becomes of what they ask for.

`clients.Load` is its opposite: it asks as fast as it is answered, and minds every failure.
"""

import http.client
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from live import request

PEOPLE = 16
# Each asks once in so many seconds, and goes through these; a mail makes a task.
PERIOD = 1.0
MAIL = {"subject": "Hello", "text": "How are you?"}
ROUTES: list[tuple[str, str, object]] = [
    ("GET", "/", None),
    ("GET", "/api/users?limit=20", None),
    ("GET", "/me", None),
    ("GET", "/ping", None),
    ("GET", "/expensive", None),
    ("POST", "/api/tasks/email", MAIL),
]


class Traffic:
    """For the length of a block, with the access token of one user."""

    def __init__(self, token: str) -> None:
        self._token, self._ending = token, threading.Event()
        self._people = [
            threading.Thread(target=self._ask, args=[number], daemon=True)
            for number in range(PEOPLE)
        ]

    def _ask(self, number: int) -> None:
        due = time.monotonic() + PERIOD * number / PEOPLE
        turn = number
        while not self._ending.wait(max(0, due - time.monotonic())):
            method, path, body = ROUTES[turn % len(ROUTES)]
            # Who is not answered asks again at the next turn.
            with suppress(OSError, http.client.HTTPException):
                request(method, path, body, token=self._token)
            due, turn = due + PERIOD, turn + 1

    def __enter__(self) -> Self:
        for person in self._people:
            person.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        for person in self._people:
            person.join(30)

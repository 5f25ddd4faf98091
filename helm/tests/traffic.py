"""People who use a release at a constant rate, whatever becomes of what they ask for.

`clients.Load` is its opposite: it asks as fast as it is answered, and minds every failure.
"""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

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


@contextmanager
def traffic(token: str) -> Iterator[None]:
    """For the length of a block, with the access token of one user."""
    ending = threading.Event()

    def ask(number: int) -> None:
        due = time.monotonic() + PERIOD * number / PEOPLE
        turn = number
        while not ending.wait(max(0, due - time.monotonic())):
            method, path, body = ROUTES[turn % len(ROUTES)]
            # Who is not answered asks again at the next turn.
            with suppress(OSError, http.client.HTTPException):
                request(method, path, body, token=token)
            due, turn = due + PERIOD, turn + 1

    people = [threading.Thread(target=ask, args=[number], daemon=True) for number in range(PEOPLE)]
    for person in people:
        person.start()
    try:
        yield
    finally:
        ending.set()
        for person in people:
            person.join(30)

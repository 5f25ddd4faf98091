"""Users without thoughts: as fast as the answers come, or on a schedule whatever the answers do."""

from __future__ import annotations

import random
import time

from locust import constant, task
from locust.env import Environment

from load.people import Person
from load.tally import UNSENT, tally

# Of each user on a schedule: so many users are as many requests in a second.
PACE_SECONDS = 1.0


class Fast(Person):
    """One connection that is never idle: the shortest answer, and one row by its key."""

    wait_time = constant(0)

    @task
    def ping(self) -> None:
        self.ask("GET", "/ping", 200)

    @task
    def read(self) -> None:
        if self.account.enter():
            self.account.read()


class Scheduled(Person):
    """One request a second, at its time. What an answer delays begins late, at once, and is counted
    from when it was due: who waits in a queue outside has waited all the same."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._due: float | None = None

    def wait_time(self) -> float:
        if self._due is None:
            return PACE_SECONDS
        self._due += PACE_SECONDS
        return max(0.0, self._due - time.monotonic())

    @task(5)
    def read(self) -> None:
        if self._is_time():
            self.account.read()

    @task(2)
    def me(self) -> None:
        if self._is_time():
            self.account.me()

    @task(2)
    def index(self) -> None:
        if self._is_time():
            self.ask("GET", "/", 200, headers={"Accept": "application/json"})

    @task(1)
    def rename(self) -> None:
        if self._is_time():
            self.account.rename()

    def on_stop(self) -> None:
        if self._due is not None:
            behind = time.monotonic() - self._due
            tally.count(UNSENT, max(0, int(behind / PACE_SECONDS)))
        super().on_stop()

    def _is_time(self) -> bool:
        """Note how late it is. The schedule begins, anywhere within its pace, once they are in."""
        self.ask.late = None
        if self._due is None:
            if self.account.enter():
                self._due = time.monotonic() - random.random() * PACE_SECONDS  # noqa: S311
            return False
        if not self.account.stay_in():
            return False
        self.ask.late = max(0.0, time.monotonic() - self._due) * 1000
        return True

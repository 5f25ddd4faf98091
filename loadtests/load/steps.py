"""`python -m load.steps`: users on a schedule who stay, for a rate after the other.

A search asks for a rate, sees, and asks for another; who signed up anew for each would mostly hash
passwords. So a line of standard input, `{"rate": …, "warm_up": …, "seconds": …}`, is answered by a
line with what was seen, until the input ends.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import gevent
from gevent.pool import Pool
from locust.env import Environment

from load.asking import PATIENCE
from load.measured import Measured, bucket
from load.rates import Scheduled

# Who sign up at the same time: each has a password hashed, in 64 MiB.
AT_ONCE = 4


class Steady(Scheduled):
    """Asks at a pace that each step sets, from the moment that it sets."""

    def walk(self, begin: float, pace: float, end: float) -> int:
        """What is due by `end`, of which so much has not begun by then."""
        self._due = begin
        while self._due < end:
            gevent.sleep(max(0.0, self._due - time.monotonic()))
            if time.monotonic() >= end:
                return int((end - self._due) / pace) + 1
            errand: Any = random.choice(self.tasks)  # noqa: S311
            errand(self)
            self._due += pace
        return 0


class Counted:
    """What has been answered since it was last cleared."""

    def __init__(self) -> None:
        self.routes: dict[str, Measured] = {}
        self.errors: Counter[str] = Counter()

    def clear(self) -> None:
        self.routes.clear()
        self.errors.clear()

    def note(
        self,
        request_type: str,
        name: str,
        response_time: float,
        context: dict[str, Any],
        exception: BaseException | None = None,
        **_: Any,
    ) -> None:
        time = bucket(response_time + context.get("late", 0))
        one = Measured(1, int(exception is not None), Counter([time]))
        self.routes[name] = self.routes.get(name, Measured()) + one
        if exception is not None:
            self.errors[f"{request_type} {name}: {exception}"] += 1

    @property
    def number(self) -> int:
        return sum(seen.requests for seen in self.routes.values())


def step(users: list[Steady], counted: Counted, asked: dict[str, float]) -> dict[str, Any]:
    """What was seen at a rate, after a time to warm up; times count from when requests were due."""
    pace, begin = len(users) / asked["rate"], time.monotonic()
    end = begin + asked["warm_up"] + asked["seconds"]
    walks = [
        gevent.spawn(user.walk, begin + pace * index / len(users), pace, end)
        for index, user in enumerate(users)
    ]
    gevent.sleep(asked["warm_up"])
    counted.clear()
    processor = time.process_time()
    gevent.sleep(max(0.0, end - time.monotonic()))
    answered, processor = counted.number, time.process_time() - processor
    # What is on its way counts when it comes: the slowest are among it.
    gevent.joinall(walks, timeout=PATIENCE, raise_error=True)
    return {
        "answered": answered,
        "unsent": sum(walk.value or 0 for walk in walks),
        "cores": processor / asked["seconds"],
        "errors": counted.errors,
        "routes": {
            route: {"requests": seen.requests, "failures": seen.failures, "times": seen.times}
            for route, seen in counted.routes.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m load.steps", description=__doc__)
    parser.add_argument("--host", required=True, help="where the service is")
    parser.add_argument("--users", type=int, required=True, help="connections, each one request")
    options = parser.parse_args(namespace=argparse.Namespace(run_id=os.urandom(4).hex()))
    Steady.host = options.host
    environment = Environment(user_classes=[Steady], host=options.host)
    environment.parsed_options = options
    counted = Counted()
    environment.events.request.add_listener(counted.note)
    users = [Steady(environment) for _ in range(options.users)]
    Pool(AT_ONCE).map(lambda user: user.account.enter(), users)
    if out := [user for user in users if not user.account.enter()]:
        sys.exit(f"{len(out)} of {len(users)} users cannot log in: {options.host}")
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    print(json.dumps({"processor": found[1] if found else os.uname().machine}), flush=True)
    for line in sys.stdin:
        print(json.dumps(step(users, counted, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()

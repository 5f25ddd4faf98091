"""Counts of requests and of how long they took, and what percentiles follow from them.

Times are counted in whole milliseconds up to a second, then in three significant figures, always
rounded up: a percentile is at most 1 % (or a millisecond) too high and never too low, and a limit
of three figures is kept in the count exactly when it is kept in truth. Locust's own two figures,
rounded to the nearest, would take 2,549 ms for 2,500.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


def bucket(milliseconds: float) -> int:
    """What a time is counted as."""
    unit = 1
    while milliseconds > 1000 * unit:
        unit *= 10
    return math.ceil(milliseconds / unit) * unit


@dataclass(frozen=True)
class Measured:
    """What was seen of one route."""

    requests: int = 0
    failures: int = 0
    # How many took how many milliseconds.
    times: Counter[int] = field(default_factory=Counter)

    def __add__(self, other: Measured) -> Measured:
        return Measured(
            self.requests + other.requests,
            self.failures + other.failures,
            self.times + other.times,
        )

    def __sub__(self, other: Measured) -> Measured:
        return Measured(
            self.requests - other.requests,
            self.failures - other.failures,
            self.times - other.times,
        )

    def percentile(self, percent: float) -> int:
        """The least time, ms, that so many percent of the requests took at most (nearest rank)."""
        rank, seen = max(1, math.ceil(self.times.total() * percent / 100)), 0
        for time in sorted(self.times):
            seen += self.times[time]
            if seen >= rank:
                return time
        return 0

    @property
    def failed(self) -> float:
        """Percent of the requests."""
        return 100 * self.failures / self.requests if self.requests else 0.0


def since(before: Mapping[str, Measured], now: Mapping[str, Measured]) -> dict[str, Measured]:
    """What has come on each route."""
    return {route: seen - before.get(route, Measured()) for route, seen in now.items()}


def total(routes: Mapping[str, Measured]) -> Measured:
    return sum(routes.values(), Measured())

"""The limits that a load test has to stay under, and whether it did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from load.measured import Measured

# A percentile of fewer requests says nothing: there has to be one beyond it.
LEAST = {"p95": 20, "p99": 100}


class GateError(Exception):
    """The limits cannot be read: one line."""


@dataclass(frozen=True)
class Limits:
    """Percentiles in milliseconds, failed requests in percent: the most that is kept."""

    p95: float
    p99: float
    failures: float


@dataclass(frozen=True)
class Gate:
    default: Limits
    routes: Mapping[str, Limits]

    def of(self, route: str) -> Limits:
        return self.routes.get(route, self.default)


def load(path: Path) -> Gate:
    """What `make slo` wrote. Raises GateError."""
    try:
        said = json.loads(path.read_text())
        routes = {route: Limits(**limits) for route, limits in said["routes"].items()}
        return Gate(Limits(**said["default"]), routes)
    except OSError as error:
        raise GateError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GateError(f"{path}: not what `make slo` writes: {error}") from None


@dataclass(frozen=True)
class Judged:
    """One route."""

    route: str
    seen: Measured
    limits: Limits
    p95: int
    p99: int
    # Which limits it broke, and of which there were too few requests to tell.
    broken: tuple[str, ...]
    too_few: tuple[str, ...]

    @property
    def is_told(self) -> bool:
        """Whether there is a verdict on it."""
        return bool(self.broken) or "p95" not in self.too_few

    @property
    def word(self) -> str:
        if self.broken:
            return "BROKEN"
        return "ok" if self.is_told else "too few"


def judge(route: str, seen: Measured, limits: Limits) -> Judged:
    """A single failure counts, however few the requests; a percentile needs LEAST of them."""
    found = {"p95": seen.percentile(95), "p99": seen.percentile(99)}
    broken, too_few = [], []
    for name, value in found.items():
        if seen.times.total() < LEAST[name]:
            too_few.append(name)
        elif value > getattr(limits, name):
            broken.append(name)
    if seen.failed > limits.failures:
        broken.append("failures")
    return Judged(route, seen, limits, **found, broken=tuple(broken), too_few=tuple(too_few))


def judge_all(routes: Mapping[str, Measured], gate: Gate) -> list[Judged]:
    """Those that were asked, in the order of their names."""
    return [
        judge(route, seen, gate.of(route))
        for route, seen in sorted(routes.items())
        if seen.requests
    ]


def kept(judged: list[Judged]) -> bool | None:
    """Whether all limits were, or None when no route had requests enough to tell."""
    if any(one.broken for one in judged):
        return False
    return True if any(one.is_told for one in judged) else None

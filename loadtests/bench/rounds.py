"""Rounds: a short slice of each contender in turn, so that a disturbance meets them alike."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.shell import Failure, say

from .engine import last_failure, usage
from .wrk import Measure, parse, wrk

ROUNDS = 5
SECONDS = 2

Spread = dict[str, float]
Figures = dict[str, Spread]


@dataclass(frozen=True)
class Asked:
    """wrk's options, and the containers that answer."""

    options: tuple[str, ...]
    containers: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """What a slice saw of one contender."""

    measure: Measure
    # Seconds of a processor, for a thousand requests.
    cpu_s_per_1000: float
    memory_mib: float


def spread(values: Sequence[float], digits: int = 1) -> Spread:
    return {
        "min": round(min(values), digits),
        "median": round(statistics.median(values), digits),
        "max": round(max(values), digits),
    }


def warm_up(asked: Mapping[str, Asked]) -> None:
    """Not counted: the last workers may still be loading, and connections open."""
    for one in asked.values():
        wrk(one.options, 1)


def sample(asked: Mapping[str, Asked], number: int) -> dict[str, Sample]:
    """A slice of each. The order turns with the round's `number`: nobody follows one alone."""
    names = list(asked)[:: 1 if number % 2 else -1]
    seen = {name: _whole_slice(name, asked[name]) for name in names}
    return {name: seen[name] for name in asked}


def _whole_slice(name: str, asked: Asked) -> Sample:
    """One in which no request failed; a machine that stumbles once does not end a long run."""
    try:
        return _slice(name, asked)
    except Failure as error:
        say(f"{error}; once more")
        return _slice(name, asked)


def _slice(name: str, asked: Asked) -> Sample:
    before = [usage(one) for one in asked.containers]
    report = wrk(asked.options, SECONDS)
    after = [usage(one) for one in asked.containers]
    try:
        measure = parse(report)
    except Failure as error:
        logged = "; ".join(last_failure(one) for one in asked.containers)
        raise Failure(f"{name}: {error}; {logged}") from None
    seconds = sum(a.cpu_seconds - b.cpu_seconds for a, b in zip(after, before, strict=True))
    memory = sum(each.memory_bytes for each in after) / 2**20
    return Sample(measure, seconds / measure.requests * 1000, memory)


def told(samples: Mapping[str, Sample]) -> str:
    return ", ".join(
        f"{name} {s.measure.requests_per_second:,.0f}/s" for name, s in samples.items()
    )


def figures(
    rounds: Sequence[Mapping[str, Sample]], against: Mapping[str, str]
) -> dict[str, Figures]:
    """Each contender's, with ratios by name `against` a contender of the same round.

    Of requests/s and, as `cpu_…`, of requests for the same processor time: above 1 is better.
    """
    result = {}
    for name in rounds[0]:
        seen = [each[name] for each in rounds]
        result[name] = {
            "requests_per_second": spread([one.measure.requests_per_second for one in seen]),
            "p50_ms": spread([one.measure.p50_ms for one in seen]),
            "p99_ms": spread([one.measure.p99_ms for one in seen]),
            "cpu_s_per_1000": spread([one.cpu_s_per_1000 for one in seen], 3),
            "memory_mib": spread([one.memory_mib for one in seen]),
        }
        for ratio, other in against.items():
            if other in rounds[0]:
                pairs = [(each[name], each[other]) for each in rounds]
                result[name] |= {
                    ratio: spread([_rates(*pair) for pair in pairs], 2),
                    f"cpu_{ratio}": spread([_costs(*pair) for pair in pairs], 2),
                }
    return result


def _rates(one: Sample, other: Sample) -> float:
    return one.measure.requests_per_second / other.measure.requests_per_second


def _costs(one: Sample, other: Sample) -> float:
    return other.cpu_s_per_1000 / one.cpu_s_per_1000

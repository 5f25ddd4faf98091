"""What was used up when a rate was not kept."""

from __future__ import annotations

from collections.abc import Mapping

# Who waits for a processor that is used to nine tenths waits long: ten times as long as the
# work takes (1 / (1 - 0.9), as in M/M/1).
FULL = 0.9
# Of the scheduler's periods: the kernel held processes back in a quarter of them.
THROTTLED = 0.25
# The load generator is a part of the measure, and has to be far from its end.
GENERATOR_FULL = 0.8
# Of what was offered: less came to be asked.
REACHED = 0.95

GENERATOR = "the load generator"
PROCESSES = "gunicorn's processes, a core each"
NODE = "the node's processor"
POOL = "the database pool"
THREADS = "gunicorn's threads"
# Containers with a limit of their own.
CONTAINERS = ("gunicorn", "nginx", "postgresql", "valkey")


def of_container(name: str) -> str:
    return f"{name}'s CPU limit"


def limiting(used: Mapping[str, float], throttled: Mapping[str, float], reached: float) -> str:
    """By name, what ran out.

    `used` is the share of each that was, from 0 to 1; `throttled` that of periods in which a
    container was held back; `reached` how much of the offered rate was asked. Processors go first:
    where one is missing, threads and connections are held for longer, and run out too.
    """
    if used[GENERATOR] >= GENERATOR_FULL:
        return GENERATOR
    for name in CONTAINERS:
        if used[of_container(name)] >= FULL or throttled.get(name, 0) >= THROTTLED:
            return of_container(name)
    for name in (PROCESSES, NODE, POOL, THREADS):
        if used[name] >= FULL:
            return name
    if reached < REACHED:
        return GENERATOR
    nearest = max((name for name in used if name != GENERATOR), key=lambda name: used[name])
    return f"none is full; nearest is {nearest} ({100 * used[nearest]:.0f} %)"

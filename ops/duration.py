"""Durations as Prometheus writes them: 5m, 6h, 30d."""

import re

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(duration: str) -> int:
    """Raises ValueError for what is no single number with a unit."""
    found = re.fullmatch(r"([1-9]\d*)([smhd])", duration)
    if not found:
        raise ValueError("a duration reads 30s, 5m, 6h or 30d")
    return int(found[1]) * UNITS[found[2]]


def words(duration: str) -> str:
    """As a person reads it: 1 hour, 30 minutes."""
    number = seconds(duration) // UNITS[duration[-1]]
    name = {"s": "second", "m": "minute", "h": "hour", "d": "day"}[duration[-1]]
    return f"{number} {name}{'' if number == 1 else 's'}"

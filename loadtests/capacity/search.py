"""The highest rate that is kept: doubled until it is not, then halved in between."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

# The least that is asked for, requests in a second.
LEAST = 1.0


@dataclass(frozen=True)
class Found:
    """In requests per second; None where no rate was kept, or none was broken."""

    kept: float | None
    broken: float | None


def search(
    keeps: Callable[[float], bool], first: float, tolerance: float, most_steps: int
) -> Found:
    """Ask `keeps` at most `most_steps` times, until broken / kept ≤ 1 + tolerance.

    Rates between are geometric means: as far from each in percent.
    """
    kept = broken = None
    rate = first
    for _ in range(most_steps):
        if keeps(rate):
            kept = rate
        else:
            broken = rate
        if broken is None:
            rate *= 2
        elif kept is None:
            if rate <= LEAST:
                break
            rate = max(LEAST, rate / 2)
        elif broken / kept <= 1 + tolerance:
            break
        else:
            rate = math.sqrt(kept * broken)
    return Found(kept, broken)

"""Sizes that follow from what was measured, each by a formula that is told."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

# An HPA looks every 15 s, and a pod takes as long again to serve: until then, the pods that are
# there have to bear what comes more. At 70 % of what one keeps, that is 43 % more.
OPERATING = 0.7
# Of a Poisson distribution's deviation, for its 99th percentile.
DEVIATIONS = 2.33
CPU_STEP = 0.05

FORMULAS = {
    "processes": "the cores that gunicorn used at the rate kept, rounded up, and at most those of "
    "its limit: Python runs in one thread of a process at a time ([the global interpreter lock]"
    "(https://docs.python.org/3/glossary.html#term-global-interpreter-lock))",
    "threads": "L + 2.33 √L for each process: L = requests/s times seconds in the service "
    "([Little's law](https://doi.org/10.1287/opre.9.3.383)), and √L is how much that varies "
    "([square-root staffing](https://doi.org/10.1287/opre.29.3.567)); 2 at the least",
    "cpu_request": "the cores that gunicorn used at the rate kept, in steps of 50m: what it needs "
    "is set aside for it ([requests]"
    "(https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/))",
    "hpa_cpu": "percent of that request in use at 70 % of the rate kept: 43 % more can come while "
    "new pods start ([the HPA's algorithm]"
    "(https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/))",
}


def processes(cores: float, limit: float) -> int:
    """`WEB_CONCURRENCY` of a pod whose gunicorn used so many cores."""
    return max(1, min(math.ceil(cores), math.floor(limit)))


def threads(rate: float, seconds: float, of_processes: int) -> int:
    """Of each process of a pod that is asked so often, and takes so long."""
    busy = rate * seconds / of_processes
    return max(2, math.ceil(busy + DEVIATIONS * math.sqrt(busy)))


def cpu_request(cores: float) -> float:
    """In cores, for a pod's gunicorn."""
    return round(math.ceil(round(cores / CPU_STEP, 6)) * CPU_STEP, 2)


def cores_at(rate: float, seen: Sequence[tuple[float, float]]) -> float:
    """Cores at a rate, between the (rate, cores) that were measured around it.

    Below the least that was, and above the most, in proportion to it.
    """
    points = sorted(seen)
    for (low, least), (high, most) in itertools.pairwise(points):
        if low <= rate <= high and low < high:
            return least + (most - least) * (rate - low) / (high - low)
    near = points[0] if rate < points[0][0] else points[-1]
    return near[1] * rate / near[0]


def hpa_cpu(kept: float, seen: Sequence[tuple[float, float]], request: float) -> int:
    """Percent of `request`, cores, that a pod's gunicorn uses at 70 % of the rate it keeps."""
    return max(1, round(100 * cores_at(OPERATING * kept, seen) / request))

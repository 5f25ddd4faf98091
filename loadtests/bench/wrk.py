"""wrk: how it is called, and what its report says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.shell import Failure, run

from .engine import OTHER_CORE

CONNECTIONS = 16
UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Measure:
    """What a slice of wrk saw."""

    requests: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float


def parse(report: str) -> Measure:
    """Raises Failure when a request failed: the rest of the numbers then says nothing."""
    for failure in re.findall(r"Non-2xx or 3xx responses: .*|Socket errors: .*", report):
        raise Failure(f"wrk: {failure}")
    count = re.search(r"^\s*(\d+) requests in ", report, re.MULTILINE)
    rate = re.search(r"^Requests/sec:\s+([\d.]+)\nTransfer/sec:", report, re.MULTILINE)
    if not count or not rate:
        raise Failure(f"wrk: not a report: {report!r}")
    if int(count[1]) == 0:
        raise Failure("wrk: no request was answered")
    return Measure(
        int(count[1]), float(rate[1]), _milliseconds(report, 50), _milliseconds(report, 99)
    )


def _milliseconds(report: str, percentile: int) -> float:
    found = re.search(rf"^\s+{percentile}%\s+([\d.]+)(us|ms|s|m) *$", report, re.MULTILINE)
    if not found:
        raise Failure(f"wrk: no {percentile}th percentile in its report: {report!r}")
    return round(float(found[1]) * UNITS[found[2]], 3)


def wrk(options: Sequence[str], seconds: int) -> str:
    """The report; `options` say what is asked for."""
    command = ["taskset", "-c", OTHER_CORE, "wrk", "--latency", "--threads", "1"]
    command += ["--connections", str(CONNECTIONS), "--duration", f"{seconds}s", "--timeout", "10s"]
    return run(*command, *options, what="asking by wrk").strip()

"""What the benchmark makes of a report, and whether README.md quotes the last one."""

from __future__ import annotations

import pytest

from ..bench.shell import BenchError
from ..bench.wrk import Measure, parse

REPORT = """Running 4s test @ http://127.0.0.1:8080/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     9.65ms    3.10ms  48.52ms   91.02%
    Req/Sec     1.67k   152.04     1.98k    75.00%
  Latency Distribution
     50%    9.16ms
     75%   10.41ms
     90%   12.21ms
     99%   {p99}
  6677 requests in 4.00s, 2.30MB read
{failures}Requests/sec:   1668.41
Transfer/sec:    589.12KB
"""


@pytest.mark.parametrize(
    ("p99", "milliseconds"), [("950.00us", 0.95), ("23.07ms", 23.07), ("1.20s ", 1200.0)]
)
def test_a_report_of_wrk_is_read_in_milliseconds(p99: str, milliseconds: float) -> None:
    measure = parse(REPORT.format(p99=p99, failures=""))
    assert measure == Measure(6677, 1668.41, 9.16, milliseconds)


@pytest.mark.parametrize(
    "failure",
    [
        "  Non-2xx or 3xx responses: 3",
        "  Socket errors: connect 0, read 1, write 0, timeout 0",
    ],
)
def test_a_slice_with_failed_requests_is_no_measure(failure: str) -> None:
    with pytest.raises(BenchError, match=failure.strip()):
        parse(REPORT.format(p99="1.00ms", failures=failure + "\n"))


def test_a_slice_without_requests_is_no_measure() -> None:
    with pytest.raises(BenchError, match="not a report"):
        parse("unable to connect")

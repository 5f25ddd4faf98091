"""What the benchmark makes of a report, and whether README.md quotes the last one."""

from __future__ import annotations

import json

import pytest

from ..bench import RESULT, ROOT, BenchError, Measure, parse_wrk, quote, table

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
    assert parse_wrk(REPORT.format(p99=p99, failures="")) == Measure(1668.41, milliseconds)


@pytest.mark.parametrize(
    "failure",
    [
        "  Non-2xx or 3xx responses: 3",
        "  Socket errors: connect 0, read 1, write 0, timeout 0",
    ],
)
def test_a_round_with_failed_requests_is_no_measure(failure: str) -> None:
    with pytest.raises(BenchError, match=failure.strip()):
        parse_wrk(REPORT.format(p99="1.00ms", failures=failure + "\n"))


def test_a_round_without_requests_is_no_measure() -> None:
    with pytest.raises(BenchError, match="not a report"):
        parse_wrk("unable to connect")


def test_the_readme_quotes_the_last_result() -> None:
    readme = (ROOT / "README.md").read_text()
    assert quote(readme, table(json.loads(RESULT.read_text()))) == readme, "run: make bench"

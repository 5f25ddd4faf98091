"""What the benchmark makes of reports, what it compares, and that its contenders answer alike."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import redis
from answers import until
from bench import kit
from bench.__main__ import QUOTED, RESULT
from bench.backing import Database, collector, database, valkey
from bench.changes import changes, short_of_it
from bench.data import Data, fill
from bench.engine import ROOT, Usage, parse_usage, usage
from bench.net import ask
from bench.report import table
from bench.rounds import Sample, figures
from bench.routes import ROUTES, asked
from bench.servers import DIRECT, FASTAPI, KIT, OPEN, Server, Servers, Stage, servers
from bench.wrk import Measure, parse, wrk
from deploy.shell import Failure, run
from hypothesis import given
from hypothesis import strategies as st
from marked import quote

REPORT = """Running 4s test @ http://127.0.0.1:8080/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     9.65ms    3.10ms  48.52ms   91.02%
    Req/Sec     1.67k   152.04     1.98k    75.00%
  Latency Distribution
     50%    {p50}
     75%   10.41ms
     90%   12.21ms
     99%   {p99}
  {requests} requests in 4.00s, 2.30MB read
{failures}Requests/sec:   {rate}
Transfer/sec:    589.12KB
"""
SEEN: dict[str, Any] = {
    "p50": "9.16ms",
    "p99": "23.07ms",
    "requests": 6677,
    "rate": "1668.41",
    "failures": "",
}

MILLISECONDS = {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}
durations = st.tuples(st.integers(1, 99_999), st.sampled_from([*MILLISECONDS]))


@given(requests=st.integers(1, 10**9), rate=st.integers(1, 10**8), p50=durations, p99=durations)
def test_a_report_of_wrk_is_read_in_milliseconds(
    requests: int, rate: int, p50: tuple[int, str], p99: tuple[int, str]
) -> None:
    text = REPORT.format(
        requests=requests,
        rate=f"{rate / 100:.2f}",
        p50=f"{p50[0] / 100:.2f}{p50[1]}",
        # What is shorter than its column is filled up.
        p99=f"{p99[0] / 100:.2f}{p99[1]} ",
        failures="",
    )
    assert parse(text) == Measure(
        requests,
        rate / 100,
        round(p50[0] / 100 * MILLISECONDS[p50[1]], 3),
        round(p99[0] / 100 * MILLISECONDS[p99[1]], 3),
    )


@pytest.mark.parametrize(
    "failure",
    [
        "  Non-2xx or 3xx responses: 3",
        "  Socket errors: connect 0, read 1, write 0, timeout 0",
    ],
)
def test_a_slice_with_failed_requests_is_no_measure(failure: str) -> None:
    with pytest.raises(Failure, match=failure.strip()):
        parse(REPORT.format(**SEEN | {"failures": failure + "\n"}))


def test_a_slice_without_an_answer_is_no_measure() -> None:
    with pytest.raises(Failure, match="no request was answered"):
        parse(REPORT.format(**SEEN | {"requests": 0}))


@given(st.text() | st.integers(0, len(REPORT)).map(lambda end: REPORT.format(**SEEN)[:end]))
def test_what_is_no_whole_report_is_no_measure(text: str) -> None:
    if "Transfer/sec:" not in text:
        with pytest.raises(Failure, match="wrk: "):
            parse(text)


@pytest.mark.parametrize("memory", [{"anon": 5, "file": 7}, {"total_rss": 5, "rss": 3}])
def test_statistics_of_both_versions_of_control_groups_are_read(memory: dict[str, int]) -> None:
    stats = {"cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000}}, "memory_stats": {}}
    with pytest.raises(Failure, match="Has it ended"):
        parse_usage(stats)
    assert parse_usage(stats | {"memory_stats": {"stats": memory}}) == Usage(1.5, 5)


def seen(rate: float, cpu: float = 1) -> Sample:
    return Sample(Measure(100, rate, 1, 2), cpu, 50)


def spread(least: float, most: float) -> dict[str, float]:
    return {"min": least, "median": (least + most) / 2, "max": most}


def test_a_ratio_is_of_contenders_in_the_same_round() -> None:
    rounds = [{"a": seen(100, cpu=2), "b": seen(200)}, {"a": seen(10, cpu=20), "b": seen(30, 5)}]
    result = figures(rounds, {"ratio": "b", "to_nobody": "c"})
    assert result["a"]["ratio"] == {"min": 0.33, "median": 0.42, "max": 0.5}
    assert result["a"]["cpu_ratio"] == {"min": 0.25, "median": 0.38, "max": 0.5}
    assert result["b"]["ratio"] == {"min": 1, "median": 1, "max": 1}
    assert "to_nobody" not in result["a"]


def result(least: float, most: float, **more: Any) -> dict[str, Any]:
    contenders = {KIT: {"to_fastapi": spread(least, most), **more}}
    return {"throughput": {"one": {DIRECT: contenders}}}


@given(st.lists(st.floats(0.01, 100), min_size=4, max_size=4))
def test_a_ratio_has_changed_when_it_lies_beyond_the_spread_of_both(values: list[float]) -> None:
    a, b, c, d = sorted(values)
    assert not changes(result(a, c), result(b, d))
    assert not changes(result(a, d), result(b, c))
    if b < c:
        of = "throughput, one, directly, kit, to_fastapi: "
        assert changes(result(a, b), result(c, d))[0].startswith(f"faster: {of}")
        assert changes(result(c, d), result(a, b))[0].startswith(f"slower: {of}")


def test_what_is_no_ratio_or_was_not_kept_has_not_changed() -> None:
    assert not changes({}, result(1, 2))
    assert not changes(
        result(1, 2, requests_per_second=spread(1, 2)),
        result(1, 2, requests_per_second=spread(8, 9)),
    )


@pytest.mark.parametrize("ratio", ["ratio", "cpu_ratio", "to_gunicorn", "cpu_to_fastapi"])
def test_ratios_of_all_parts_are_compared(ratio: str) -> None:
    was, now = ({"telemetry": {"kept": {"all": {ratio: spread(n, n)}}}} for n in (3, 2))
    assert changes(was, now) == [
        f"slower: telemetry, kept, all, {ratio}: 2 (2 to 2), was 3 (3 to 3)"
    ]


def test_what_the_kit_does_not_reach_is_told() -> None:
    assert not short_of_it(result(1.0, 1.2))
    assert short_of_it(result(0.8, 1.1)) == ["short of FastAPI: one directly: 0.95 (0.8 to 1.1)"]


def test_a_table_has_the_columns_that_are_there() -> None:
    lines = [*table({"a": {"p99_ms": spread(1, 2)}, "b": {"ratio": spread(1, 1000)}})]
    assert lines == [
        "| | p99, ms | ratio |",
        "|---|---|---|",
        "| a | 1.5 (1 to 2) |  |",
        "| b |  | 500.5 (1 to 1,000) |",
    ]


@pytest.mark.parametrize("document", QUOTED, ids=str)
def test_a_readme_quotes_the_last_result(document: str) -> None:
    text = (ROOT / document).read_text()
    block = QUOTED[document](json.loads(RESULT.read_text()))
    assert quote(text, "bench", block) == text, "run: make bench"


def test_a_readme_without_markers_is_told() -> None:
    with pytest.raises(Failure, match="<!-- bench -->"):
        quote("# How fast", "bench", "table")


# ── The contenders themselves ────────────────────────────────────────────────────────────────────

USER = {"id", "name", "email", "role", "created_at", "updated_at"}


@dataclass(frozen=True)
class Arena:
    """All contenders, as in a bench, with fewer rows."""

    db: Database
    valkey: redis.Redis
    data: Data
    servers: Servers

    def token(self, bearer: int) -> str:
        return self.data.tokens.read_text().split()[bearer - 1]


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    run("make", "--no-print-directory", "-C", str(ROOT), "image", what="building the image")
    image = "slipway:latest"
    shared = tmp_path_factory.mktemp("bench")
    # Containers have users of their own.
    shared.chmod(0o755)
    with (
        database() as db,
        valkey() as redis_url,
        collector(shared) as collector_url,
        redis.Redis.from_url(redis_url, decode_responses=True) as client,
    ):
        settings = kit.settings_of(db.url, redis_url)
        data = fill(db, image, settings, shared, rows=2000)
        with servers(Stage(image, settings, collector_url, shared)) as up:
            yield Arena(db, client, data, up)


def each(arena: Arena) -> Iterator[tuple[str, Server]]:
    for by_name in arena.servers.values():
        yield from by_name.items()


def said(container: str) -> str:
    return subprocess.check_output(
        ["docker", "logs", container], stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.needs("engine")
def test_every_contender_says_hello_alike(arena: Arena) -> None:
    for name, server in each(arena):
        assert json.loads(ask(server.url, "GET", "/ping")) == {"ping": "pong"}, name
        assert json.loads(ask(server.url, "GET", "/")).keys() == {"name", "version", "links"}, name


@pytest.mark.needs("engine")
def test_every_contender_for_data_gives_and_takes_the_same(arena: Arena) -> None:
    token = arena.token(1)
    contenders = [one for one in each(arena) if one[0] in ROUTES["one"].contenders]
    assert len(contenders) == 8
    for number, (name, server) in enumerate(contenders):

        def answer(path: str, method: str = "GET", body: str | None = None) -> Any:
            return json.loads(ask(server.url, method, path, body, token))  # noqa: B023

        user = answer("/api/users/1234")
        assert user.keys() == USER, name
        assert (user["id"], user["email"]) == (1234, "user1234@example.org"), name
        page = answer("/api/users?limit=20&created_from=2001-02-03T04:05:06.000007Z")
        assert [user["id"] for user in page["items"]] == [*range(1, 21)], name
        assert page["items"][0].keys() == USER, name
        assert answer(page["next"])["items"][0]["id"] == 21, name
        written = answer("/api/users/1234", "PATCH", json.dumps({"name": f"Ann {number}"}))
        assert written.keys() == USER, name
        assert written["updated_at"] > user["updated_at"], name
        assert answer("/api/users/1234")["name"] == f"Ann {number}", name


@pytest.mark.needs("engine")
def test_who_does_equal_work_checks_what_the_kit_checks(arena: Arena) -> None:
    token = arena.token(2)

    def status(name: str, bearer: str, method: str = "GET", path: str = "/api/users/1") -> int:
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        url = arena.servers[DIRECT][name].url
        return httpx.request(method, url + path, headers=headers).status_code

    assert status(OPEN, "") == 200
    for name in (KIT, FASTAPI):
        assert status(name, "") == 401, name
        assert status(name, f"{token[:-4]}AAAA") == 401, name
        assert status(name, token) == 200, name
    # Each by itself: the kit's contenders share a count, and FastAPI's another.
    assert arena.valkey.llen("fastapi:LIMITER/2/600/1/minute") == 1
    # The kit alone offers to log out; it counts with both.
    assert status(KIT, token, "POST", "/logout") == 204
    for name in (KIT, FASTAPI):
        assert status(name, token) == 401, name
    # For the other tests.
    arena.db.sql("UPDATE sign_ins SET ended_at = NULL")


@pytest.mark.needs("engine", "wrk")
def test_wrk_asks_for_other_rows_and_writes_other_names(arena: Arena) -> None:
    for name in (KIT, FASTAPI):
        server = arena.servers[DIRECT][name]
        began = usage(server.containers[0])
        for route in ("one", "list", "kept", "write"):
            # Raises when a request fails.
            parse(wrk(asked(route, server.url, arena.data), seconds=3))
        ended = usage(server.containers[0])
        assert ended.cpu_seconds > began.cpu_seconds
        assert ended.memory_bytes > 2**20
    written = "FROM users WHERE name LIKE 'Name ____-%'"
    rows = int(arena.db.sql(f"SELECT count(*) {written}"))
    names = int(arena.db.sql(f"SELECT count(DISTINCT name) {written}"))
    assert rows == names
    assert rows > 20


@pytest.mark.needs("engine")
def test_instrumented_means_metrics_logs_and_spans(arena: Arena) -> None:
    server = arena.servers[DIRECT][FASTAPI]
    collector = server.containers[0].replace("-fastapi", "-collector")
    before = said(collector).count("resource spans")
    for _ in range(100):
        ask(server.url, "GET", "/ping")
    # Of all processes: those of one alone would be some of them.
    count = re.search(
        r'^http_request_duration_seconds_count{handler="/ping",method="GET"} (\d+)',
        ask(server.url, "GET", "/metrics").decode(),
        re.MULTILINE,
    )
    assert count
    assert int(count[1]) >= 100
    lines = [json.loads(line) for line in said(server.containers[0]).splitlines()]
    assert sum("/ping" in line["message"] for line in lines) >= 100

    def told_of_more() -> bool:
        # The collector says so of ten batches in ten seconds, and of others now and then.
        for _ in range(50):
            ask(server.url, "GET", "/ping")
        return said(collector).count("resource spans") > before

    until(told_of_more, lambda: said(collector))

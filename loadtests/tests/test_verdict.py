"""The arithmetic of the verdict, by rules that have to hold for any run."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from load import profiles, slo
from load.measured import Measured, bucket, since, total
from load.profiles import PROFILES
from load.report import BROKEN, KEPT, NO_RUN, Run, StageSeen, Verdict
from load.slo import Gate, Limits

ROOT = Path(__file__).parents[2]
LIMITS = Limits(p95=250, p99=1000, failures=0.1)
GATE = Gate(LIMITS, {"/slow": Limits(p95=2500, p99=3000, failures=0.1)})

milliseconds = st.floats(0, 60_000)
seconds = st.lists(st.integers(0, 3000), min_size=1, max_size=300)
three_figures = st.builds(
    lambda figures, power: figures * 10**power, st.integers(1, 999), st.integers(0, 2)
)


def measured(times: Sequence[float], failures: int = 0) -> Measured:
    return Measured(len(times), failures, Counter(map(bucket, times)))


def run(profile: str = "smoke", *stages: StageSeen, **routes: Measured) -> Run:
    return Run(
        profile=PROFILES[profile],
        host="http://127.0.0.1:8000",
        seconds=10,
        is_interrupted=False,
        sent={f"/{name}": seen for name, seen in routes.items()},
        due={},
        stages=stages,
        errors=[],
        made=0,
        deleted=0,
        prefix="load-1-",
        unsent=0,
    )


@given(milliseconds)
def test_a_time_is_counted_as_no_less_than_it_was_and_hardly_more(time: float) -> None:
    assert time <= bucket(time) <= max(time + 1, time * 1.01)


@given(milliseconds, three_figures)
def test_what_is_counted_keeps_a_limit_exactly_when_it_was_kept(time: float, limit: int) -> None:
    assert (bucket(time) <= limit) == (time <= limit)


@given(seconds, st.floats(1, 100))
def test_a_percentile_is_the_one_of_the_sorted_list(times: list[int], percent: float) -> None:
    counted = sorted(map(bucket, times))
    assert measured(times).percentile(percent) == counted[math.ceil(len(times) * percent / 100) - 1]


@given(seconds, seconds)
def test_what_came_since_is_what_was_added(first: list[int], then: list[int]) -> None:
    before, more = measured(first, 1), measured(then, 2)
    assert since({"/": before}, {"/": before + more}) == {"/": more}
    assert total({"/": before, "/me": more}) == before + more


@given(st.integers(20, 3000), st.integers(0, 300))
def test_p95_is_broken_when_more_than_5_percent_are_slower(requests: int, slow: int) -> None:
    seen = measured([251] * min(slow, requests) + [250] * max(0, requests - slow))
    assert ("p95" in slo.judge("/", seen, LIMITS).broken) == (seen.times[251] * 20 > requests)


@given(st.integers(1, 5000), st.integers(0, 20))
def test_failures_are_broken_when_more_than_1_in_1000_fail(requests: int, failures: int) -> None:
    seen = measured([1] * requests, min(failures, requests))
    assert ("failures" in slo.judge("/", seen, LIMITS).broken) == (seen.failures * 1000 > requests)


@given(st.integers(1, 19))
def test_too_few_slow_requests_are_no_verdict_and_a_failed_one_is(requests: int) -> None:
    slow = Verdict(run(me=measured([9000] * requests)), GATE)
    assert (slow.kept, slow.exit_code) == (None, NO_RUN)
    assert "too few" in slow.text()
    assert Verdict(run(me=measured([1] * requests, 1)), GATE).exit_code == BROKEN


def test_a_route_has_its_own_limits_and_the_line_names_what_broke() -> None:
    verdict = Verdict(run(me=measured([2000] * 100), slow=measured([2000] * 100)), GATE)
    assert verdict.exit_code == BROKEN
    assert verdict.last_line() == "loadtest: SLO BROKEN on 1 of 2 routes: /me (p95, p99)"


def test_requests_on_a_schedule_are_judged_from_when_they_were_due() -> None:
    in_time = run("open", me=measured([100] * 100))
    late = Run(**{**vars(in_time), "due": {"/me": measured([100] * 90 + [900] * 10)}})
    assert Verdict(in_time, GATE).exit_code == KEPT
    assert Verdict(late, GATE).exit_code == BROKEN
    assert "900 [100] > 250" in Verdict(late, GATE).text()


@pytest.mark.parametrize(
    ("milliseconds", "code", "said"), [(1, NO_RUN, "no verdict"), (900, BROKEN, "SLO BROKEN")]
)
def test_a_lost_worker_takes_away_that_all_was_kept_and_not_that_it_was_broken(
    milliseconds: int, code: int, said: str
) -> None:
    whole = run(me=measured([milliseconds] * 100))
    verdict = Verdict(Run(**{**vars(whole), "lost": ("pod-1",)}), GATE)
    assert verdict.exit_code == code
    assert said in verdict.last_line()
    assert "less load than asked for" in verdict.last_line()
    assert "lost: worker pod-1" in verdict.text()
    assert verdict.json()["lost"] == ["pod-1"]


def test_a_closed_run_says_what_it_hides() -> None:
    verdict = Verdict(run(me=measured([1] * 100)), GATE)
    assert "closed" in verdict.text()
    assert "closed" in verdict.in_html('<body><div id="root"></div></body>')


@pytest.mark.parametrize(("slow_from", "knee"), [(0, None), (1, 20), (3, 60), (9, 180), (10, 200)])
def test_the_knee_is_the_last_stage_before_the_limits_broke(
    slow_from: int, knee: int | None
) -> None:
    stages = [
        StageSeen(20 * (n + 1), 60, {"/me": measured([900 if n >= slow_from else 9] * 100)})
        for n in range(10)
    ]
    found = Verdict(run("ramp", *stages, me=measured([1] * 100)), GATE).knee
    assert (found and found.users) == knee


@given(st.sampled_from(sorted(PROFILES)), st.integers(1, 500), st.integers(1, 7200))
def test_a_profile_keeps_its_form_when_it_is_scaled(name: str, users: int, length: int) -> None:
    profile, scaled = PROFILES[name], PROFILES[name].scaled(users, length)
    assert scaled.peak == users
    assert math.isclose(scaled.seconds, length)
    assert len(scaled.stages) == len(profile.stages)
    assert all(stage.spawn_rate > 0 and stage.users > 0 for stage in scaled.stages)
    assert scaled.stage(scaled.seconds + 1) is None


def test_the_spike_is_ten_times_the_rest() -> None:
    assert [stage.users for stage in PROFILES["spike"].stages] == [10, 100, 10]


def test_the_gate_is_what_make_slo_writes() -> None:
    path = ROOT / "loadtests/slo.json"
    said = json.loads(path.read_text())
    gate = slo.load(path)
    assert vars(gate.of("/me")) == said["default"]
    assert {route: vars(gate.of(route)) for route in gate.routes} == said["routes"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"default": {"p95": 1}, "routes": {}}'])
def test_another_file_is_no_gate(text: str, tmp_path: Path) -> None:
    path = tmp_path / "slo.json"
    path.write_text(text)
    with pytest.raises(slo.GateError, match=r"slo\.json: not what"):
        slo.load(path)


def test_an_unknown_profile_is_told_which_there_are() -> None:
    with pytest.raises(profiles.ProfileError, match="smoke, steady, ramp, spike, soak, open, fast"):
        profiles.named("nope")

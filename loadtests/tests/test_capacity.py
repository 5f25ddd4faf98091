"""The search of `make capacity`, what it makes of what it saw, and a run on a real cluster."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from answers import until
from capacity import advice, limits
from capacity.__main__ import DOCUMENTS, RESULT, STEPS, TOLERANCE
from capacity.generator import Seen
from capacity.limits import CONTAINERS, GENERATOR, NODE, POOL, PROCESSES, THREADS, of_container
from capacity.measure import Step, broken
from capacity.report import short, whole
from capacity.result import result
from capacity.search import LEAST, Found, search
from capacity.usage import (
    Container,
    Machine,
    Usage,
    Used,
    between,
    busiest,
    containers,
    cores,
    parse,
)
from deploy.image import ROOT
from deploy.shell import Failure, attempt
from hypothesis import given
from hypothesis import strategies as st
from load.measured import Measured
from load.slo import Gate, Limits
from marked import quote
from serving import Server, migrate, serving

# Requests per second: from ten doublings below any first rate to what no laptop makes.
rates = st.floats(2, 5000)


class Service:
    """Keeps its promises up to a knee, and not beyond."""

    def __init__(self, knee: float) -> None:
        self.knee = knee
        self.asked: list[float] = []

    def __call__(self, rate: float) -> bool:
        self.asked.append(rate)
        return rate <= self.knee


@given(knee=rates, first=rates, tolerance=st.floats(0.02, 0.5))
def test_the_knee_is_found_within_the_tolerance(
    knee: float, first: float, tolerance: float
) -> None:
    service = Service(knee)
    # To the knee by halves or doubles, then from a factor of 2 to the tolerance by square roots.
    to_it = math.ceil(abs(math.log2(knee / first))) + 2
    from_it = math.ceil(math.log2(1 / math.log2(1 + tolerance))) + 1
    found = search(service, first, tolerance, to_it + from_it)
    assert found.kept
    assert found.broken
    assert found.kept <= knee < found.broken <= found.kept * (1 + tolerance) * (1 + 1e-9)


@given(knee=st.floats(0, 1e6), first=st.floats(LEAST, 1e5), most=st.integers(1, 20))
def test_no_search_takes_more_steps_than_it_may(knee: float, first: float, most: int) -> None:
    service = Service(knee)
    found = search(service, first, TOLERANCE, most)
    assert len(service.asked) <= most
    assert min(service.asked) >= LEAST
    assert found == Found(
        max((rate for rate in service.asked if rate <= knee), default=None),
        min((rate for rate in service.asked if rate > knee), default=None),
    )


def test_where_no_rate_is_kept_the_search_ends_at_the_least() -> None:
    service = Service(0)
    assert search(service, 8, TOLERANCE, 20) == Found(None, LEAST)
    assert service.asked == [8, 4, 2, 1]


def test_where_none_is_broken_the_last_is_kept() -> None:
    service = Service(math.inf)
    assert search(service, 20, TOLERANCE, 4) == Found(160, None)


IDLE = dict.fromkeys(
    [GENERATOR, PROCESSES, NODE, POOL, THREADS, *map(of_container, CONTAINERS)], 0.1
)


@pytest.mark.parametrize("name", IDLE)
def test_what_is_full_alone_is_what_ran_out(name: str) -> None:
    assert limits.limiting(IDLE | {name: 0.95}, {}, 1) == name


@pytest.mark.parametrize("name", CONTAINERS)
def test_who_is_held_back_ran_into_its_limit(name: str) -> None:
    assert limits.limiting(IDLE, {name: 0.3}, 1) == of_container(name)


def test_threads_that_wait_for_a_processor_are_not_what_ran_out() -> None:
    assert limits.limiting(IDLE | {NODE: 0.95, POOL: 1, THREADS: 1}, {}, 0.5) == NODE


def test_a_rate_that_was_not_reached_by_idle_servers_is_the_generators_fault() -> None:
    assert limits.limiting(IDLE, {}, 0.8) == GENERATOR


def test_where_nothing_is_full_the_nearest_is_told() -> None:
    told = limits.limiting(IDLE | {NODE: 0.72}, {}, 1)
    assert told == f"none is full; nearest is {NODE} (72 %)"


@pytest.mark.parametrize(
    ("used", "limit", "expected"),
    [(0.2, 2, 1), (1.0, 2, 1), (1.1, 2, 2), (1.9, 2, 2), (2.1, 2, 2), (0.3, 0.5, 1)],
)
def test_there_is_a_process_for_each_core_that_is_used(
    used: float, limit: float, expected: int
) -> None:
    assert advice.processes(used, limit) == expected


def test_threads_follow_from_littles_law() -> None:
    # 200/s for 20 ms each are 4 at a time, 2 in each of two processes: 2 + 2.33 √2 = 5.3.
    assert advice.threads(200, 0.02, 2) == 6
    assert advice.threads(1, 0.001, 1) == 2


@given(rate=rates, seconds=st.floats(0.001, 1), processes=st.integers(1, 16))
def test_threads_are_enough_for_who_is_there_on_average(
    rate: float, seconds: float, processes: int
) -> None:
    assert advice.threads(rate, seconds, processes) * processes >= rate * seconds


@given(cores=st.floats(0.001, 64))
def test_a_request_sets_aside_what_is_used_and_little_more(cores: float) -> None:
    assert cores - 1e-6 <= advice.cpu_request(cores) <= cores + advice.CPU_STEP + 1e-6


def test_the_hpa_aims_at_what_is_used_at_seven_tenths() -> None:
    # At 70/s, between 60/s and 80/s: 0.7 cores of 1.25.
    measured = [(60, 0.6), (80, 0.8), (100, 1.25)]
    assert advice.hpa_cpu(100, measured, 1.25) == 56
    # Of one step alone, in proportion.
    assert advice.hpa_cpu(100, [(100, 1)], 1) == 70


def step(offered: float, gunicorn: float, *broken: str, limiting: str = "") -> Step:
    spent = {"gunicorn": gunicorn, "nginx": 0.1, "postgresql": 0.3, "valkey": 0.05, "load": 0.2}
    idle = dict.fromkeys(CONTAINERS, 0.0)
    return Step(offered, offered, [*broken], 40, 90, spent, 0.4, idle, IDLE, 0.02, limiting)


GUNICORN = {"processes": 2, "threads": 8, "resources": {"limits": {"cpu": "2"}}}


def test_a_result_is_made_of_the_highest_rate_that_was_kept() -> None:
    steps = [
        step(80, 0.8),
        step(160, 2.0, "/me (p95)", limiting="once"),
        step(160, 2.0, "/me (p95)", limiting=NODE),
        # Broken at first, and kept when it was asked again.
        step(120, 1.5, "/me (p95)", limiting="once"),
        step(120, 1.2),
    ]
    told = result(2, Found(120, 160), steps, GUNICORN)
    ran_out = f"{NODE}, of which others used 0.4 cores"
    assert (told["kept"], told["broken"], told["limiting"]) == (120, 160, ran_out)
    # 1.2 of gunicorn's and 0.1 of nginx's; two pods with two cores each as their limit.
    assert (told["cores"], told["per_core"], told["per_core_of_limit"]) == (1.3, 92.3, 30)
    assert told["recommended"] == {
        "processes": 1,
        # 60/s for 20 ms: 1.2 at a time.
        "threads": 4,
        "cpu_request": 0.6,
        # 42/s, from 40/s with 0.4 cores to 60/s with 0.6: 0.42 of 0.6.
        "hpa_cpu": 70,
    }
    assert len(told["steps"]) == len(steps)


def test_without_a_rate_that_was_kept_there_is_no_advice() -> None:
    steps = [step(1, 0.1, "/me (failures)", limiting=POOL)]
    told = result(1, Found(None, 1), steps, GUNICORN)
    assert told["kept"] is None
    assert told["limiting"] == POOL
    assert "recommended" not in told


def test_without_a_rate_that_was_broken_nothing_ran_out() -> None:
    told = result(1, Found(80, None), [step(80, 0.8)], GUNICORN)
    assert (told["kept"], told["broken"]) == (80, None)
    assert told["limiting"] == "nothing, up to the last rate"


STAT = "cpu  100 0 100 700 100 0 0 0 0 0\nbtime 7\n"
V1 = STAT + "usage 2500000000\nnr_periods 10\nnr_throttled 4\nthrottled_time 9\n50.5 99\n"
V2 = STAT + "usage\nusage_usec 2500000\nuser_usec 1\nnr_periods 10\nnr_throttled 4\n50.5 99\n"


@pytest.mark.parametrize("text", [V1, V2])
def test_both_versions_of_control_groups_are_read(text: str) -> None:
    assert parse(text) == Usage(50.5, 2.5, 10, 4, 7, 2, 10)


def test_a_group_without_a_limit_was_never_held_back() -> None:
    assert parse(STAT + "usage\nusage_usec 2500000\n50.5 99\n").throttled == 0


def test_what_was_used_is_told_of_all_pods_and_of_the_one_that_used_most() -> None:
    one, two = (Container(name, "gunicorn", "node", 2) for name in ("a", "b"))
    before = {one: Usage(10, 1, 0, 0, 7, 0, 0), two: Usage(50, 7, 0, 0, 7, 0, 0)}
    after = {one: Usage(20, 11, 100, 25, 7, 20, 25), two: Usage(60, 12, 100, 0, 7, 20, 25)}
    assert between(before, after) == {"gunicorn": Used(cores=1.5, share=0.5, throttled=0.25)}
    # One machine has both: 2 cores of its 2.5 worked, 1.5 of them for us.
    assert busiest(before, after) == Machine(share=0.8, others=0.5)


def test_sidecars_are_measured_and_what_has_ended_is_not() -> None:
    def container(name: str, **more: str) -> dict[str, object]:
        return {"name": name, "resources": {"limits": {"cpu": "500m"}}, **more}

    pod = {
        "metadata": {"name": "web-1"},
        "spec": {
            "nodeName": "node1",
            "initContainers": [container("gunicorn", restartPolicy="Always"), container("wait")],
            "containers": [container("nginx")],
        },
        "status": {"phase": "Running"},
    }
    done = pod | {"status": {"phase": "Succeeded"}}
    going = pod | {"metadata": {"name": "web-2", "deletionTimestamp": "now"}}
    assert containers([pod, done, going]) == [
        Container("web-1", name, "node1", 0.5) for name in ("gunicorn", "nginx")
    ]
    assert cores("2") == 2


def seen(*times: int, errors: Counter[str] | None = None) -> Seen:
    """So many milliseconds each, of one route."""
    errors = errors or Counter()
    one = Measured(len(times), errors.total(), Counter(times))
    return Seen({"/me": one}, len(times), 0, 0.1, errors)


def test_a_step_is_judged_by_the_slo_and_by_whether_its_rate_was_reached() -> None:
    gate = Gate(Limits(250, 1000, 0.1), {})
    assert broken(seen(*[40] * 95, *[300] * 5), 10, 10, gate) == []
    assert broken(seen(*[40] * 94, *[300] * 6), 10, 10, gate) == ["/me (p95)"]
    assert broken(seen(*[40] * 94), 10, 10, gate) == ["9.4 requests/s reached"]
    failed = seen(*[40] * 100, errors=Counter({"GET /me: 500": 1, "GET /me: 503": 2}))
    assert broken(failed, 10, 10, gate) == ["/me (failures)", "2 x GET /me: 503"]
    with pytest.raises(Failure, match="too few"):
        broken(seen(40), 10, 10, gate)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_tables_are_those_of_capacity_json(path: Path) -> None:
    block = DOCUMENTS[path](json.loads(RESULT.read_text()))
    text = path.read_text()
    assert quote(text, "capacity", block) == text, f"{path} is stale: make capacity writes it"


def test_a_table_needs_its_place() -> None:
    with pytest.raises(Failure, match="capacity"):
        quote("# Slipway\n", "capacity", "table")


def test_what_was_never_kept_has_a_row_too() -> None:
    told = result(1, Found(None, 1), [step(1, 0.1, "/me (p95)", limiting=POOL)], GUNICORN)
    kept = {
        "machine": {
            "date": "2026-01-01", "nodes": 2, "machines": 1, "cores": 2.0, "processor": "X",
            "kubernetes": "v1.35.4",
        },
        "load": {"warm_up": 4, "seconds": 12, "tolerance": 0.1},
        "pods": {"1": told},
    }  # fmt: skip
    assert f"| 1 | below 1 |  |  | {POOL} |" in short(kept)
    assert f"broken: /me (p95); {POOL}" in whole(kept)


FAULTS_TOKEN = "faults-" * 4
# One address is many users.
UNLIMITED = dict.fromkeys(["RATE_LIMIT", "LOGIN_LIMIT", "SIGNUP_LIMIT"], "1000000 per minute")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    subprocess.run(["make", "loadtests/.venv/.ready"], cwd=ROOT, check=True, capture_output=True)
    url = f"sqlite:///{tmp_path}/slipway.db"
    migrate(url)
    with serving(tmp_path, url, FAULTS_TOKEN=FAULTS_TOKEN, **UNLIMITED) as server:
        yield server


def faults(server: Server, *options: str) -> None:
    known = {"FAULTS_TOKEN": FAULTS_TOKEN, "OPS_PORT": str(server.ops_port)}
    subprocess.run(
        [sys.executable, "-m", "flask", "--app", "slipway", "faults", *options],
        env={**os.environ, "ENVIRONMENT": "development", **known},
        check=True, capture_output=True,
    )  # fmt: skip


def stepping(server: Server, *asked: dict[str, float]) -> Iterator[dict[str, Any]]:
    """What four users see at each rate, one after the other."""
    host = f"--host=http://127.0.0.1:{server.port}"
    with subprocess.Popen(
        [ROOT / "loadtests/.venv/bin/python", "-m", "load.steps", host, "--users=4"],
        env={"PYTHONPATH": str(ROOT / "loadtests")},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout
        assert "processor" in json.loads(process.stdout.readline())
        for one in asked:
            process.stdin.write(json.dumps(one) + "\n")
            process.stdin.flush()
            yield json.loads(process.stdout.readline())


def test_a_step_counts_from_when_requests_were_due_and_leaves_nothing_for_the_next(
    server: Server,
) -> None:
    one = {"rate": 20.0, "warm_up": 0.5, "seconds": 3.0}
    told = stepping(server, one, one, one)
    assert next(told)["answered"] > 0
    # Four users who wait 400 ms each ask 10 times a second: half of what is due never begins.
    latency = ("--kind", "latency", "--percent", "100", "--milliseconds", "400")
    faults(server, "start", "--route", "*", "--seconds", "60", *latency)
    slow = next(told)
    assert slow["unsent"] > 0
    assert slow["answered"] < 40
    assert max(int(ms) for route in slow["routes"].values() for ms in route["times"]) > 1000
    faults(server, "stop")
    after = next(told)
    assert after["routes"].keys() <= {"/", "/me", "/api/users/<id:user_id>"}
    assert sum(route["failures"] for route in after["routes"].values()) == 0
    assert after["answered"] > slow["answered"]


COMMAND = (sys.executable, "-m", "capacity")
NAMESPACE = "slipway-capacity-test"
SHORT = ("--first=8", "--steps=2", "--seconds=5")
NEEDS = pytest.mark.needs("engine", "cluster", "helm")


@contextmanager
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """A short run, in a process group of its own, as a terminal starts one."""
    log = folder / "log"
    known = {key: value for key, value in os.environ.items() if key != "MAKEFLAGS"}
    settings = {"PYTHONPATH": f"{ROOT}/loadtests:{ROOT}/helm", "NAMESPACE": NAMESPACE, "PODS": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [*COMMAND, *SHORT], cwd=ROOT, env=known | settings,
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        yield process, log.read_text
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(180)


def is_gone() -> bool:
    return attempt("kubectl", "get", "namespace", NAMESPACE) is None


@NEEDS
@pytest.mark.alone
def test_a_run_tells_a_rate_and_what_ran_out_and_leaves_nothing(tmp_path: Path) -> None:
    before = RESULT.read_text()
    with running(tmp_path) as (process, said):
        assert process.wait(300) == 0, said()
    assert re.search(r"1 pod, rate 1/2: 8 requests/s, p95 \d+ ms", said()), said()
    told = re.search(r"^capacity: 1 pod: .*requests/s.*; what ran out: (.+)$", said(), re.MULTILINE)
    assert told, said()
    assert "nothing is written" in said()
    assert before == RESULT.read_text()
    assert is_gone()


@NEEDS
@pytest.mark.alone
def test_who_ends_it_early_leaves_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as (process, said):
        until(lambda: "users sign up" in said() or process.poll() is not None, said, 240)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(180) == 130, said()
    assert "capacity: interrupted" in said()
    assert "Traceback" not in said()
    assert is_gone()


def test_the_help_names_every_setting() -> None:
    done = subprocess.run(
        [*COMMAND, "--help"], cwd=ROOT, capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": f"{ROOT}/loadtests:{ROOT}/helm"},
    )  # fmt: skip
    for file in (ROOT / "loadtests/capacity").glob("*.py"):
        for name in re.findall(r'setting\("(\w+)"', file.read_text()):
            assert name in done.stdout
    assert str(STEPS) in done.stdout

"""Faults on purpose, in real server processes: who may start them, whom they hit, and their end."""

import json
import math
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from answers import settings, until
from flask import Flask, got_request_exception
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr
from serving import Server, serving
from werkzeug.test import Client

from slipway import create_app, faults, ops
from slipway.fault_control import FaultControl
from slipway.faults import HEADER

TOKEN = "a token of the drills"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ALL = {"route": "*", "kind": "error", "percent": 100, "seconds": 60}
ERROR = {**ALL, "route": "/ping", "status": 503, "seed": 7}
LATENCY = {**ALL, "route": "/ping", "kind": "latency", "milliseconds": 300}


@pytest.fixture(scope="module")
def _two_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("faults")
    more = {"FAULTS_TOKEN": TOKEN, "WEB_CONCURRENCY": "2", "RATE_LIMIT": "9999 per second"}
    with serving(folder, f"sqlite:///{folder}/slipway.db", **more) as server:
        until(lambda: len(server.children()) == 2, server.log.read_text)
        yield server


@pytest.fixture
def service(_two_processes: Server) -> Server:
    """Two processes that take faults, and have none."""
    control(_two_processes, "DELETE")
    return _two_processes


def control(server: Server, method: str = "GET", fault: Any = None) -> list[dict[str, Any]]:
    """What runs after that call."""
    answer = httpx.request(
        method, f"http://127.0.0.1:{server.ops_port}/faults", headers=BEARER, json=fault
    )
    assert answer.status_code == 200, answer.text
    running: list[dict[str, Any]] = answer.json()["faults"]
    return running


def get(server: Server, path: str = "/ping", **headers: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{server.port}{path}", headers=headers, timeout=20)


def statuses(server: Server, requests: int) -> list[int]:
    url = f"http://127.0.0.1:{server.port}/ping"
    # A connection for each: whichever process is there takes it.
    with httpx.Client(headers={"Connection": "close"}) as client:
        return [client.get(url).status_code for _ in range(requests)]


@contextmanager
def only(server: Server, process: int) -> Iterator[None]:
    """All requests to one of the processes."""
    others = [pid for pid in server.children() if pid != process]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


def test_an_error_hits_every_process_whoever_took_the_call(service: Server) -> None:
    one, other = service.children()
    with only(service, one):
        control(service, "PUT", ERROR)
    for process in (one, other):
        with only(service, process):
            answer = get(service)
            assert (answer.status_code, answer.headers[HEADER]) == (503, "error")
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json()["status"] == 503
            assert "injected" in answer.json()["detail"]


def test_other_routes_and_the_operations_port_are_left_alone(service: Server) -> None:
    control(service, "PUT", ERROR)
    answer = get(service, "/version")
    assert (answer.status_code, answer.headers.get(HEADER)) == (200, None)
    assert get(service, "/nowhere").status_code == 404
    assert service.get("/livez", ops=True)[0] == 200


def test_a_star_hits_every_request_also_of_no_route(service: Server) -> None:
    control(service, "PUT", ALL)
    assert {get(service, path).status_code for path in ("/ping", "/version", "/nowhere")} == {500}
    assert service.get("/livez", ops=True)[0] == 200


def test_a_browser_gets_the_page_of_an_injected_error(service: Server) -> None:
    control(service, "PUT", {**ALL, "route": "/account/login"})
    answer = get(service, "/account/login", Accept="text/html")
    assert answer.status_code == 500
    assert "injected" in answer.text
    assert answer.headers["Content-Type"].startswith("text/html")


def test_a_latency_holds_the_request_and_the_metrics_see_it(service: Server) -> None:
    def seen() -> float:
        text = service.get("/metrics", ops=True)[1]
        found = re.findall(r"^flask_\w+_seconds_sum\{(.*)\} (\S+)$", text, re.MULTILINE)
        return sum(float(seconds) for labels, seconds in found if '"/ping"' in labels)

    before = seen()
    control(service, "PUT", LATENCY)
    answer = get(service)
    assert (answer.status_code, answer.headers[HEADER]) == (200, "latency")
    assert answer.elapsed.total_seconds() >= 0.3
    assert seen() - before >= 0.3


def test_latency_and_error_come_together(service: Server) -> None:
    control(service, "PUT", LATENCY)
    assert len(control(service, "PUT", ERROR)) == 2
    answer = get(service)
    assert (answer.status_code, answer.headers[HEADER]) == (503, "error, latency")
    assert answer.elapsed.total_seconds() >= 0.3


def test_the_line_of_an_affected_request_says_so(service: Server) -> None:
    control(service, "PUT", ERROR)
    trace_id = get(service).headers["X-Trace-Id"]
    lines: list[dict[str, Any]] = []

    def written() -> bool:
        said = service.log.read_text().splitlines()
        lines[:] = [json.loads(line) for line in said if trace_id in line and '"request"' in line]
        return bool(lines)

    until(written, service.log.read_text)
    assert [(line["status"], line["fault"]) for line in lines] == [(503, "error")]


def test_a_percentage_hits_about_so_many(service: Server) -> None:
    control(service, "PUT", {**ERROR, "percent": 20})
    hit = statuses(service, 300).count(503)
    # Five standard deviations of the binomial distribution.
    assert abs(hit - 60) <= 5 * math.sqrt(300 * 0.2 * 0.8)


def test_a_process_decides_by_the_seed_and_goes_on_when_another_fault_starts(
    service: Server,
) -> None:
    draws = Random(7)
    expected = [503 if draws.random() * 100 < 30 else 200 for _ in range(60)]
    for process in service.children():
        control(service, "DELETE")
        with only(service, process):
            control(service, "PUT", {**ERROR, "percent": 30})
            first = statuses(service, 30)
            control(service, "PUT", {**ALL, "route": "/version"})
            assert first + statuses(service, 30) == expected


def test_a_fault_without_a_seed_tells_the_one_it_has(service: Server) -> None:
    started = control(service, "PUT", {**ALL, "percent": 50})[0]
    again = control(service, "PUT", {**ALL, "percent": 50})[0]
    assert started["seed"] != again["seed"]


def test_starting_again_replaces_and_delete_ends_all(service: Server) -> None:
    control(service, "PUT", LATENCY)
    control(service, "PUT", {**ERROR, "status": 502})
    running = control(service, "PUT", ERROR)
    assert [(one["kind"], one.get("status")) for one in running] == [
        ("latency", None),
        ("error", 503),
    ]
    assert control(service, "DELETE") == control(service) == []
    assert statuses(service, 4) == [200] * 4


def test_it_ends_by_itself_and_the_end_is_logged_once(service: Server) -> None:
    control(service, "PUT", {**ERROR, "seconds": 1, "seed": 4711})
    assert get(service).status_code == 503
    until(lambda: get(service).status_code == 200, lambda: str(control(service)))
    for process in service.children():
        with only(service, process):
            assert get(service).status_code == 200
            assert control(service) == []
    said = service.log.read_text()
    assert len(re.findall("fault started: error 503 on 100 % of /ping, seed 4711", said)) == 1
    assert len(re.findall("fault ended: error 503 on 100 % of /ping, seed 4711", said)) == 1
    assert TOKEN not in said


def test_the_gauge_is_there_as_long_as_the_fault(service: Server) -> None:
    def gauge() -> list[str]:
        text = service.get("/metrics", ops=True)[1]
        return [line for line in text.splitlines() if line.startswith("slipway_fault_active")]

    assert gauge() == []
    control(service, "PUT", {**ERROR, "percent": 12.5})
    control(service, "PUT", {**LATENCY, "route": "*"})
    assert gauge() == [
        'slipway_fault_active{kind="error",route="/ping"} 12.5',
        'slipway_fault_active{kind="latency",route="*"} 100.0',
    ]
    control(service, "PUT", {**ERROR, "seconds": 0.5})
    until(lambda: len(gauge()) == 1, lambda: str(gauge()))
    control(service, "DELETE")
    assert gauge() == []


def test_a_process_in_place_of_a_killed_one_has_it_too(service: Server) -> None:
    control(service, "PUT", ERROR)
    before = service.children()
    for process in before:
        os.kill(process, signal.SIGKILL)

    def replaced() -> bool:
        now = service.children()
        return len(now) == 2 and not set(now) & set(before)

    until(replaced, service.log.read_text)
    assert [one["kind"] for one in control(service)] == ["error"]
    assert set(statuses(service, 10)) == {503}


def test_a_wrong_token_or_none_starts_nothing(service: Server) -> None:
    url = f"http://127.0.0.1:{service.ops_port}/faults"
    for header in ("", TOKEN, "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}"):
        for method in ("GET", "PUT", "DELETE", "POST"):
            answer = httpx.request(method, url, headers={"Authorization": header}, json=ALL)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert control(service) == []


def test_it_is_not_on_the_public_port_and_takes_no_other_method_or_large_body(
    service: Server,
) -> None:
    assert httpx.get(f"http://127.0.0.1:{service.port}/faults", headers=BEARER).status_code == 404
    url = f"http://127.0.0.1:{service.ops_port}/faults"
    answer = httpx.post(url, headers=BEARER, json=ALL)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, PUT, DELETE")
    assert httpx.put(url, headers=BEARER, content=b" " * 20_000).status_code == 413


def test_without_a_token_there_is_none_and_nothing_looks_for_any(tmp_path: Path) -> None:
    app = create_app(settings(database_url=f"sqlite:///{tmp_path}/slipway.db"))
    hooks = list(app.before_request_funcs[None])
    faults.install(app, tmp_path)
    assert app.before_request_funcs[None] == hooks
    assert not (tmp_path / "faults.json").exists()
    for headers in ({}, BEARER, {"Authorization": "Bearer "}, {"Authorization": "Bearer None"}):
        answer = Client(ops.Operations(app)).put("/faults", headers=headers, json=ALL)
        assert answer.status_code == 404
        assert "/faults" not in (answer.get_json() or {})["pages"]


@pytest.fixture
def drilled(tmp_path: Path) -> Flask:
    """The service, in this process, with faults allowed."""
    app = create_app(settings(database_url=f"sqlite:///{tmp_path}/slipway.db", faults_token=TOKEN))
    faults.install(app, tmp_path)
    return app


def test_an_injected_error_is_no_event_for_sentry(drilled: Flask) -> None:
    events: list[object] = []
    drilled.extensions["faults"].start(faults.parse(json.dumps(ERROR).encode(), ["/ping"]), "me")

    def told(_app: Flask, exception: BaseException, **_: object) -> None:
        events.append(exception)

    with got_request_exception.connected_to(told):
        assert drilled.test_client().get("/ping").status_code == 503
    assert events == []


def test_a_lost_file_fails_no_request(drilled: Flask, tmp_path: Path) -> None:
    drilled.extensions["faults"].start(faults.parse(json.dumps(ERROR).encode(), ["/ping"]), "me")
    assert drilled.test_client().get("/ping").status_code == 503
    (tmp_path / "faults.json").unlink()
    assert drilled.test_client().get("/ping").status_code == 200


@pytest.mark.parametrize(
    ("wrong", "field", "line"),
    [
        ({"route": "/nowhere"}, "route", r"should be one of \* / /account .*/api/users .*/ping"),
        ({"kind": "flood"}, "kind", "should be error or latency"),
        ({"kind": None}, "kind", "should be error or latency"),
        ({"percent": 101}, "percent", "less than or equal to 100"),
        ({"percent": -1}, "percent", "greater than or equal to 0"),
        ({"percent": "20"}, "percent", "valid number"),
        ({"percent": True}, "percent", "valid number"),
        ({"percent": math.nan}, "percent", "finite number"),
        ({"seconds": 0}, "seconds", "greater than 0"),
        ({"seconds": 3601}, "seconds", "less than or equal to 3600"),
        ({"seconds": ...}, "seconds", "Field required"),
        ({"status": 404}, "status", "should be one of 500, 501, .*, 511$"),
        ({"status": 599}, "status", "should be one of 500"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"seed": 1.5}, "seed", "valid integer"),
        ({"milliseconds": 1}, "milliseconds", "Extra inputs are not permitted"),
        ({"kind": "latency", "status": ...}, "milliseconds", "Field required"),
        (
            {"kind": "latency", "status": ..., "milliseconds": 10_001},
            "milliseconds",
            "less than or equal to 10000",
        ),
    ],
)
def test_what_is_wrong_is_named_in_one_line(
    drilled: Flask, wrong: dict[str, Any], field: str, line: str
) -> None:
    fault = {name: value for name, value in {**ERROR, **wrong}.items() if value is not ...}
    answer = Client(FaultControl(drilled, SecretStr(TOKEN))).put(
        "/faults", headers=BEARER, data=json.dumps(fault)
    )
    assert answer.status_code == 422
    problems = (answer.get_json() or {})["problems"]
    assert list(problems) == [field]
    assert re.search(line, problems[field]), problems
    assert "\n" not in problems[field]
    assert drilled.extensions["faults"].running() == []


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_likely = st.fixed_dictionaries(
    {},
    optional={
        "route": st.sampled_from(["/ping", "*"]) | _json,
        "kind": st.sampled_from(["error", "latency"]) | _json,
        "percent": st.floats(-1, 101) | _json,
        "seconds": st.floats(-1, 3601) | _json,
        "status": st.integers(499, 600) | _json,
        "milliseconds": st.integers(-1, 10_001) | _json,
        "seed": st.integers(-1, 2**32) | _json,
    },
)


@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.binary() | (_json | _likely).map(lambda value: json.dumps(value).encode()))
def test_no_body_breaks_it(drilled: Flask, body: bytes) -> None:
    client = Client(FaultControl(drilled, SecretStr(TOKEN)))
    answer = client.put("/faults", headers=BEARER, data=body)
    assert answer.status_code in {200, 422}
    for one in client.get("/faults", headers=BEARER).json["faults"]:  # type: ignore[index]
        assert 0 <= one["percent"] <= 100
        assert one["seconds_left"] <= 3600


def command(server: Server, *arguments: str, **more: Any) -> tuple[int, str]:
    """A command's exit status, and its lines."""
    values = {"ops_host": "0.0.0.0", "ops_port": server.ops_port, "faults_token": TOKEN}  # noqa: S104
    app = create_app(settings(**{**values, **more}))
    result = app.test_cli_runner().invoke(args=["faults", *arguments])
    return result.exit_code, result.output


def test_the_commands_start_list_and_stop(service: Server) -> None:
    error = ("--route=/ping", "--kind=error", "--percent=100", "--seconds=60", "--seed=1")
    status, said = command(service, "start", *error)
    assert status == 0
    assert re.fullmatch(
        r"faults: error 500 on 100 % of /ping, seed 1, (59\.9|60) s left\n", said
    ), said
    assert get(service).status_code == 500
    status, said = command(
        service, "start", "--route=*", "--kind=latency", "--percent=0.5", "--seconds=60",
        "--milliseconds=10",
    )  # fmt: skip
    assert (status, said.count("\n")) == (0, 2)
    assert command(service, "list")[1].count("\n") == 2
    assert command(service, "stop") == (0, "faults: none\n")
    assert get(service).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "more", "line"),
    [
        (["list"], {"faults_token": None}, "Error: faults: FAULTS_TOKEN is not set"),
        (["list"], {"faults_token": "x" * 16}, "Error: faults: the service has another FAULTS_T"),
        (["stop"], {"ops_port": 1}, "Error: faults: 127.0.0.1:1 does not answer: .* refused"),
        (
            ["start", "--route=/x", "--kind=error", "--percent=200", "--seconds=1"],
            {},
            "Error: faults: route: should be one of .*; percent: Input should be less than",
        ),
    ],
)
def test_a_command_that_fails_says_why_in_one_line(
    service: Server, arguments: list[str], more: dict[str, Any], line: str
) -> None:
    status, said = command(service, *arguments, **more)
    assert status == 1
    assert said.count("\n") == 1
    assert re.match(line, said), said

"""Users on the real service: what they leave behind, and what turns the verdict red."""

from __future__ import annotations

import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from answers import settings, until
from containers import new_database, postgres_server, running, valkey_server
from post import MAILPIT, Mailpit
from serving import SERVICE, Server, free_port, migrate, serving

from slipway import create_app

ROOT = Path(__file__).parents[2]
LOADTESTS = ROOT / "loadtests"
FAULTS_TOKEN = "faults-" * 4
# One address is many users: as loadtests/README.md has it of a deployment under test.
LIMITS = {
    "RATE_LIMIT": "1000000 per minute",
    "LOGIN_LIMIT": "1000000 per minute",
    "SIGNUP_LIMIT": "1000000 per minute",
}
SMALL = ("--users", "12", "--run-time", "8")


@pytest.fixture(scope="session", autouse=True)
def _environment() -> None:
    made = subprocess.run(
        ["make", "loadtests/.venv/.ready"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "MAKEFLAGS"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr


@dataclass
class Site:
    """The service, with an embedded database of its own."""

    folder: Path
    server: Server

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def users(self) -> int:
        with sqlite3.connect(self.folder / "slipway.db") as database:
            count: int = database.execute("SELECT count(*) FROM users").fetchone()[0]
        database.close()
        return count

    def faults(self, *options: str) -> None:
        ops = {"FAULTS_TOKEN": FAULTS_TOKEN, "OPS_PORT": str(self.server.ops_port)}
        subprocess.run(
            [sys.executable, "-m", "flask", "--app", "slipway", "faults", *options],
            env={**os.environ, "ENVIRONMENT": "development", **ops},
            check=True,
            capture_output=True,
        )

    def fault(self, *options: str) -> None:
        """Of all routes, for longer than a run takes."""
        self.faults("start", "--route", "*", "--seconds", "60", *options)


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    url = f"sqlite:///{folder}/slipway.db"
    migrate(url)
    with serving(folder, url, FAULTS_TOKEN=FAULTS_TOKEN, **LIMITS) as server:
        yield Site(folder, server)


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    yield shared_site
    shared_site.faults("stop")


@pytest.fixture(scope="session")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Limits that a busy machine keeps too; of failures, the real ones."""
    gate = json.loads((LOADTESTS / "slo.json").read_text())
    for limits in (gate["default"], *gate["routes"].values()):
        limits |= {"p95": limits["p95"] * 100, "p99": limits["p99"] * 100}
    path = tmp_path_factory.mktemp("slo") / "slo.json"
    path.write_text(json.dumps(gate))
    return path


@dataclass
class Load:
    """A run that is over."""

    status: int
    said: str
    told: str
    folder: Path

    @property
    def verdict(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "verdict.json").read_text())
        return found

    def route(self, name: str) -> dict[str, Any]:
        return next(route for route in self.verdict["routes"] if route["route"] == name)


@contextmanager
def begun(folder: Path, *options: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    python = LOADTESTS / ".venv/bin/python"
    process = subprocess.Popen(
        [python, "-m", "load", "--results", folder / "results", *options],
        cwd=LOADTESTS,
        env={**os.environ, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str], folder: Path) -> Load:
    said, told = process.communicate(timeout=120)
    return Load(process.returncode, said, told, folder / "results")


def load(folder: Path, *options: str, **more: str) -> Load:
    with begun(folder, *options, **more) as process:
        return ended(process, folder)


# ── Green ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[tuple[Server, str]]:
    """The service as in production, with PostgreSQL, Valkey, a worker and a mail server."""
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_server(secrets.token_hex(16)))
        database_url = stack.enter_context(new_database(postgres))
        redis_url = stack.enter_context(valkey_server())
        options = ["--tmpfs", "/tmp"]  # noqa: S108
        mailpit = Mailpit(*stack.enter_context(running(MAILPIT, 1025, 8025, options=options)))
        until(mailpit.answers, lambda: "Mailpit does not answer")
        migrate(database_url)
        more = {"REDIS_URL": redis_url, "SMTP_URL": mailpit.url, **LIMITS}
        server = stack.enter_context(serving(tmp_path, database_url, **more))
        environment = {
            "ENVIRONMENT": "development",
            "DATABASE_URL": database_url,
            "OPS_PORT": str(free_port()),
        }
        with (tmp_path / "worker").open("w") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "celery", "--app", "slipway.worker", "worker"],
                cwd=SERVICE,
                env={**os.environ, **more, **environment},
                stdout=log,
                stderr=log,
            )
        try:
            yield server, database_url
        finally:
            worker.terminate()
            worker.wait(timeout=60)


@pytest.mark.needs("engine")
def test_a_smoke_is_green_and_leaves_nobody_behind(
    whole: tuple[Server, str], patient: Path, tmp_path: Path
) -> None:
    server, database_url = whole
    email, password = "admin@example.com", "correct horse battery"
    subprocess.run(
        [sys.executable, "-m", "flask", "--app", "slipway", "create-admin", email, "--password=-"],
        env={**os.environ, "ENVIRONMENT": "development", "DATABASE_URL": database_url},
        input=password,
        text=True,
        check=True,
        capture_output=True,
    )
    admin = {"LOADTEST_ADMIN_EMAIL": email, "LOADTEST_ADMIN_PASSWORD": password}
    host = f"http://127.0.0.1:{server.port}"
    run = load(tmp_path, "--host", host, "--slo", str(patient), *SMALL, **admin)
    assert run.status == 0, run.said + run.told
    assert run.said.splitlines()[-1].startswith("loadtest: SLO kept"), run.said
    assert "users, " in run.told, "no progress"
    assert "429" not in run.said
    # Under the names that the service has, or no limit would be met.
    rules = {rule.rule for rule in create_app(settings()).url_map.iter_rules()}
    routes = {route["route"] for route in run.verdict["routes"]}
    assert routes <= rules
    assert {"/", "/login", "/me", "/api/users", "/api/users/<id:user_id>"} <= routes
    accounts = run.verdict["accounts"]
    assert accounts["made"] == accounts["deleted"] >= 11
    with psycopg.connect(database_url) as database:
        left = database.execute("SELECT email FROM users").fetchall()
    assert left == [(email,)]
    report = (run.folder / "report.html").read_text()
    assert "SLO kept" in report
    counted = (run.folder / "requests.csv").read_text().splitlines()[-1].split(",")
    assert int(counted[2]) == sum(route["requests"] for route in run.verdict["routes"])


def test_several_processes_are_one_run(site: Site, patient: Path, tmp_path: Path) -> None:
    options = ["--processes", "2", "--master-bind-port", str(free_port())]
    options += ["--master-port", options[-1]]
    run = load(tmp_path, "--host", site.host, "--slo", str(patient), *SMALL, *options)
    assert run.status == 0, run.said + run.told
    accounts = run.verdict["accounts"]
    assert accounts["made"] == accounts["deleted"] >= 12
    assert run.route("/api/users")["requests"] >= accounts["made"]
    assert site.users() == 0


# ── Red ──────────────────────────────────────────────────────────────────────────────────────────


def test_prometheus_reads_what_the_report_will_say(
    site: Site, patient: Path, tmp_path: Path
) -> None:
    port = free_port()

    def figures() -> dict[str, float]:
        """Of each series the last value."""
        with suppress(OSError):
            url = f"http://127.0.0.1:{port}/metrics"
            with urllib.request.urlopen(url, timeout=5) as answer:
                lines = answer.read().decode().splitlines()
            series = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
            return {name: float(value) for name, value in series}
        return {}

    def seconds(kind: str) -> str:
        return f'locust_request_duration_seconds_{kind}method="GET",route="/me"}}'

    options = ("--host", site.host, "--slo", str(patient), *SMALL)
    with begun(tmp_path, *options, OPS_PORT=str(port)) as process:
        until(lambda: figures().get(seconds("count{"), 0) > 5, lambda: str(figures()), 30)
        seen = figures()
        run = ended(process, tmp_path)
    assert seen['locust_run_active{profile="smoke"}'] == 1
    assert seen["locust_users"] == 12
    assert seen[seconds("count{")] == seen[seconds('bucket{le="+Inf",')]
    assert seen[seconds("count{")] <= run.route("/me")["requests"]
    assert seen['locust_request_failures_total{method="GET",route="/me"}'] == 0


def test_two_percent_of_errors_turn_it_red(site: Site, patient: Path, tmp_path: Path) -> None:
    # The first request that it hits is the 30th.
    site.fault("--kind", "error", "--percent", "2", "--seed", "172")
    run = load(tmp_path, "--host", site.host, "--slo", str(patient), *SMALL)
    assert run.status == 1, run.said + run.told
    broken = [route for route in run.verdict["routes"] if route["broken"]]
    assert broken
    assert all(route["broken"] == ["failures"] for route in broken)
    assert all(route["route"] in run.said.splitlines()[-1] for route in broken)
    assert "500 Internal Server Error" in run.said
    # What is cleaned up is tried again.
    assert site.users() == 0


def test_400_ms_of_latency_turn_it_red(site: Site, tmp_path: Path) -> None:
    site.fault("--kind", "latency", "--percent", "100", "--milliseconds", "400")
    run = load(tmp_path, "--host", site.host, "--users", "12", "--run-time", "11")
    assert run.status == 1, run.said + run.told
    assert "p95" in run.route("/api/users/<id:user_id>")["broken"]
    assert run.said.splitlines()[-1].startswith("loadtest: SLO BROKEN on "), run.said


def test_waiting_for_ones_turn_is_counted_on_a_schedule(site: Site, tmp_path: Path) -> None:
    # Each user's pace is a second, so that they fall behind by half a second with each request.
    site.fault("--kind", "latency", "--percent", "100", "--milliseconds", "1500")
    options = ["--profile", "open", "--users", "8", "--run-time", "13"]
    run = load(tmp_path, "--host", site.host, *options)
    assert run.status == 1, run.said + run.told
    route = run.route("/api/users/<id:user_id>")
    assert route["p95"] > route["uncorrected"]["p95"] + 500
    assert run.verdict["unsent"] > 0


# ── Neither ──────────────────────────────────────────────────────────────────────────────────────


def test_ctrl_c_lets_users_leave_and_gives_no_verdict(site: Site, tmp_path: Path) -> None:
    with begun(tmp_path, "--host", site.host, "--users", "8", "--run-time", "60") as process:
        until(lambda: site.users() >= 8, lambda: f"{site.users()} users")
        process.send_signal(signal.SIGINT)
        run = ended(process, tmp_path)
    assert run.status == 2, run.said + run.told
    assert run.said.splitlines()[-1] == "loadtest: interrupted: no verdict"
    assert "Traceback" not in run.told
    assert site.users() == 0


def test_a_limit_that_users_meet_is_named(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/slipway.db"
    migrate(url)
    with serving(tmp_path, url, **LIMITS | {"SIGNUP_LIMIT": "2 per hour"}) as server:
        host = f"http://127.0.0.1:{server.port}"
        run = load(tmp_path, "--host", host, "--users", "4", "--run-time", "3")
    assert run.status == 1, run.said + run.told
    assert "429: the service allows 2 requests in 3600 s: raise its SIGNUP_LIMIT" in run.said


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--host", "http://127.0.0.1:9"], "http://127.0.0.1:9 does not answer: "),
        (["--host", "127.0.0.1:8000"], 'HOST is "127.0.0.1:8000", and should read http://'),
        (["--host", "http://127.0.0.1:x"], 'HOST is "http://127.0.0.1:x", and should read'),
        ([], 'HOST is "", and should read http://'),
        (["--profile", "nope"], 'there is no profile "nope". There are: smoke, steady, '),
        (["--slo", "/nowhere"], "/nowhere: No such file"),
    ],
)
def test_what_cannot_run_says_why_in_one_line(
    options: list[str], reason: str, tmp_path: Path
) -> None:
    run = load(tmp_path, *options)
    assert run.status == 2
    assert run.told.startswith(f"loadtest: {reason}"), run.told
    assert run.told.count("\n") == 1, run.told
    assert not run.folder.exists()

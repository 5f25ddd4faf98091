"""What happens around a run: checks before it, a line that tells how it goes, and the verdict."""

from __future__ import annotations

import csv
import json
import logging
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent
import locust.stats
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.html import get_html_report
from locust.runners import Runner, WorkerRunner
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV

from load import admin, figures, measured, profiles, slo
from load.account import prefix
from load.people import unseen
from load.progress import Progress
from load.report import NO_RUN, Run, StageSeen, Verdict
from load.shape import LEAVE_SECONDS, Shape
from load.tally import DELETED, MADE, UNSENT, seen, tally
from load.workers import Workers

HERE = Path(__file__).parents[1]
DEFAULT_PROFILE = "smoke"
# The service's clock and ours may differ by so much.
CLOCKS = timedelta(minutes=10)
ERRORS = 20
REPORT = "report.html"

# Of the runs that have ended.
verdicts: list[Verdict] = []


def _give_up(reason: str) -> None:
    print(f"loadtest: {reason}", file=sys.stderr)
    sys.exit(NO_RUN)


@events.init_command_line_parser.add_listener
def _add_arguments(parser: LocustArgumentParser) -> None:
    parser.add_argument(
        "--slo",
        metavar="<filename>",
        default=str(HERE / "slo.json"),
        help="The limits, as `make slo` writes them.",
        include_in_web_ui=False,
    )
    parser.add_argument(
        "--results",
        metavar="<folder>",
        env_var="LOADTEST_RESULTS",
        help="Where to write report and figures, if not loadtests/results/<time>-<profile>.",
        include_in_web_ui=False,
    )


def check_host(host: str | None) -> str:
    """The address without its last slash. Gives up, in one line, when nobody answers there."""
    parts = urlsplit(host or "")
    try:
        is_address = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 1)
    except ValueError:
        is_address = False
    if not host or not is_address:
        _give_up(f'HOST is "{host or ""}", and should read http://127.0.0.1:8000')
    host = (host or "").rstrip("/")
    answer = unseen(host).session.get("/version")
    if not answer.status_code:
        error = getattr(answer, "error", None)
        _give_up(f"{host} does not answer: {error}. Does the service run? make run")
    return host


@events.init.add_listener
def _prepare(environment: Environment, runner: Runner, **_: Any) -> None:
    tally.attach(environment)
    if isinstance(runner, WorkerRunner):
        return
    options, shape = environment.parsed_options, environment.shape_class
    assert options is not None  # noqa: S101
    assert isinstance(shape, Shape)  # noqa: S101
    name = options.profile or os.environ.get("LOCUST_PROFILE") or DEFAULT_PROFILE
    try:
        profile, gate = profiles.named(name), slo.load(Path(options.slo))
    except (profiles.ProfileError, slo.GateError) as error:
        _give_up(str(error))
    # In a web UI a host may be given later.
    if options.headless or options.autostart or environment.host:
        environment.host = check_host(environment.host)
    environment.profile = options.profile = name
    options.num_users = options.num_users or profile.peak
    options.run_time = options.run_time or int(profile.seconds)
    # Workers are told both when they begin.
    options.run_id = os.urandom(4).hex()
    environment.stop_timeout = LEAVE_SECONDS
    shape.profile = profile.scaled(options.num_users, options.run_time)
    # The line below is what tells how it goes.
    logging.getLogger("locust.stats_logger").disabled = True
    progress, workers = Progress(), Workers()
    if port := os.environ.get("OPS_PORT"):
        figures.serve(environment, name, os.environ.get("OPS_HOST", "127.0.0.1"), int(port))

    @events.test_start.add_listener
    def begin(**_: Any) -> None:
        shape.profile = profile.scaled(options.num_users, options.run_time)
        _leave_on_signals(shape)
        progress.start(runner, shape)
        workers.start(runner)

    @events.test_stop.add_listener
    def end(**_: Any) -> None:
        progress.stop()
        workers.stop()
        if admin.is_there():
            since = datetime.now(UTC) - timedelta(seconds=shape.get_run_time()) - CLOCKS
            admin.sweep(unseen(environment.host), options.run_id, since)
        verdict = Verdict(_seen(environment, runner, shape, workers.lost), gate)
        verdicts.append(verdict)
        environment.process_exit_code = verdict.exit_code
        stamp = f"{datetime.now():%Y%m%d-%H%M%S}-{name}"  # noqa: DTZ005
        folder = Path(options.results or HERE / "results" / stamp)
        try:
            _write(verdict, folder, environment)
        except OSError as error:
            print(f"loadtest: no report in {folder}: {error.strerror}", file=sys.stderr)
        else:
            print(f"loadtest: {folder / REPORT}", file=sys.stderr)
        print(verdict.text(), flush=True)


def _leave_on_signals(shape: Shape) -> None:
    """Let users leave before the end; a second signal ends at once."""
    handlers: list[Any] = []

    def leave() -> None:
        shape.is_interrupted = True
        for handler in handlers:
            handler.cancel()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        print("\nloadtest: users leave and delete their accounts", file=sys.stderr, flush=True)

    handlers += [gevent.signal_handler(which, leave) for which in (signal.SIGINT, signal.SIGTERM)]


def _seen(environment: Environment, runner: Runner, shape: Shape, lost: list[str]) -> Run:
    stats = environment.stats
    errors = [
        (error.occurrences, f"{error.method} {error.name}", str(error.error))
        for error in stats.errors.values()
    ]
    options = environment.parsed_options
    assert options is not None  # noqa: S101
    return Run(
        profile=shape.profile,
        host=environment.host or "",
        seconds=shape.lasted or shape.get_run_time(),
        is_interrupted=shape.is_interrupted,
        sent=seen(stats),
        due=seen(tally.corrected) if shape.profile.is_open else {},
        stages=[StageSeen(one.stage.users, one.seconds, one.seen) for one in shape.passed],
        errors=sorted(errors, reverse=True)[:ERRORS],
        made=tally[MADE],
        deleted=tally[DELETED],
        prefix=prefix(options.run_id),
        unsent=tally[UNSENT],
        lost=tuple(lost),
    )


def _write(verdict: Verdict, folder: Path, environment: Environment) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    report = get_html_report(environment, show_download_link=False)
    (folder / REPORT).write_text(verdict.in_html(report))
    (folder / "verdict.txt").write_text(verdict.text() + "\n")
    (folder / "verdict.json").write_text(json.dumps(verdict.json(), indent=2) + "\n")
    statistics = StatsCSV(environment, PERCENTILES_TO_REPORT)
    with (folder / "requests.csv").open("w", newline="") as file:
        statistics.requests_csv(csv.writer(file))
    with (folder / "failures.csv").open("w", newline="") as file:
        statistics.failures_csv(csv.writer(file))


# Locust's own figures, its report and its files are as exact as the verdict.
locust.stats.bucket_response_time = measured.bucket  # type: ignore[assignment]

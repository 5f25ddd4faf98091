"""Errors: one event for one failure, found by its trace, with nothing that is nobody's business."""

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from answers import ANN, PASSWORD, until
from receiver import Receiver, receiver
from serving import SERVICE, migrate, serving
from test_worker import Site, Worker, site

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-00"}
# An application that fails, when asked to, in ways that nobody foresaw.
FAILS = """
from flask import abort, current_app, request
from slipway import create_app as create
from slipway.database import db
from sqlalchemy import text

def create_app():
    app = create()

    @app.post("/fail/<name>")
    def fail(name):
        secret = "hunter2"
        if name == "logged":
            try:
                raise RuntimeError("handled")
            except RuntimeError:
                current_app.logger.exception("it was handled")
            return "ok"
        if name == "refused":
            abort(503)
        if name == "query":
            db.session.execute(text("SELECT :secret FROM nowhere"), {"secret": secret})
        raise RuntimeError("for ann@example.com, redis://:hunter2@valkey:6379, Bearer hunter2")

    return app
"""

__all__ = ["site"]


@pytest.fixture
def sentry() -> Iterator[Receiver]:
    with receiver() as one:
        yield one


@pytest.fixture
def failing(tmp_path: Path) -> dict[str, str]:
    """The environment of a server with that application."""
    (tmp_path / "fails.py").write_text(FAILS)
    ours = (SERVICE / "gunicorn.conf.py").read_text()
    (tmp_path / "conf.py").write_text(f'{ours}\nwsgi_app = "fails:create_app()"\n')
    migrate(f"sqlite:///{tmp_path}/slipway.db")
    return {"GUNICORN_CMD_ARGS": f"--config={tmp_path}/conf.py", "PYTHONPATH": str(tmp_path)}


def test_an_unforeseen_error_is_one_event_without_secrets(
    tmp_path: Path, failing: dict[str, str], sentry: Receiver
) -> None:
    failing |= {"SENTRY_DSN": sentry.dsn, "SENTRY_ENVIRONMENT": "tests", "COMMIT": "abc"}
    with serving(tmp_path, f"sqlite:///{tmp_path}/slipway.db", **failing) as server:
        base = f"http://127.0.0.1:{server.port}"
        account = {**ANN, "password": PASSWORD}
        user = httpx.post(f"{base}/api/users", json=account).json()["id"]
        log_in = {"email": ANN["email"], "password": PASSWORD}
        token = httpx.post(f"{base}/login", json=log_in).json()["access_token"]
        headers = {**PARENT, "Authorization": f"Bearer {token}", "X-Request-ID": "abcdefgh"}
        for name in ("logged", "refused"):
            httpx.post(f"{base}/fail/{name}", headers=headers)
        answer = httpx.post(
            f"{base}/fail/badly?token=hunter2", json={"password": "hunter2"}, headers=headers
        )
        assert answer.status_code == 500
        assert answer.headers["X-Trace-Id"] == TRACE
        until(lambda: sentry.events != [], server.log.read_text)
        assert server.stop() == 0
    (event,) = sentry.events
    (error,) = event["exception"]["values"]
    assert (error["type"], error["value"]) == (
        "RuntimeError",
        "for …@…, redis://…@valkey:6379, Bearer …",
    )
    assert error["stacktrace"]["frames"][-1]["function"] == "fail"
    assert event["release"] == "slipway@0.1.0+abc"
    assert event["environment"] == "tests"
    assert event["transaction"] == "POST /fail/<name>"
    assert event["user"] == {"id": str(user)}
    assert event["contexts"]["trace"]["trace_id"] == event["tags"]["trace_id"] == TRACE
    assert event["tags"]["request_id"] == "abcdefgh"
    for secret in ("hunter2", token, PASSWORD, ANN["email"].lower(), "ann@example.com"):
        assert secret.encode() not in sentry.raw, secret


def test_what_a_query_was_asked_with_goes_nowhere(
    tmp_path: Path, failing: dict[str, str], sentry: Receiver
) -> None:
    failing |= {"SENTRY_DSN": sentry.dsn}
    with serving(tmp_path, f"sqlite:///{tmp_path}/slipway.db", **failing) as server:
        httpx.post(f"http://127.0.0.1:{server.port}/fail/query")
        # A dependency that fails is an alert, not an event for each request.
        httpx.post(f"http://127.0.0.1:{server.port}/fail/badly")
        until(lambda: sentry.events != [], server.log.read_text)
    assert [event["exception"]["values"][0]["type"] for event in sentry.events] == ["RuntimeError"]
    assert "SELECT" in server.log.read_text()
    assert "'hunter2'" not in server.log.read_text()


def test_a_receiver_that_says_nothing_holds_nobody_up(
    tmp_path: Path, failing: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        failing |= {"SENTRY_DSN": f"http://public@127.0.0.1:{silent.getsockname()[1]}/1"}
        with serving(tmp_path, f"sqlite:///{tmp_path}/slipway.db", **failing) as server:
            for _ in range(20):
                answer = httpx.post(f"http://127.0.0.1:{server.port}/fail/badly", timeout=5)
                assert answer.status_code == 500
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(timeout=10) == 0


@pytest.mark.needs("engine")
def test_a_task_that_fails_for_good_is_one_event(site: Site, sentry: Receiver) -> None:
    """Not one a try; and it is found by the trace of who asked."""
    more = (
        "\n@shared_task\ndef fail():\n    raise ValueError('for ann@example.com')\n"
        "\n@shared_task(bind=True)\ndef recover(self):\n"
        "    if self.request.retries == 0:\n        raise OSError('not yet')\n"
    )
    with (site.folder / "hasty.py").open("a") as module:
        module.write(more)

    def ended(worker: Worker, path: str) -> bool:
        return site.state(path)["status"] in {"SUCCESS", "FAILURE"}

    with site.worker(SENTRY_DSN=sentry.dsn) as worker:
        recovered = site.queue("hasty.recover")
        failed = site.queue("hasty.fail", headers=PARENT)
        until(lambda: ended(worker, recovered) and ended(worker, failed), worker.told)
        until(lambda: sentry.events != [], worker.told)
        assert worker.stop() == 0
    (event,) = sentry.events
    assert event["transaction"] == event["tags"]["task"] == "hasty.fail"
    assert event["tags"]["task_id"] == failed
    assert event["contexts"]["trace"]["trace_id"] == TRACE
    assert event["exception"]["values"][0]["value"] == "for …@…"
    told = [json.loads(line) for line in worker.told().splitlines()]
    assert {line["trace_id"] for line in told if line.get("task_id") == failed} == {TRACE}

"""Logs: one line for what happened, of the request or task that it happened to, without secrets."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from answers import settings as service_settings
from answers import signed_in
from flask import Flask, request
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import SERVICE, serving

from slipway import create_app
from slipway.models import ADMIN
from slipway.telemetry import logs, tracing

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
anything = st.text(max_size=6000) | st.text(st.characters(categories=["Cs", "Cc", "Lu"]))


def lines(text: str) -> list[dict[str, Any]]:
    """Each line, which has to be an object with the fields of the contract."""
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        assert tuple(line)[: len(logs.FIELDS)] == logs.FIELDS, line
    return found


class Written:
    """What came to standard output so far."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured, self._text = captured, ""

    def text(self) -> str:
        self._text += self._captured.readouterr().out
        return self._text


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """Standard output, while this process logs as the service does."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure(service_settings())
    yield Written(capsys)
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(False)


@settings(max_examples=200, deadline=None)
@given(event=anything, path=anything, number=st.integers() | st.floats(), secret=anything)
def test_whatever_is_logged_is_one_short_line(
    event: str, path: str, number: float, secret: str
) -> None:
    rendered = logs._render(
        None, "", {"event": event, "path": path, "n": number, "exception": secret, "level": "info"}
    )
    # Both nginx and the platform read bytes, and end a line at a line feed alone.
    assert b"\n" not in rendered.encode()
    assert len(rendered.encode()) <= logs.LINE_BYTES
    assert isinstance(json.loads(rendered), dict)


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("postgresql://slipway:hunter2@db:5432/x is away", "postgresql://…@db:5432/x is away"),
        ("redis://:hunter2@valkey:6379/0", "redis://…@valkey:6379/0"),
        ("Authorization: Bearer hunter2.abc-_", "Authorization: Bearer …"),
        ("eyJhbGciOi.eyJzdWIiOi.hunter2", "…"),
        ("?password=hunter2&x=1", "?password=…&x=1"),
        ("access_token=hunter2", "access_token=…"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_what_a_library_says_has_no_secrets(written: Written, said: str, left: str) -> None:
    logging.getLogger("library").warning("%s", said)
    assert [line["event"] for line in lines(written.text())] == [left]


def test_an_exception_keeps_its_end(written: Written) -> None:
    def fall(depth: int) -> None:
        if depth:
            fall(depth - 1)
        raise RuntimeError("the reason")

    try:
        fall(200)
    except RuntimeError:
        logging.getLogger("ours").exception("it failed")
    (line,) = lines(written.text())
    assert line["exception"].endswith("RuntimeError: the reason")
    assert line["level"] == "error"


def test_a_line_is_of_the_request_in_which_it_is_written(written: Written, tmp_path: Path) -> None:
    app = create_app(service_settings(database_url=f"sqlite:///{tmp_path}/slipway.db"))
    with app.test_request_context(
        "/api/users/7?token=hunter2",
        headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-00", "X-Request-ID": "abcdefgh"},
    ):
        app.logger.warning("inside")
    app.logger.warning("outside")
    inside, outside = lines(written.text())
    assert (inside["trace_id"], inside["request_id"]) == (TRACE, "abcdefgh")
    assert (outside["trace_id"], outside["request_id"]) == ("", "")
    assert "hunter2" not in written.text()


@pytest.mark.parametrize("forged", ["a\nb", "short", "x" * 65, 'quote"quote', "späße-und-mehr"])
def test_a_request_id_that_could_be_none_is_none(forged: str) -> None:
    assert logs.request_id({"HTTP_X_REQUEST_ID": forged}) == ""


def test_no_line_is_of_another_user_though_they_share_threads(written: Written) -> None:
    app = Flask(__name__)
    app.config["SETTINGS"] = service_settings()
    logs.init_app(app)
    meeting = threading.Barrier(8)

    @app.get("/<name>")
    def view(name: str) -> str:
        meeting.wait(10)
        app.logger.warning("%s", request.headers["X-Request-ID"])
        return name

    def ask(number: int) -> None:
        headers = {
            "X-Request-ID": f"request-{number}",
            "traceparent": f"00-{number + 1:032x}-00f067aa0ba902b7-00",
        }
        app.test_client().get(f"/{number}", headers=headers)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(240)))
    seen = lines(written.text())
    assert len(seen) == 240
    for line in seen:
        assert line["request_id"] == line["event"]
        assert line["trace_id"] == f"{int(line['event'].split('-')[1]) + 1:032x}"


def told_to_nginx(
    path: str, hops: int, tmp_path: Path, ids: tuple[str, str] | None = None, /, **headers: str
) -> dict[str, str]:
    """The headers that are for nginx alone, by name; `ids` are those of the request's span."""
    url = f"sqlite:///{tmp_path}/slipway.db"
    app = create_app(service_settings(database_url=url, forwarded_hops=hops))
    app.add_url_rule("/größe/<name>/日本", view_func=lambda name: name)
    noted = {tracing.IDS: ids} if ids else {}
    answer = app.test_client().get(path, headers=headers, environ_overrides=noted)
    return {name: value for name, value in answer.headers if name in {"X-Route", "X-Span-Id"}}


@pytest.mark.parametrize(
    ("hops", "told"),
    [(0, {}), (1, {"X-Route": "/api/users/<id:user_id>", "X-Span-Id": SPAN})],
    ids=["without one", "behind one"],
)
def test_route_and_span_are_told_to_a_proxy_of_ours_alone(
    tmp_path: Path, hops: int, told: dict[str, str]
) -> None:
    assert told_to_nginx("/api/users/7", hops, tmp_path, (TRACE, SPAN)) == told


def test_nginx_is_told_of_no_span_that_a_client_made_up(tmp_path: Path) -> None:
    forged = {"X-Route": "/forged", "X-Span-Id": SPAN}
    assert told_to_nginx("/nowhere", 1, tmp_path, **forged) == {"X-Route": "unmatched"}


def test_a_rule_in_another_script_is_told_in_ascii(tmp_path: Path) -> None:
    """Rather than be answered 500 by gunicorn, which sends no such header."""
    told = told_to_nginx("/größe/7/日本", 1, tmp_path)
    assert told == {"X-Route": r"/gr\xf6\xdfe/<name>/\u65e5\u672c"}


def test_gunicorn_logs_its_start_its_requests_and_its_end(
    tmp_path: Path, migrated_url: str
) -> None:
    with serving(tmp_path, migrated_url, ENVIRONMENT="production", **PRODUCTION) as server:
        base = f"http://127.0.0.1:{server.port}"
        headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-00", "X-Request-ID": "abcdefgh"}
        httpx.get(f"{base}/api/users/7?token=hunter2", headers=headers)
        httpx.get(f'{base}/%0a{{"level":"forged"}}%1b[31m\\', headers={"Authorization": "hunter2"})
        assert server.stop() == 0
    text = server.log.read_text()
    seen = lines(text)
    assert "hunter2" not in text
    events = [line["event"] for line in seen]
    assert any(event.startswith("Starting gunicorn") for event in events)
    assert any(event.startswith("Booting worker") for event in events)
    assert any(event.startswith("Shutting down") for event in events)
    asked, forged = (line for line in seen if line["logger"] == "gunicorn.access")
    assert asked.pop("duration_ms") > 0
    assert {name: asked[name] for name in asked if name != "timestamp"} == {
        "level": "info",
        "event": "request",
        "logger": "gunicorn.access",
        "trace_id": TRACE,
        "span_id": "",
        "request_id": "abcdefgh",
        "method": "GET",
        "route": "/api/users/<id:user_id>",
        "path": "/api/users/7",
        "status": 401,
        "client": "127.0.0.1",
    }
    assert (forged["route"], forged["status"]) == ("unmatched", 404)
    assert forged["path"] == '/\n{"level":"forged"}\x1b[31m\\'


PRODUCTION = {"SECRET_KEY": "s" * 32, "JWT_SECRET_KEY": "j" * 32}


def test_a_migration_logs_as_the_others_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/slipway.db"
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "slipway", "migrate"],
        cwd=SERVICE,
        env={"PATH": "/usr/bin", "DATABASE_URL": url, **PRODUCTION},
        capture_output=True,
        text=True,
        check=True,
    )
    seen = lines(done.stdout)
    assert done.stderr == ""
    assert {"alembic.runtime.migration", "slipway.commands"} <= {line["logger"] for line in seen}


@pytest.mark.needs("engine")
def test_a_task_logs_the_trace_of_who_asked_for_it(worker: Flask, written: Written) -> None:
    """In a worker's place, as Celery runs it: the message alone carries the trace."""
    client = signed_in(worker, "admin@example.com", ADMIN)
    client.post(
        "/api/tasks/email",
        json={"subject": "Hello", "text": "?"},
        headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-00"},
    )
    with worker.extensions["celery"].connection_for_read() as connection:
        message = connection.SimpleQueue("celery").get(timeout=5)
    assert message.headers["traceparent"].startswith(f"00-{TRACE}-")

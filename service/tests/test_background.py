"""Tasks in the process itself, as `make run` has them."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from answers import MIGRATE, settings, signed_in, until
from flask import Flask
from flask.testing import FlaskClient
from post import Peer
from serving import migrate
from werkzeug.test import TestResponse

from slipway import create_app, mail
from slipway.background import Background
from slipway.database import db
from slipway.models import ADMIN

MAIL = {"subject": "Hello", "text": "How do you do?\n"}
NOBODYS = "0af76519-16cd-43dd-8448-eb211c80319c"


def ask(client: FlaskClient) -> TestResponse:
    return client.post("/api/tasks/email", json=MAIL)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Flask]:
    """The service as `make run` has it."""
    app = create_app(settings(database_url=f"sqlite:///{tmp_path}/slipway.db"))
    assert app.test_cli_runner().invoke(args=MIGRATE).exit_code == 0
    yield app
    app.extensions["background"].end()
    with app.app_context():
        db.engine.dispose()


def ended(client: FlaskClient, asked: TestResponse) -> str:
    """The task's last state."""
    seen: list[str] = []

    def is_over() -> bool:
        seen.append(client.get(asked.headers["Location"]).get_json()["status"])
        return seen[-1] in {"SUCCESS", "FAILURE"}

    until(is_over, lambda: str(seen))
    return seen[-1]


def with_mail(app: Flask, server: Peer) -> FlaskClient:
    url = settings(smtp_url=server.url).smtp_url
    app.config["SETTINGS"] = app.config["SETTINGS"].model_copy(update={"smtp_url": url})
    return signed_in(app, "ann@example.com", ADMIN)


def test_in_process_a_silent_mail_server_holds_no_request(
    embedded: Flask, server: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "STEP_SECONDS", 1)
    server.silent_at = "hello"
    client = with_mail(embedded, server)
    began = time.monotonic()
    asked = ask(client)
    assert time.monotonic() - began < 1
    assert asked.get_json()["status"] == "QUEUED"
    assert ended(client, asked) == "FAILURE"


def test_in_process_a_mail_is_sent_while_others_write(embedded: Flask, server: Peer) -> None:
    server.silent_at = "data"
    client = with_mail(embedded, server)
    ask(client)
    until(lambda: server.is_silent, lambda: str(server.said))
    began = time.monotonic()
    signed_in(embedded, "bob@example.com")
    assert time.monotonic() - began < 1


def test_a_job_that_fails_ends_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    background = Background()
    done: list[int] = []
    for _ in range(10):
        background.do(lambda: 1 // 0)
        background.do(lambda: done.append(1))
    until(lambda: len(done) == 10, lambda: str(done))
    background.end()
    assert "ZeroDivisionError" in caplog.text


def test_a_process_ends_though_its_tasks_do_not(tmp_path: Path, server: Peer) -> None:
    server.silent_at = "hello"
    database_url = f"sqlite:///{tmp_path}/slipway.db"
    script = """
import sys, time
sys.path.insert(0, sys.argv[1])
from answers import settings, signed_in
from slipway import background, create_app
background.END_SECONDS = 1
app = create_app(settings(database_url=sys.argv[2], smtp_url=sys.argv[3]))
client = signed_in(app, "ann@example.com")
for _ in range(9):
    assert client.post("/api/tasks/email", json={"subject": "s", "text": "t"}).status_code == 202
print(time.monotonic())
"""
    migrate(database_url)
    command = [sys.executable, "-c", script, str(Path(__file__).parent), database_url, server.url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert time.monotonic() - float(ended.stdout) < 5

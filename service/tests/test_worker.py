"""The Celery worker as a process, on a real Valkey."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from answers import ANN, MIGRATE, settings, until

from slipway import create_app
from slipway.database import db

pytestmark = pytest.mark.needs("engine")


def test_a_worker_waits_for_the_schema_and_then_does_what_was_asked(
    valkey: str, tmp_path: Path
) -> None:
    database_url = f"sqlite:///{tmp_path}/slipway.db"
    app = create_app(settings(database_url=database_url, redis_url=valkey))
    environment = {
        **os.environ,
        "ENVIRONMENT": "development",
        "DATABASE_URL": database_url,
        "REDIS_URL": valkey,
    }
    log = tmp_path / "log"
    command = ["-m", "celery", "--app", "slipway.worker", "worker", "--concurrency", "1"]
    with log.open("w") as output:
        worker = subprocess.Popen(
            [sys.executable, *command], env=environment, stdout=output, stderr=output
        )
    try:
        until(lambda: "waiting for the database's schema" in log.read_text(), log.read_text)
        assert app.test_cli_runner().invoke(args=MIGRATE).exit_code == 0
        client = app.test_client()
        user = client.post("/api/users", json=ANN).get_json()["id"]
        asked = client.post("/api/tasks/email", json={"user_id": user})
        assert (asked.status_code, asked.get_json()["status"]) == (202, "QUEUED")
        path = asked.headers["Location"]
        until(lambda: client.get(path).get_json()["status"] == "SUCCESS", log.read_text)
        assert client.get(path).get_json()["result"] == "not sent: SMTP_URL is not set"
        worker.terminate()
        assert worker.wait(timeout=30) == 0
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
        with app.app_context():
            db.engine.dispose()

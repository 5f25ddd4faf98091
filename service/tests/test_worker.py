"""Celery workers as processes, on real servers: what they survive, and what becomes of the mail."""

import base64
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import proxy
import pytest
import redis
from answers import MIGRATE, settings, signed_in, until
from flask import Flask
from post import Mailpit, peer
from serving import free_port

from slipway import create_app, tasks
from slipway.database import db
from slipway.models import ADMIN

pytestmark = pytest.mark.needs("engine")

MAIL = {"subject": "Hello", "text": "How do you do?\n"}

# Workers that look after what others left behind each second, and a task that kills its worker.
HASTY = """
import os, signal, time
from celery import shared_task
from celery.signals import worker_ready
from slipway import consumer
from slipway.worker import celery
celery.conf.broker_transport_options |= {"visibility_timeout": 4, "unacked_restore_interval": 1}
celery.conf.worker_lost_wait = 1

if os.environ.get("HANG"):
    consumer.STALE_SECONDS = 1
    worker_ready.connect(lambda **_: time.sleep(1000), weak=False)

@shared_task
def poison(cure):
    if not os.path.exists(cure):
        os.kill(os.getpid(), signal.SIGKILL)
    return "cured"
"""


def message(
    headers: object,
    body: bytes = b"[[], {}, {}]",
    *,
    kind: str = "application/json",
    encoded: str | None = None,
) -> str:
    """What Celery would have on its queue, with `headers`."""
    properties = {
        "delivery_tag": secrets.token_hex(8),
        "delivery_info": {"exchange": "", "routing_key": "celery"},
        "body_encoding": "base64",
    }
    return json.dumps(
        {
            "body": encoded or base64.b64encode(body).decode(),
            "content-type": kind,
            "content-encoding": "utf-8",
            "headers": headers,
            "properties": properties,
        }
    )


SEND = "slipway.tasks.send_email"
CORRUPT = {
    "no JSON": "nonsense",
    "no message": "{}",
    "no object": "[1]",
    "no base64": message({"task": SEND, "id": "1"}, encoded="x"),
    "no headers": message(None),
    "no task": message({}),
    "no task's name": message({"task": [], "id": "2"}),
    "no id": message({"task": SEND}),
    "no JSON in the body": message({"task": SEND, "id": "3"}, b"nonsense"),
    "no arguments": message({"task": SEND, "id": "4"}, b"1"),
    "no list of arguments": message({"task": SEND, "id": "5"}, b"[1, 2, 3]"),
    "pickle": message({"task": SEND, "id": "6"}, kind="application/x-python-serialize"),
    "no time": message({"task": SEND, "id": "7", "eta": "soon"}),
}


@dataclass
class Worker:
    process: "subprocess.Popen[bytes]"
    ops_port: int
    log: Path

    def probe(self, page: str) -> tuple[int, str]:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.ops_port}/{page}", timeout=10)
        except httpx.HTTPError as error:
            return 0, str(error)
        return answer.status_code, answer.text

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def ready(self) -> "Worker":
        until(lambda: self.probe("readyz")[0] == 200, self.told)
        return self

    def told(self) -> str:
        return self.log.read_text()

    def kill(self) -> None:
        """The whole of it, children and all, as when its machine is gone."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=60)


class Site:
    """The service of a test, whose workers it starts."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        self.folder = folder
        self.app: Flask = create_app(settings(database_url=database_url, redis_url=redis_url))
        self.environment = {
            **os.environ,
            "ENVIRONMENT": "development",
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "TMPDIR": str(folder),
            "PYTHONPATH": str(folder),
        }
        (folder / "hasty.py").write_text(HASTY)

    def migrate(self) -> "Site":
        assert self.app.test_cli_runner().invoke(args=MIGRATE).exit_code == 0
        self.client = signed_in(self.app, "admin@example.com", ADMIN)
        return self

    @contextmanager
    def worker(self, **more: str) -> Iterator[Worker]:
        port = free_port()
        log = self.folder / f"log-{port}"
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "--app", "hasty", "worker", "--concurrency=1"],
                env={**self.environment, "OPS_PORT": str(port), **more},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        worker = Worker(process, port, log)
        try:
            yield worker
        finally:
            if process.poll() is None:
                worker.kill()

    def ask(self) -> str:
        """Have a mail sent; gives the task's path."""
        asked = self.client.post("/api/tasks/email", json=MAIL)
        assert asked.status_code == 202, asked.text
        return asked.headers["Location"]

    def state(self, path: str) -> dict[str, Any]:
        """Of the task with that id, or at that path, without its limit."""
        with self.app.app_context():
            return tasks.state(path.rsplit("/", 1)[-1])

    def waiting(self) -> int:
        with redis.Redis.from_url(self.environment["REDIS_URL"]) as broker:
            length: Any = broker.llen(tasks.QUEUE)
            return int(length)

    def letters(self, *arguments: str) -> str:
        """What the command says, which has to succeed."""
        result = self.app.test_cli_runner().invoke(args=["dead-letters", *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    def queue(self, name: str, *args: Any, **options: Any) -> str:
        """Put a message on the queue as it is; gives the task's id."""
        celery = self.app.extensions["celery"]
        return str(celery.send_task(name, args, retry=False, **options).id)


@pytest.fixture
def site(tmp_path: Path, postgres_url: str, valkey: str) -> Iterator[Site]:
    site = Site(tmp_path, postgres_url, valkey).migrate()
    yield site
    with site.app.app_context():
        db.engine.dispose()


@pytest.fixture
def stall(mailpit: Mailpit) -> Iterator[tuple[proxy.Proxy, str]]:
    """A way to the mail server that stops just before the mail itself."""
    with proxy.before(mailpit.url) as (between, url):
        between.freeze_at = b"data\r\n"
        yield between, url


def sent_once(mailpit: Mailpit, site: Site, path: str, told: Callable[[], str]) -> None:
    until(lambda: site.state(path)["status"] == "SUCCESS", lambda: f"{site.state(path)}\n{told()}")
    assert len(mailpit.mails()) == 1


def test_a_worker_waits_for_the_schema_and_then_does_what_was_asked(
    tmp_path: Path, valkey: str
) -> None:
    site = Site(tmp_path, f"sqlite:///{tmp_path}/slipway.db", valkey)
    with site.worker() as worker:
        until(lambda: "waiting for the database's schema" in worker.told(), worker.told)
        assert worker.probe("startupz")[0] == worker.probe("livez")[0] == 200
        assert worker.probe("readyz")[0] == 503
        path = site.migrate().ask()
        until(lambda: site.state(path)["status"] == "SUCCESS", worker.told)
        assert site.state(path)["result"] == "not sent: SMTP_URL is not set"
        assert worker.ready().stop() == 0
    assert not list(tmp_path.glob("slipway-metrics-*"))


def test_a_killed_pool_process_sends_the_mail_once(
    site: Site, mailpit: Mailpit, stall: tuple[proxy.Proxy, str]
) -> None:
    between, url = stall
    with site.worker(SMTP_URL=url) as worker:
        path = site.ask()
        until(between.is_frozen, worker.told)
        (child,) = worker.children()
        os.kill(child, signal.SIGKILL)
        between.restore()
        sent_once(mailpit, site, path, worker.told)


def test_a_killed_worker_sends_the_mail_once(
    site: Site, mailpit: Mailpit, stall: tuple[proxy.Proxy, str]
) -> None:
    between, url = stall
    with site.worker(SMTP_URL=url) as worker:
        path = site.ask()
        until(between.is_frozen, worker.told)
        worker.kill()
    between.restore()
    with site.worker(SMTP_URL=url) as worker:
        sent_once(mailpit, site, path, worker.told)


def test_a_mail_that_is_delivered_twice_is_sent_once(site: Site, mailpit: Mailpit) -> None:
    with site.worker(SMTP_URL=mailpit.url) as worker:
        path = site.ask()
        sent_once(mailpit, site, path, worker.told)
        again = site.queue(
            "slipway.tasks.send_email", 1, "Hello", "?", task_id=path.rsplit("/", 1)[1]
        )
        until(lambda: "sent before" in worker.told(), worker.told)
        assert path.endswith(again)
        assert len(mailpit.mails()) == 1


def test_a_server_that_is_busy_is_asked_again(site: Site) -> None:
    with peer() as server, site.worker(SMTP_URL=server.url) as worker:
        server.replies["rcpt"] = ["451 greylisted", "451 not yet"]
        path = site.ask()
        until(lambda: site.state(path)["status"] == "RETRY", worker.told)
        until(lambda: site.state(path)["status"] == "SUCCESS", worker.told)
        assert len(server.mails) == 1
        assert sum(line.startswith("rcpt") for line in server.said) == 3


def test_poison_becomes_dead_letters_that_can_be_replayed(site: Site, tmp_path: Path) -> None:
    cure = tmp_path / "cure"
    broker = redis.Redis.from_url(site.environment["REDIS_URL"])
    with site.worker() as worker:
        worker.ready()
        killer = site.queue("hasty.poison", str(cure))
        unknown = site.queue("slipway.tasks.no_such", 1)
        wrong = site.queue("slipway.tasks.send_email", "too", "many", "and", "wrong")
        broker.lpush("celery", *CORRUPT.values())
        path = site.ask()
        until(lambda: site.state(path)["status"] == "SUCCESS", worker.told, 120)
        count = 3 + len(CORRUPT)
        until(
            lambda: len(site.letters("list").splitlines()) == count,
            lambda: site.letters("list") + worker.told(),
        )
        shown = {one: json.loads(site.letters("show", one)) for one in (killer, unknown, wrong)}
        assert "begun 5 times" in shown[killer]["reason"]
        assert "no such task" in shown[unknown]["reason"]
        assert shown[wrong]["reason"].startswith("TypeError")
        assert shown[unknown]["args"] == [1]
        for one in (killer, unknown, wrong):
            assert site.state(one)["status"] == "FAILURE"
        cure.touch()
        site.letters("replay", killer)
        until(lambda: site.state(killer)["status"] == "SUCCESS", worker.told)
        assert len(site.letters("list").splitlines()) == count - 1
        assert worker.stop() == 0
    broker.close()


def test_running_tasks_end_before_a_worker_does(
    site: Site, mailpit: Mailpit, stall: tuple[proxy.Proxy, str]
) -> None:
    between, url = stall
    with site.worker(SMTP_URL=url) as worker:
        path = site.ask()
        until(between.is_frozen, worker.told)
        later = site.ask()
        worker.process.terminate()
        until(lambda: "the worker ends" in worker.told(), worker.told)
        between.restore()
        assert worker.process.wait(timeout=30) == 0, worker.told()
    assert site.state(path)["status"] == "SUCCESS"
    assert site.state(later)["status"] == "QUEUED"
    with site.worker(SMTP_URL=url) as worker:
        until(lambda: site.state(later)["status"] == "SUCCESS", worker.told)
    assert len(mailpit.mails()) == 2


def test_what_runs_too_long_for_a_shutdown_goes_back_to_the_queue(
    site: Site, mailpit: Mailpit, stall: tuple[proxy.Proxy, str]
) -> None:
    between, url = stall
    with site.worker(SMTP_URL=url, GRACEFUL_SECONDS="1") as worker:
        path = site.ask()
        until(between.is_frozen, worker.told)
        began = time.monotonic()
        worker.process.terminate()
        assert worker.process.wait(timeout=30) == 0, worker.told()
        assert time.monotonic() - began < 5
    assert site.waiting() == 1
    assert not list(site.folder.glob("slipway-metrics-*"))
    between.restore()
    with site.worker(SMTP_URL=url) as worker:
        sent_once(mailpit, site, path, worker.told)


def test_a_message_in_nobodys_hands_goes_back_to_the_queue(site: Site, mailpit: Mailpit) -> None:
    path = site.ask()
    with redis.Redis.from_url(site.environment["REDIS_URL"]) as broker:
        # As a worker leaves it that dies between taking a message and writing that down.
        broker.lmove("celery", "celery:taken")
    with site.worker(SMTP_URL=mailpit.url) as worker:
        sent_once(mailpit, site, path, worker.told)
        assert worker.stop() == 0


@pytest.mark.parametrize("how", ["refuse", "freeze"])
def test_a_worker_outlives_its_broker(
    tmp_path: Path, postgres_url: str, valkey: str, mailpit: Mailpit, how: str
) -> None:
    with proxy.before(valkey) as (between, url):
        site = Site(tmp_path, postgres_url, valkey).migrate()
        site.environment["REDIS_URL"] = url
        with site.worker(SMTP_URL=mailpit.url) as worker:
            worker.ready()
            getattr(between, how)()
            until(lambda: worker.probe("readyz")[0] == 503, worker.told)
            assert "broker" in worker.probe("readyz")[1]
            path = site.ask()
            assert worker.probe("livez")[0] == 200
            between.restore()
            began = time.monotonic()
            sent_once(mailpit, site, path, worker.told)
            assert time.monotonic() - began < 20
            assert worker.ready().stop() == 0
        with site.app.app_context():
            db.engine.dispose()


def test_a_worker_outlives_a_broker_that_goes_as_it_starts(
    tmp_path: Path, postgres_url: str, valkey: str, mailpit: Mailpit
) -> None:
    with proxy.before(valkey) as (between, url):
        site = Site(tmp_path, postgres_url, valkey).migrate()
        site.environment["REDIS_URL"] = url
        # As it declares its queue.
        between.freeze_at = b"SADD"
        with site.worker(SMTP_URL=mailpit.url) as worker:
            until(between.is_frozen, worker.told)
            between.refuse()
            until(lambda: "the broker does not answer" in worker.told(), worker.told)
            path = site.ask()
            between.restore()
            sent_once(mailpit, site, path, worker.told)
            assert worker.stop() == 0
        with site.app.app_context():
            db.engine.dispose()


def test_a_consumer_that_hangs_is_not_alive(site: Site) -> None:
    with site.worker(HANG="1") as worker:
        until(lambda: worker.probe("livez")[0] == 503, worker.told)
        assert worker.probe("startupz")[0] == 200


def test_a_worker_tells_how_long_its_tasks_took(site: Site) -> None:
    with site.worker() as worker:
        path = site.ask()
        until(lambda: site.state(path)["status"] == "SUCCESS", worker.told)
        labels = f'outcome="success",task="{SEND}"'
        line = f"slipway_task_duration_seconds_count{{{labels}}} 1.0"
        assert line in worker.probe("metrics")[1]


def test_a_task_takes_from_being_asked_for_to_the_end_of_its_last_try(site: Site) -> None:
    def measured(worker: Worker, name: str) -> dict[str, float]:
        """Of each outcome."""
        wanted = rf'^slipway_task_{name}{{outcome="(\w+)",task="{SEND}"}} (.+)$'
        found = re.findall(wanted, worker.probe("metrics")[1], re.MULTILINE)
        return {outcome: float(value) for outcome, value in found}

    with peer() as server, site.worker(SMTP_URL=server.url) as worker:
        server.replies["rcpt"] = ["451 later"]
        path = site.ask()
        until(lambda: site.state(path)["status"] == "SUCCESS", worker.told)
        assert measured(worker, "duration_seconds_count") == {"retry": 1, "success": 1}
        assert measured(worker, "completion_seconds_count") == {"success": 1}
        worked = sum(measured(worker, "duration_seconds_sum").values())
        # It paused in between, for half a second at least.
        assert measured(worker, "completion_seconds_sum")["success"] > worked + 0.45


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"REDIS_URL": ""}, "slipway: REDIS_URL: a worker needs one"),
        ({"LOG_LEVEL": "LOUD"}, "slipway: LOG_LEVEL: "),
        ({"OPS_PORT": "taken"}, "slipway: OPS_PORT: cannot listen on 127.0.0.1:"),
    ],
)
def test_a_wrong_setting_stops_the_worker_with_its_name(
    tmp_path: Path, environment: dict[str, str], line: str
) -> None:
    site = Site(tmp_path, f"sqlite:///{tmp_path}/slipway.db", "redis://127.0.0.1:1/0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        if environment.get("OPS_PORT") == "taken":
            environment = {"OPS_PORT": str(taken.getsockname()[1])}
        with site.worker(**environment) as worker:
            assert worker.process.wait(timeout=60) == 1
    assert [out for out in worker.told().splitlines() if out.startswith(line)], worker.told()
    assert "Traceback" not in worker.told()
    assert not list(tmp_path.glob("slipway-metrics-*"))


def test_a_worker_that_waits_can_be_told_to_end(tmp_path: Path) -> None:
    site = Site(tmp_path, f"sqlite:///{tmp_path}/slipway.db", "redis://127.0.0.1:1/0")
    with site.worker() as worker:
        until(lambda: "waiting for the database's schema" in worker.told(), worker.told)
        assert worker.stop() == 0

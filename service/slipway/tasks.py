"""Work that a request need not wait for: in Celery's workers over Valkey, or in this process.

A task is delivered until it has ended, so it may run more than once: it has to bear that. What
fails for the moment is tried again, ever more slowly; what fails for good becomes a dead letter.
"""

import json
import random
import ssl
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn

import redis
import sqlalchemy.exc
from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery, Task, shared_task
from celery.app.task import Context
from celery.backends.redis import RedisBackend
from celery.exceptions import Reject, Retry
from flask import Flask, current_app
from kombu.exceptions import OperationalError as BrokerError
from prometheus_client import Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import delete

from slipway import dead_letters, mail
from slipway.background import Background
from slipway.database import db, now
from slipway.dead_letters import DeadLetter, DeadLetters
from slipway.models import SentMail, User
from slipway.settings import Settings
from slipway.telemetry import tracing
from slipway.telemetry.saturation import measures
from slipway.valkey import Valkey

QUEUE = "celery"
# The header of a message that says when its task was asked for, seconds since 1970.
ASKED_AT = "asked_at"

# Seconds until the broker is given up, at each step of asking it.
BROKER_SECONDS = 1
# How long one can ask after a task.
RESULT_SECONDS = 24 * 3600

# A task is told to end, and then killed, after so many seconds.
SOFT_SECONDS = 50
HARD_SECONDS = 55
# Tries of a task that fails for the moment: about six minutes together.
TRIES = 12
PAUSE_MOST_SECONDS = 60
# A message that nobody has acknowledged for so long is delivered again. It has to be longer than
# a pause and a try together: a worker holds the message through both.
VISIBILITY_SECONDS = 120

# What may be over the next time.
PASSING = (
    OSError,
    SoftTimeLimitExceeded,
    BrokerError,
    redis.RedisError,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
)

# Long after the last try and every replay that somebody thinks of in time.
SENT_DAYS = 7

DURATION = Histogram(
    "slipway_task_duration_seconds",
    "How long a try of a task took, and how it ended",
    ["task", "outcome"],
    registry=None,
)
COMPLETION = Histogram(
    "slipway_task_completion_seconds",
    "How long a task took, from being asked for to the end of its last try",
    ["task", "outcome"],
    buckets=(0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
    registry=None,
)


class Results(RedisBackend):  # type: ignore[misc]
    """Celery's results in Valkey, for whoever asks; nobody waits, so nothing is subscribed to."""

    def on_task_call(self, producer: object, task_id: str) -> None:
        pass


@contextmanager
def _measured(task: Task) -> Iterator[None]:
    began, outcome = time.monotonic(), "failure"
    measures().workers_busy.inc()
    try:
        yield
        outcome = "success"
    except (Retry, Reject):
        outcome = "retry"
        raise
    finally:
        measures().workers_busy.dec()
        DURATION.labels(task.name, outcome).observe(time.monotonic() - began)
        asked_at = tracing.carried(task.request, ASKED_AT)
        if asked_at and outcome != "retry":
            COMPLETION.labels(task.name, outcome).observe(max(0, time.time() - asked_at))


def pause(tries: int) -> float:
    """Seconds until the next of `tries`: twice as long each time, and never all at once."""
    longest = min(2.0**tries, PAUSE_MOST_SECONDS)
    return random.uniform(longest / 2, longest)  # noqa: S311


class AppTask(Task):  # type: ignore[misc]
    """A task within the application that is tried again, and then buried, when it fails."""

    max_retries = None
    flask_app: Flask

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self.flask_app.app_context(), _measured(self):
            if self.request.is_eager or self.request.called_directly:
                return self.run(*args, **kwargs)
            return self._run_or_bury(*args, **kwargs)

    def _run_or_bury(self, *args: Any, **kwargs: Any) -> Any:
        try:
            self._count_deliveries()
            return self.run(*args, **kwargs)
        except PASSING as error:
            if self.request.retries + 1 >= TRIES:
                self._bury(error, args, kwargs)
            self._again(error)
        except Exception as error:
            self._bury(error, args, kwargs)

    def _count_deliveries(self) -> None:
        deliveries = 0
        # Who cannot be asked now has seen no harm either.
        with suppress(redis.RedisError):
            deliveries = self._letters.deliveries(self.request.id, self.request.retries)
        if deliveries > dead_letters.MOST_DELIVERIES:
            raise RuntimeError(f"was begun {deliveries - 1} times and never ended")

    def _again(self, error: Exception) -> NoReturn:
        try:
            again = pause(self.request.retries)
            raise self.retry(exc=error, countdown=again, headers=_origin_of(self.request))
        except Reject as lost:
            # Celery would drop it where the next try cannot be queued.
            raise Reject(str(lost.reason), requeue=True) from error

    def _bury(self, error: Exception, args: Any, kwargs: Any) -> NoReturn:
        letter = DeadLetter(
            id=self.request.id,
            name=self.name,
            args=list(args),
            kwargs=kwargs,
            reason=f"{type(error).__name__}: {error}",
            tries=self.request.retries + 1,
        )
        try:
            self._letters.put(letter)
        except redis.RedisError as away:
            raise Reject(f"no place for a dead letter: {away}", requeue=True) from error
        raise error

    @property
    def _letters(self) -> DeadLetters:
        letters: DeadLetters = self.flask_app.extensions["dead_letters"]
        return letters


@shared_task(bind=True)  # type: ignore[untyped-decorator]
def send_email(self: Task, user_id: int, subject: str, text: str) -> str:
    """Send the user a mail, once however often the task is run.

    What SMTP leaves open: a worker that dies between the server's 250 and the commit, a moment
    later, knows of nothing, and the mail is sent again, with the same Message-ID.
    """
    task_id = self.request.id
    if db.session.get(SentMail, task_id):
        return "sent before"
    user = db.session.get(User, user_id)
    if user is None:
        return "no such user"
    settings: Settings = current_app.config["SETTINGS"]
    if settings.smtp_url is None:
        current_app.logger.info("SMTP_URL is not set: a mail to user %d was not sent", user_id)
        return "not sent: SMTP_URL is not set"
    letter = mail.build(settings.mail_from, user.email, subject, text, task_id=task_id)
    db.session.add(SentMail(task_id=task_id))
    if db.engine.dialect.name == "postgresql":
        # A second worker with the same task waits at the key. SQLite has one process, and would
        # have nobody else write meanwhile.
        try:
            db.session.flush()
        except sqlalchemy.exc.IntegrityError:
            return "sent before"
    with tracing.span("SMTP send"):
        mail.send(letter, settings.smtp_url.get_secret_value())
    _write_down(task_id)
    return "sent"


def _write_down(task_id: str) -> None:
    """Commit what was sent. It is sent: not even a database that is away makes that a failure."""
    try:
        db.session.commit()
        old = delete(SentMail).where(SentMail.sent_at < now() - timedelta(days=SENT_DAYS))
        db.session.execute(old, execution_options={"synchronize_session": False})
        db.session.commit()
    except sqlalchemy.exc.SQLAlchemyError as error:
        db.session.rollback()
        current_app.logger.warning("could not write down that mail %s was sent: %s", task_id, error)


def _origin() -> dict[str, Any]:
    """What a message says of where it comes from: its trace, and when it was asked for."""
    return {"traceparent": tracing.traceparent(), ASKED_AT: time.time()}


def _origin_of(message: Context) -> dict[str, Any]:
    """The same for the next try of a task, which Celery would leave without."""
    found = {name: tracing.carried(message, name) for name in ("traceparent", ASKED_AT)}
    return {name: value for name, value in found.items() if value is not None}


def enqueue(task: Task, *args: Any, asked_by: int, task_id: str | None = None) -> str:
    """Have the task done soon; gives its id. Where the broker does not answer, an error of 503."""
    celery: Celery = current_app.extensions["celery"]
    # Of this application: the name in this module stands for the last one that was made.
    task = celery.tasks[task.name]
    task_id = task_id or str(uuid.uuid4())
    celery.backend.set(_asked_by_key(task_id), str(asked_by))
    # Told apart, from here on, from a task that never was.
    celery.backend.store_result(task_id, None, "QUEUED")
    background: Background | None = current_app.extensions["background"]
    if background:
        background.do(partial(task.apply, args, task_id=task_id, headers=_origin()))
    else:
        task.apply_async(args, task_id=task_id, retry=False, headers=_origin())
    return task_id


def asked_by(task_id: str) -> int | None:
    """The id of the user who asked for the task; None if nobody did, or too long ago."""
    found = current_app.extensions["celery"].backend.get(_asked_by_key(task_id))
    return int(found) if found else None


def state(task_id: str) -> dict[str, Any]:
    """How far a task has come, and what a successful one says."""
    backend = current_app.extensions["celery"].backend
    meta = backend.get_task_meta(task_id, cache=False)
    done = meta["status"] == "SUCCESS"
    return {"id": task_id, "status": meta["status"], "result": meta["result"] if done else None}


def _asked_by_key(task_id: str) -> str:
    return f"slipway:asked-by:{task_id}"


class Queued(Collector):
    """The queue, as Prometheus reads it: its length, the age of its oldest, and dead letters."""

    def __init__(self, app: Flask) -> None:
        settings: Settings = app.config["SETTINGS"]
        url = settings.redis_url
        # It gives up soon: a scrape has other things to tell.
        self._client = Valkey(url.get_secret_value()).client if url else None
        # Whether Valkey answered, the last time; nothing where there is none.
        self.is_up: bool | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        if self._client is None:
            return
        try:
            with self._client.pipeline(transaction=False) as pipe:
                pipe.llen(QUEUE)
                pipe.lindex(QUEUE, -1)
                pipe.hlen(dead_letters.KEY)
                length, oldest, dead = pipe.execute()
        except redis.RedisError:
            self.is_up = False
            return
        self.is_up = True
        yield GaugeMetricFamily(
            "slipway_tasks_queued", "Tasks that wait for a worker", value=length
        )
        yield GaugeMetricFamily(
            "slipway_tasks_oldest_seconds",
            "How long the oldest of them has waited",
            value=_age(oldest),
        )
        yield GaugeMetricFamily("slipway_tasks_dead", "Dead letters", value=dead)


def _age(message: bytes | None) -> float:
    """Seconds since the task of a message was asked for; 0 where nobody can tell."""
    try:
        return max(0.0, time.time() - float(json.loads(message or b"")["headers"][ASKED_AT]))
    except (ValueError, KeyError, TypeError):
        return 0.0


def _over_valkey(celery: Celery, url: str) -> None:
    """Queue and results in Valkey, with an end to every wait and no retries behind our back."""
    timeouts = {"socket_timeout": BROKER_SECONDS, "socket_connect_timeout": BROKER_SECONDS}
    if url.startswith("rediss"):
        celery.conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
        celery.conf.redis_backend_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    celery.conf.update(
        broker_url=url,
        broker_transport_options={
            **timeouts,
            "max_retries": 0,
            # Every priority in one list, which is all that slipway.transport takes from.
            "priority_steps": [0],
            # A connection that is silently gone is noticed after about twice as long, seconds.
            "health_check_interval": 5,
            "visibility_timeout": VISIBILITY_SECONDS,
            # How often, seconds, a worker looks for what another one left behind.
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": 30,
        },
        result_backend=f"{__name__}:Results+{url}",
        result_backend_transport_options={"retry_policy": {"max_retries": 0}},
        redis_socket_timeout=BROKER_SECONDS,
        redis_socket_connect_timeout=BROKER_SECONDS,
    )


def init_app(app: Flask) -> None:
    settings: Settings = app.config["SETTINGS"]
    celery = Celery(app.name, task_cls=type("AppTask", (AppTask,), {"flask_app": app}))
    celery.conf.update(
        result_expires=RESULT_SECONDS,
        task_ignore_result=False,
        task_store_eager_result=True,
        task_acks_late=True,
        task_acks_on_timeout=False,
        task_reject_on_worker_lost=True,
        task_soft_time_limit=SOFT_SECONDS,
        task_time_limit=HARD_SECONDS,
        worker_deduplicate_successful_tasks=True,
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
    )
    if settings.redis_url:
        url = settings.redis_url.get_secret_value()
        _over_valkey(celery, url)
        app.extensions.update(dead_letters=DeadLetters(url), background=None)
    else:
        celery.conf.result_backend = "cache+memory://"
        app.extensions.update(dead_letters=None, background=Background())
    celery.set_default()
    app.extensions["celery"] = celery
    app.cli.add_command(dead_letters.commands)

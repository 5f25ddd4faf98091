"""Work that a request need not wait for: Celery over Valkey, or in the process without one."""

import smtplib
import uuid
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit

from celery import Celery, Task, shared_task
from celery.result import AsyncResult
from flask import Flask, current_app

from slipway.database import db
from slipway.models import User
from slipway.settings import Settings

# Seconds until the broker or the mail server is given up.
BROKER_TIMEOUT = 1
SMTP_TIMEOUT = 10
RESULT_SECONDS = 24 * 3600


@shared_task  # type: ignore[untyped-decorator]
def send_greeting(user_id: int) -> str:
    """Send the user a mail that greets them; a user who is gone gets none."""
    user = db.session.get(User, user_id)
    if user is None:
        return "no such user"
    settings: Settings = current_app.config["SETTINGS"]
    if settings.smtp_url is None:
        current_app.logger.info("SMTP_URL is not set: a mail to user %d was not sent", user_id)
        return "not sent: SMTP_URL is not set"
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = settings.mail_from, user.email, "Welcome aboard"
    mail.set_content(f"Hello {user.name},\n\nthis mail left the slipway as it should.\n")
    _send(mail, settings.smtp_url.get_secret_value())
    return "sent"


def _send(mail: EmailMessage, url: str) -> None:
    parts = urlsplit(url)
    client = smtplib.SMTP_SSL if parts.scheme == "smtps" else smtplib.SMTP
    with client(parts.hostname or "", parts.port or 0, timeout=SMTP_TIMEOUT) as server:
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
        server.send_message(mail)


def enqueue(task: Task, *args: Any) -> AsyncResult:
    """Hand the task to a worker; kombu's OperationalError where the broker does not answer."""
    task_id = str(uuid.uuid4())
    if not task.app.conf.task_always_eager:
        # Told apart, from here on, from a task that never was.
        task.app.backend.store_result(task_id, None, "QUEUED")
    return task.apply_async(args, task_id=task_id, retry=False)


def init_app(app: Flask) -> None:
    settings: Settings = app.config["SETTINGS"]

    class AppTask(Task):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery = Celery(app.name, task_cls=AppTask)
    celery.conf.update(
        result_expires=RESULT_SECONDS,
        task_ignore_result=False,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
    )
    if settings.redis_url:
        url = settings.redis_url.get_secret_value()
        timeouts = {"socket_timeout": BROKER_TIMEOUT, "socket_connect_timeout": BROKER_TIMEOUT}
        celery.conf.update(
            broker_url=url,
            result_backend=url,
            broker_transport_options=timeouts,
            redis_socket_timeout=BROKER_TIMEOUT,
            redis_socket_connect_timeout=BROKER_TIMEOUT,
            result_backend_transport_options={"retry_policy": {"max_retries": 0}},
            broker_connection_retry_on_startup=True,
            task_acks_late=True,
            task_reject_on_worker_lost=True,
            worker_prefetch_multiplier=1,
        )
    else:
        celery.conf.update(
            task_always_eager=True,
            task_store_eager_result=True,
            result_backend="cache+memory://",
        )
    celery.set_default()
    app.extensions["celery"] = celery

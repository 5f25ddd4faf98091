"""Errors for Sentry: one event for one failure, by which its trace, route or task is found.

Of a request nothing goes out but its method and route, of a user the id alone. A dependency that
is away is no event: its alert tells of it, once, and not every request. Sentry's own integrations
would wrap each request and what is sent to other services; the signals of Flask and Celery cost
nothing until something fails.
"""

import re
from importlib.metadata import version
from typing import Any

import sentry_sdk
from celery import current_task
from celery.signals import task_failure
from flask import Flask, got_request_exception, has_request_context, request
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.types import Event, Hint

from slipway import identity
from slipway.settings import Settings
from slipway.telemetry import logs, tracing
from slipway.telemetry.metrics import route

# What is left at the end of the process may take so long, seconds.
FLUSH_SECONDS = 2

_ADDRESS = re.compile(r"[^\s@<>()\"'=/:…]+@[^\s@<>()\"'=/:,;]+")


def _complete(event: Event, _hint: Hint) -> Event:
    """Where it happened and in which trace; and no e-mail or secret in what the error says."""
    name, span = tracing.current()
    tags: dict[str, Any] = {"trace_id": name}
    if has_request_context():
        event["transaction"] = f"{request.method} {route(request)}"
        event["user"] = {"id": user} if (user := identity.claimed()) else {}
        tags |= {"route": route(request), "request_id": logs.request_id(request.environ)}
    elif current_task and current_task.request.id:
        event["transaction"] = current_task.name
        tags |= {"task": current_task.name, "task_id": current_task.request.id}
    event["tags"] = tags
    if name:
        event["contexts"] = {"trace": {"trace_id": name, **({"span_id": span} if span else {})}}
    for error in event.get("exception", {}).get("values", []):
        error["value"] = _ADDRESS.sub("…@…", logs.without_secrets(str(error.get("value") or "")))
    return event


def _of_request(_app: Flask, exception: BaseException, **_: Any) -> None:
    sentry_sdk.capture_exception(exception)


def _of_task(exception: BaseException, **_: Any) -> None:
    """What has failed for good: tries before that send no such signal."""
    sentry_sdk.capture_exception(exception)


def start(settings: Settings) -> None:
    """Report the errors of this process, if SENTRY_DSN is set: after it was forked."""
    if settings.sentry_dsn is None:
        return
    sentry_sdk.init(
        dsn=settings.sentry_dsn.get_secret_value(),
        release=f"slipway@{version('slipway')}+{settings.commit}",
        environment=settings.sentry_environment or settings.environment,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[ExcepthookIntegration(), ThreadingIntegration(propagate_hub=False)],
        before_send=_complete,
        include_local_variables=False,
        include_source_context=False,
        max_breadcrumbs=0,
        send_default_pii=False,
        server_name="",
        shutdown_timeout=FLUSH_SECONDS,
    )
    got_request_exception.connect(_of_request)
    task_failure.connect(_of_task)


def end() -> None:
    """Send what is left, for a while: a receiver that is away holds nobody up."""
    sentry_sdk.flush(FLUSH_SECONDS)

"""One id: what a request caused is found by it wherever it happened, until a task has failed."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from answers import ANN, PASSWORD, until
from collector import CONSUMER, SERVER, collector
from edge import running_edge
from post import peer
from receiver import receiver
from serving import serving
from test_worker import Site, site

__all__ = ["site"]

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def lines(text: str) -> list[dict[str, Any]]:
    """The log lines of the trace."""
    return of_trace([json.loads(line) for line in text.splitlines() if line.startswith("{")])


def of_trace(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in found if line["trace_id"] == TRACE]


@pytest.mark.needs("engine")
def test_a_request_whose_task_fails_is_followed_by_one_id(site: Site, tmp_path: Path) -> None:
    sockets = tmp_path / "run"
    configuration = tmp_path / "nginx"
    for folder in (sockets, configuration):
        folder.mkdir()
    with collector(tmp_path / "spans") as spans, receiver() as sentry, peer() as server:
        shared = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": spans.endpoint,
            "SENTRY_DSN": sentry.dsn,
            "REDIS_URL": site.environment["REDIS_URL"],
            "SMTP_URL": server.url,
        }
        server.replies["rcpt"] = ["550 nobody of that name is here"]
        behind = {
            "BIND": f"unix:{sockets}/gunicorn.sock",
            "FORWARDED_HOPS": "1",
            # Whoever runs the tests shares no group with nginx.
            "GUNICORN_CMD_ARGS": "--umask=0",
        }
        with (
            site.worker(**shared) as worker,
            serving(tmp_path, site.environment["DATABASE_URL"], **(shared | behind)) as gunicorn,
            running_edge(sockets, configuration) as edge,
        ):
            url = f"http://127.0.0.1:{edge.ports[8080]}"
            worker.ready()
            httpx.post(f"{url}/api/users", json={**ANN, "password": PASSWORD})
            log_in = {"email": ANN["email"], "password": PASSWORD}
            token = httpx.post(f"{url}/login", json=log_in).json()["access_token"]
            answer = httpx.post(
                f"{url}/api/tasks/email",
                json={"subject": "Hello", "text": "hunter2"},
                headers={
                    "Authorization": f"Bearer {token}",
                    "traceparent": f"00-{TRACE}-{SPAN}-01",
                },
            )
            assert answer.status_code == 202, answer.text
            until(lambda: sentry.events != [], worker.told)
            until(lambda: any(s.kind == CONSUMER for s in spans.trace(TRACE)), worker.told)
            by_nginx = of_trace(edge.log())
            assert gunicorn.stop() == worker.stop() == 0
        spans.caught_up()
    assert answer.headers["X-Trace-Id"] == TRACE
    assert [line["path"] for line in by_nginx] == ["/api/tasks/email"]
    by_gunicorn = lines(gunicorn.log.read_text())
    assert [line["route"] for line in by_gunicorn] == ["/api/tasks/email"]
    # Both logs have the same of the request: nginx's id of it, and what nginx was told.
    for name in ("request_id", "route", "span_id"):
        assert by_nginx[0][name] == by_gunicorn[0][name] != "", name
    assert not {"x-route", "x-span-id"} & {*answer.headers}, answer.headers
    assert "slipway.tasks.send_email" in {line.get("task") for line in lines(worker.told())}
    # Whom the mail was for, and what it said, is nobody's business.
    for secret in ("hunter2", "ann@example.com"):
        for told in (worker.told(), gunicorn.log.read_text(), spans.text(), str(sentry.events)):
            assert secret not in told.lower()
    (entered,) = (span for span in spans.trace(TRACE) if span.kind == SERVER)
    assert (entered.parent, entered.id) == (SPAN, by_nginx[0]["span_id"])
    (event,) = sentry.events
    assert event["contexts"]["trace"]["trace_id"] == event["tags"]["trace_id"] == TRACE
    assert event["transaction"] == "slipway.tasks.send_email"

"""Traces: one for what a request causes, wherever that is, and none of what nobody asked for."""

import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from answers import ANN, PASSWORD, until
from collector import CONSUMER, PRODUCER, SERVER, Collector, collector
from post import Mailpit
from serving import free_port, serving
from test_worker import Site, site

__all__ = ["site"]

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
UNSAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-00"}


@pytest.fixture
def spans(tmp_path: Path) -> Iterator[Collector]:
    with collector(tmp_path / "spans") as one:
        yield one


def environment(spans: Collector, ratio: str = "1") -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": spans.endpoint,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": ratio,
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=pod-1",
    }


@pytest.mark.needs("engine")
def test_a_request_its_task_and_the_mail_are_one_trace(
    site: Site, mailpit: Mailpit, tmp_path: Path, spans: Collector
) -> None:
    shared = {
        **environment(spans),
        "REDIS_URL": site.environment["REDIS_URL"],
        "SMTP_URL": mailpit.url,
    }
    with (
        serving(tmp_path, site.environment["DATABASE_URL"], FORWARDED_HOPS="1", **shared) as server,
        site.worker(**shared) as worker,
    ):
        worker.ready()
        base = f"http://127.0.0.1:{server.port}"
        httpx.post(f"{base}/api/users", json={**ANN, "password": PASSWORD})
        log_in = {"email": ANN["email"], "password": PASSWORD}
        token = httpx.post(f"{base}/login", json=log_in).json()["access_token"]
        name = "0af7651916cd43dd8448eb211c80319c"
        answer = httpx.post(
            f"{base}/api/tasks/email?secret=hunter2",
            json={"subject": "Hello", "text": "hunter2"},
            # As nginx names a request.
            headers={"Authorization": f"Bearer {token}", "X-Request-ID": name},
        )
        assert answer.status_code == 202, answer.text
        assert answer.headers["X-Trace-Id"] == name
        until(lambda: len(mailpit.mails()) == 1, worker.told)
        until(lambda: any(s.kind == CONSUMER for s in spans.trace(name)), worker.told)
        # Probes and metrics have been asked for all the while.
        server.get("/readyz", ops=True)
        server.get("/metrics", ops=True)
        assert server.stop() == worker.stop() == 0
    spans.caught_up()
    found = {span.id: span for span in spans.trace(name)}
    root, published, run = (
        next(span for span in found.values() if span.kind == kind)
        for kind in (SERVER, PRODUCER, CONSUMER)
    )
    assert (root.name, root.parent) == ("POST /api/tasks/email", "")
    assert root.attributes["http.route"] == "/api/tasks/email"
    assert run.parent == published.id
    for span in found.values():
        assert span.parent == "" or span.parent in found, span
    systems = {span.attributes.get("db.system") for span in found.values()}
    assert {"postgresql", "redis"} <= systems
    assert any(span.name == "SMTP send" and span.parent == run.id for span in found.values())
    assert root.resource["service.name"] == "slipway"
    assert root.resource["k8s.pod.name"] == "pod-1"
    servers = {span.name for span in spans.spans() if span.kind == SERVER}
    assert servers == {"POST /api/users", "POST /login", "POST /api/tasks/email"}
    # Every span is of somebody's request: neither probes nor polling made one.
    of_requests = {span.trace for span in spans.spans() if span.kind == SERVER}
    assert [span for span in spans.spans() if span.trace not in of_requests] == []
    for secret in ("hunter2", PASSWORD, ANN["email"].lower(), token):
        assert secret not in spans.text()


@pytest.mark.needs("engine")
@pytest.mark.parametrize(
    "case",
    [
        ("0", SAMPLED, True),
        ("1", UNSAMPLED, False),
        ("0", {}, False),
        ("1", {}, True),
        ("1", {"traceparent": f"00-{'0' * 32}-{SPAN}-01"}, True),
    ],
    ids=["its caller's", "not its caller's", "none", "all", "an invalid caller's"],
)
def test_who_is_asked_by_a_caller_samples_as_the_caller_does(
    tmp_path: Path,
    migrated_url: str,
    spans: Collector,
    case: tuple[str, dict[str, str], bool],
) -> None:
    ratio, headers, is_sampled = case
    with serving(tmp_path, migrated_url, **environment(spans, ratio)) as server:
        answer = httpx.get(f"http://127.0.0.1:{server.port}/api/users/1", headers=headers)
        name = answer.headers["X-Trace-Id"]
        assert (name == TRACE) == (headers in (SAMPLED, UNSAMPLED))
        # Whatever is left is handed over at the end.
        assert server.stop() == 0
        (line,) = re.findall(r'\{.*"gunicorn.access".*\}', server.log.read_text())
        assert name in line
    spans.caught_up()
    assert bool(spans.trace(name)) == is_sampled
    assert {span.name for span in spans.spans() if span.kind == SERVER} == (
        {"GET /api/users/<id:user_id>"} if is_sampled else set()
    )
    if is_sampled and headers == SAMPLED:
        assert [s.parent for s in spans.trace(name) if s.kind == SERVER] == [SPAN]


@pytest.mark.needs("engine")
def test_a_path_that_nobody_serves_is_no_name(
    tmp_path: Path, migrated_url: str, spans: Collector
) -> None:
    with serving(tmp_path, migrated_url, **environment(spans)) as server:
        for number in range(3):
            httpx.get(f"http://127.0.0.1:{server.port}/nowhere/{number}")
        assert server.stop() == 0
    spans.caught_up()
    assert [span.name for span in spans.spans()] == ["GET unmatched"] * 3


@pytest.mark.needs("engine")
def test_a_worker_that_is_recycled_hands_its_spans_over(
    tmp_path: Path, migrated_url: str, spans: Collector
) -> None:
    more = {"GUNICORN_CMD_ARGS": "--max-requests=5", **environment(spans)}
    with serving(tmp_path, migrated_url, **more) as server:
        first = server.children()
        names = set()
        for _ in range(4):
            answer = httpx.get(f"http://127.0.0.1:{server.port}/ping")
            names.add(answer.headers["X-Trace-Id"])
        httpx.get(f"http://127.0.0.1:{server.port}/ping")
        until(lambda: not {*first} & {*server.children()}, server.log.read_text)
        until(lambda: names <= {span.trace for span in spans.spans()}, spans.text)


@pytest.mark.parametrize("kind", ["silent", "dead"])
def test_a_collector_that_is_away_costs_requests_nothing_and_the_end_little(
    tmp_path: Path, migrated_url: str, kind: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if kind == "silent" else free_port()
        more = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        with serving(tmp_path, migrated_url, **more) as server:
            for _ in range(50):
                answer = httpx.get(f"http://127.0.0.1:{server.port}/ping", timeout=2)
                assert answer.status_code == 200
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(timeout=10) == 0
            assert server.log.read_text().count("Traceback") == 0

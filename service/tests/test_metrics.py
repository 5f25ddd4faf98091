"""Metrics: true whatever becomes of the processes, bounded whatever clients send, and complete."""

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from answers import ANN, signed_in, until
from certificates import self_signed
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from serving import Server, free_port, serving
from werkzeug.test import Client

from slipway import tasks
from slipway.models import ADMIN
from slipway.ops import Operations
from slipway.settings import Settings
from slipway.telemetry import edge, metrics, saturation

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> Series:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(server: Server) -> Series:
    status, text = server.get("/metrics", ops=True)
    assert status == 200, text
    return read(text)


def total(series: Series, name: str, **labels: str) -> float:
    return sum(
        value
        for (found, has), value in series.items()
        if found == name and labels.items() <= {*has}
    )


def test_routes_are_rules_and_methods_are_known_whatever_is_asked_for(app: Flask) -> None:
    client = app.test_client()

    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        method=st.from_regex(r"[A-Z][A-Z_-]{0,15}", fullmatch=True),
        path=st.text(st.characters(codec="utf-8"), max_size=30),
    )
    def ask(method: str, path: str) -> None:
        client.open("/" + path.replace("?", ""), method=method)

    before = read(metrics.exposition().decode())
    ask()
    client.open("/api/users/1", method="SPOIL")
    # Other tests, in this process, have applications with other routes.
    series = {
        key
        for key, value in read(metrics.exposition().decode()).items()
        if before.get(key) != value
    }
    seen = {dict(labels).get("method") for (_, labels) in series} - {None}
    rules = {rule.rule for rule in app.url_map.iter_rules()} | {"unmatched"}
    assert seen <= metrics.METHODS | {metrics.OTHER}
    assert metrics.OTHER in seen
    assert {dict(labels).get("route", "unmatched") for (_, labels) in series} <= rules


def test_counters_are_true_while_workers_are_recycled_and_killed(
    tmp_path: Path, migrated_url: str
) -> None:
    """As many as were answered, never fewer than before; and no file is left of the ended."""
    with serving(
        tmp_path,
        migrated_url,
        WEB_CONCURRENCY="2",
        GUNICORN_CMD_ARGS="--max-requests=25 --max-requests-jitter=10",
        FORWARDED_HOPS="1",
    ) as server:
        answered: Counter[int] = Counter()
        seen: list[float] = []
        ending = threading.Event()

        def watch() -> None:
            while not ending.is_set():
                # The process that answers may be the one that ends.
                with suppress(OSError, http.client.HTTPException):
                    seen.append(total(scrape(server), "flask_http_request_total"))

        watching = threading.Thread(target=watch)
        watching.start()
        killed: set[int] = set()
        for number in range(400):
            if number % 100 == 50:
                os.kill(victim := server.children()[0], signal.SIGKILL)
                killed.add(victim)
                until(lambda: not killed & {*server.children()}, server.log.read_text)
            try:
                answered[server.get("/ping")[0]] += 1
            except OSError:
                answered[0] += 1
        ending.set()
        watching.join()
        last = total(scrape(server), "flask_http_request_total")
        assert answered[0] <= len(killed)
        assert answered[200] <= last <= answered[200] + answered[0]
        assert total(scrape(server), "flask_http_request_duration_seconds_count") == last
        assert seen == sorted(seen), "a counter fell"
        assert len(seen) > 10
        (directory,) = tmp_path.glob("slipway-metrics-*")
        until(
            lambda: len({p.stem.rsplit("_", 1)[1] for p in directory.glob("*.db")}) <= 4,
            lambda: str(sorted(p.name for p in directory.iterdir())),
        )
        until(lambda: total(scrape(server), "slipway_threads") == 16, server.log.read_text)


def test_what_many_ended_processes_counted_is_added_up_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    script = (
        "from prometheus_client import Counter, Gauge;"
        "[Counter('c', 'c', ['n'], registry=None).labels(n).inc() for n in range(20)];"
        "Gauge('g', 'g', multiprocess_mode='livesum', registry=None).set(1)"
    )
    for _ in range(8):
        subprocess.run([sys.executable, "-c", script], check=True)
    assert total(read(metrics.exposition().decode()), "c_total") == 160
    metrics.settle_ended()
    metrics.settle_ended()
    series = read(metrics.exposition().decode())
    assert total(series, "c_total") == 160
    assert total(series, "g") == 0
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["counter_ended.db"]


def test_a_file_that_a_process_just_makes_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    empty = tmp_path / "counter_1.db"
    empty.touch()
    # It gets its size a moment later.
    threading.Timer(metrics.AGAIN_SECONDS, empty.write_bytes, [b"\0" * 65536]).start()
    assert metrics.exposition() == b""


def test_a_scrape_names_what_it_likes_and_gets_everything(
    tmp_path: Path, migrated_url: str
) -> None:
    with serving(tmp_path, migrated_url) as server:
        server.get("/ping")
        names = {name for name, _ in read(server.get("/metrics?name[]=x", ops=True)[1])}
    assert {
        "flask_http_request_total",
        "flask_http_request_duration_seconds_bucket",
        "slipway_build_info",
        "slipway_database_connections",
        "slipway_database_connections_busy",
        "slipway_threads",
        "slipway_threads_busy",
        "slipway_request_queue_seconds_bucket",
        "slipway_dependency_up",
    } <= names


def test_threads_are_busy_as_long_as_they_serve(tmp_path: Path, migrated_url: str) -> None:
    with serving(tmp_path, migrated_url, WEB_THREADS="4") as server:
        asking = [threading.Thread(target=server.get, args=["/slow"]) for _ in range(3)]
        for thread in asking:
            thread.start()
        until(lambda: total(scrape(server), "slipway_threads_busy") == 3, server.log.read_text)
        assert total(scrape(server), "slipway_threads") == 4
        for thread in asking:
            thread.join()
        until(lambda: total(scrape(server), "slipway_threads_busy") == 0, server.log.read_text)


@pytest.mark.parametrize(
    ("hops", "header", "counted"),
    [
        ("1", lambda now: f"t={now - 2:.3f}", 1),
        ("1", lambda now: f"t={now - 9999:.3f}", 0),
        ("1", lambda _: "t=soon", 0),
        ("1", lambda _: "t=nan", 0),
        ("0", lambda now: f"t={now - 2:.3f}", 0),
    ],
    ids=["nginx", "another clock", "no number", "nan", "a client"],
)
def test_waiting_for_a_thread_is_counted_from_nginx_on(
    tmp_path: Path, migrated_url: str, hops: str, header: object, counted: int
) -> None:
    assert callable(header)
    with serving(tmp_path, migrated_url, FORWARDED_HOPS=hops) as server:
        sent = {"X-Request-Start": header(time.time())}
        httpx.get(f"http://127.0.0.1:{server.port}/ping", headers=sent)
        series = scrape(server)
        assert total(series, "slipway_request_queue_seconds_count") == counted
        assert total(series, "slipway_request_queue_seconds_bucket", le="1.0") == 0


def test_connections_are_counted_while_they_are_used(app: Flask) -> None:
    measured = saturation.measures()
    with app.app_context():
        engine = app.extensions["sqlalchemy"].engine
        before, waited = measured.connections_busy._value.get(), measured.connected._sum.get()
        with engine.connect(), engine.connect():
            assert measured.connections_busy._value.get() == before + 2
        assert measured.connections_busy._value.get() == before
        # SQLite has no server to wait for.
        assert engine.dialect.name == "sqlite" or measured.connected._sum.get() > waited


def outcomes() -> Counter[str]:
    series = read(metrics.exposition().decode())
    return Counter(
        {
            dict(labels)["outcome"]: int(value)
            for (name, labels), value in series.items()
            if name == "slipway_cache_requests_total" and dict(labels)["topic"] == "users"
        }
    )


def test_the_cache_tells_hits_from_misses(client: FlaskClient) -> None:
    before = outcomes()
    client.get("/api/users")
    client.get("/api/users")
    assert outcomes() - before == Counter(miss=1, hit=1)


def test_a_refusal_by_a_limit_is_counted(app: Flask) -> None:
    def refused() -> float:
        series = read(metrics.exposition().decode())
        return total(series, "slipway_limits_hit_total", limit="10 per 1 minute")

    before = refused()
    wrong = {"email": ANN["email"], "password": "wrong"}
    statuses = [app.test_client().post("/login", json=wrong).status_code for _ in range(12)]
    assert refused() - before == statuses.count(429) == 2


@pytest.mark.needs("engine")
def test_the_oldest_task_that_waits_tells_its_age(worker: Flask) -> None:
    def queued() -> dict[str, float]:
        found = tasks.Queued(worker).collect()
        return {one.name: one.samples[0].value for one in found}

    assert queued()["slipway_tasks_oldest_seconds"] == 0
    client = signed_in(worker, "admin@example.com", ADMIN)
    mail = {"subject": "Hello", "text": "?"}
    assert client.post("/api/tasks/email", json=mail).status_code == 202
    until(lambda: queued()["slipway_tasks_oldest_seconds"] > 1, lambda: str(queued()))
    first = queued()["slipway_tasks_oldest_seconds"]
    assert client.post("/api/tasks/email", json=mail).status_code == 202
    assert queued()["slipway_tasks_queued"] == 2
    assert queued()["slipway_tasks_oldest_seconds"] >= first
    assert told_of(worker) == {"database": 1, "valkey": 1}


def told_of(app: Flask) -> dict[str, float]:
    """What the operations port tells of each dependency."""
    operations = Operations(app)
    text = Client(operations).get("/metrics").text
    operations.engine.dispose()
    (up,) = (
        one for one in text_string_to_metric_families(text) if one.name == "slipway_dependency_up"
    )
    return {sample.labels["dependency"]: sample.value for sample in up.samples}


def test_a_queue_that_cannot_be_asked_says_so(app: Flask) -> None:
    away = f"redis://127.0.0.1:{free_port()}/0"
    app.config["SETTINGS"] = app.config["SETTINGS"].model_copy(
        update={"redis_url": SecretStr(away)}
    )
    assert list(tasks.Queued(app).collect()) == []
    assert told_of(app) == {"database": 1, "valkey": 0}


STATUS = (
    "Active connections: 3 \nserver accepts handled requests\n 17 16 40 \n"
    "Reading: 0 Writing: 1 Waiting: 2 \n"
)


@pytest.fixture
def nginx_that_says() -> Iterator[int]:
    """A port where stub_status is, as nginx writes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client = listener.accept()[0]
                except OSError:
                    return
                with client:
                    client.recv(4096)
                    client.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + STATUS.encode())

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def told(**of: str) -> dict[str, float]:
    found = edge.Edge(Settings(environment="development", **of)).collect()  # type: ignore[arg-type]
    return {sample.name: sample.value for one in found for sample in one.samples}


def test_nginx_tells_its_connections(nginx_that_says: int) -> None:
    assert told(edge_status_url=f"http://127.0.0.1:{nginx_that_says}/nginx-status") == {
        "nginx_up": 1,
        "nginx_connections_active": 3,
        "nginx_connections_reading": 0,
        "nginx_connections_writing": 1,
        "nginx_connections_waiting": 2,
        "nginx_connections_accepted_total": 17,
        "nginx_connections_handled_total": 16,
        "nginx_http_requests_total": 40,
    }


def test_an_nginx_that_is_away_is_told_of(tmp_path: Path) -> None:
    nowhere = free_port()
    assert told(edge_status_url=f"http://127.0.0.1:{nowhere}/") == {"nginx_up": 0}
    assert told(edge_tls=f"127.0.0.1:{nowhere}") == {}
    assert told() == {}


def test_the_served_certificate_tells_its_end(tmp_path: Path) -> None:
    key, certificate = self_signed(tmp_path, days=3)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with context.wrap_socket(listener.accept()[0], server_side=True) as client:
                client.recv(1)

        serving = threading.Thread(target=serve)
        serving.start()
        seen = told(edge_tls=f"127.0.0.1:{listener.getsockname()[1]}")
        serving.join()
    left = seen["slipway_certificate_expires_timestamp_seconds"] - time.time()
    assert 2.9 < left / 86400 <= 3


def test_every_metric_of_ours_is_named_by_the_house(tmp_path: Path, migrated_url: str) -> None:
    with serving(tmp_path, migrated_url) as server:
        server.get("/ping")
        names = {name for name, _ in scrape(server)}
    assert {name for name in names if not re.match("slipway_|flask_|nginx_", name)} == set()

"""Gunicorn with our configuration, as a process: its two ports, its start and its end."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import psycopg
import pytest
from answers import until
from serving import SERVICE, migrate, serving


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/slipway.db"


def test_it_is_ready_once_the_schema_is_there(tmp_path: Path, sqlite_url: str) -> None:
    with serving(tmp_path, sqlite_url) as server:
        assert server.get("/startupz", ops=True)[0] == 200
        status, body = server.get("/readyz", ops=True)
        assert (status, list(json.loads(body)["missing"])) == (503, ["schema"])
        migrate(sqlite_url)
        assert server.get("/readyz", ops=True)[0] == 200


@pytest.mark.needs("engine")
def test_it_is_alive_but_not_ready_while_the_database_is_away(
    tmp_path: Path, postgres: str, postgres_url: str
) -> None:
    migrate(postgres_url)
    with (
        serving(tmp_path, postgres_url) as server,
        psycopg.connect(postgres + "postgres", autocommit=True) as admin,
    ):

        def tried() -> int:
            body = {"email": "nobody@example.com", "password": "wrong"}
            return httpx.post(f"http://127.0.0.1:{server.port}/login", json=body).status_code

        assert server.get("/readyz", ops=True)[0] == 200
        name = postgres_url.rsplit("/", 1)[1]
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        status, body = server.get("/readyz", ops=True)
        assert (status, list(json.loads(body)["missing"])) == (503, ["database"])
        assert tried() == 503
        assert server.get("/livez", ops=True)[0] == 200
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert server.get("/readyz", ops=True)[0] == 200
        assert tried() == 401


def test_probes_answer_while_every_thread_is_busy(tmp_path: Path, sqlite_url: str) -> None:
    with serving(tmp_path, sqlite_url, WEB_THREADS="1") as server:
        answers: list[tuple[int, str]] = []
        slow = threading.Thread(target=lambda: answers.append(server.get("/slow")))
        slow.start()
        until(lambda: server.get("/livez", ops=True)[0] == 200, server.log.read_text)
        assert slow.is_alive(), "the only thread was not busy: the probe proved nothing"
        slow.join()
        assert answers[0][0] == 200


def test_operations_are_not_on_the_public_port(tmp_path: Path, sqlite_url: str) -> None:
    with serving(tmp_path, sqlite_url) as server:
        for path in ("/livez", "/readyz", "/startupz", "/metrics"):
            assert server.get(path)[0] == 404
            assert server.get(path, ops=True)[0] in {200, 503}
        assert server.get("/api/users", ops=True)[0] == 404


def test_metrics_count_every_request_over_all_processes(tmp_path: Path, sqlite_url: str) -> None:
    with serving(tmp_path, sqlite_url, WEB_CONCURRENCY="2") as server:
        for path in ["/ping"] * 20 + [f"/nowhere/{n}" for n in range(20)]:
            server.get(path)
        text = server.get("/metrics?name[]=x", ops=True)[1]
        pattern = r"^flask_http_request_total\{(.*)\} (\d+)\.0$"
        counted = {labels: int(n) for labels, n in re.findall(pattern, text, re.MULTILINE)}
        assert sum(counted.values()) == 40
        assert len(counted) == 2


def test_an_answer_leaves_in_one_piece(tmp_path: Path, sqlite_url: str) -> None:
    with serving(tmp_path, sqlite_url) as server:
        for path, body in (("/ping", b'{"ping":"pong"}\n'), ("/nowhere", b"}\n")):
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
                connection.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
                first = connection.recv(65536)
                assert b"\r\n\r\n" in first
                assert first.endswith(body), first
                connection.sendall(b"HEAD %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
                assert connection.recv(65536).endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: a\x01b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 40_000 + b"\r\n\r\n", 431),
    ],
    ids=["nonsense", "control character", "negative length", "long line", "large header"],
)
def test_what_is_no_http_is_refused_with_a_problem(
    tmp_path: Path, sqlite_url: str, raw: bytes, status: int
) -> None:
    with serving(tmp_path, sqlite_url) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(raw)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            document = json.loads(answer.read())
        assert answer.status == document["status"] == status
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert document["trace_id"] == answer.headers["X-Trace-Id"]
        assert server.get("/ping")[0] == 200


def test_a_killed_worker_is_replaced_and_the_port_stays(tmp_path: Path, sqlite_url: str) -> None:
    with serving(tmp_path, sqlite_url) as server:
        (worker,) = server.children()
        os.kill(worker, signal.SIGKILL)
        until(lambda: server.children() not in ([], [worker]), server.log.read_text)
        assert server.get("/ping")[0] == 200
        assert server.get("/livez", ops=True)[0] == 200


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_status_0_and_leaves_nothing(
    tmp_path: Path, sqlite_url: str, how: signal.Signals
) -> None:
    with serving(tmp_path, sqlite_url) as server:
        server.process.send_signal(how)
        assert server.process.wait(timeout=40) == 0
    assert not list(tmp_path.glob("slipway-metrics-*"))


def test_a_request_under_way_is_finished_at_the_end(tmp_path: Path, sqlite_url: str) -> None:
    with serving(tmp_path, sqlite_url) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("GET", "/slow", headers={"Connection": "close"})
        # The second request is accepted after the first one, so when it is answered both are in.
        server.get("/ping")
        assert server.stop() == 0
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())) == (200, {"slept_seconds": 2})
        connection.close()


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"WEB_THREADS": "none"}, "slipway: WEB_THREADS: "),
        (
            {"ENVIRONMENT": "production", "JWT_SECRET_KEY": "j" * 32},
            "slipway: SECRET_KEY: production needs one",
        ),
        ({"OPS_PORT": "taken"}, "slipway: OPS_PORT: cannot listen on 127.0.0.1:"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_its_name(
    tmp_path: Path, sqlite_url: str, environment: dict[str, str], line: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        if environment.get("OPS_PORT") == "taken":
            environment = {"OPS_PORT": str(taken.getsockname()[1])}
        clean = {k: v for k, v in os.environ.items() if k != "SECRET_KEY"}
        ended = subprocess.run(
            [sys.executable, "-m", "gunicorn"],
            cwd=SERVICE,
            env={**clean, "ENVIRONMENT": "development", "DATABASE_URL": sqlite_url, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 1
    said = [out for out in ended.stderr.splitlines() if out.startswith("slipway:")]
    assert len(said) == 1
    assert said[0].startswith(line)
    assert "Traceback" not in ended.stderr

"""What clients, gunicorn and the kubelet may rely on at the edge. Needs a Docker engine."""

from __future__ import annotations

import contextlib
import re
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from slipway.headers import DEFAULTS, TRANSPORT_SECURITY

from .edge import (
    CONF,
    Edge,
    Gunicorn,
    Load,
    Reply,
    docker,
    eventually,
    read_reply,
    running_edge,
    running_gunicorn,
    trusting,
)

pytestmark = pytest.mark.needs("engine")

GZIP = {"Accept-Encoding": "gzip"}
HIDDEN = ["/metrics", "/livez", "/readyz", "/startupz", "/debug"]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def gunicorn() -> Iterator[Gunicorn]:
    with running_gunicorn() as gunicorn:
        yield gunicorn


@pytest.fixture(scope="module")
def edge(gunicorn: Gunicorn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """Without any snippet, shared by the tests that leave it as it was."""
    with running_edge(gunicorn.name, tmp_path_factory.mktemp("nginx")) as edge:
        yield edge


@pytest.fixture
def mortal() -> Iterator[Gunicorn]:
    """A gunicorn of the test's own, to be killed."""
    with running_gunicorn() as gunicorn:
        yield gunicorn


def problem(reply: Reply, status: int) -> dict[str, object]:
    assert reply.status == status, reply.body
    assert reply.all("Content-Type") == ["application/problem+json"], reply.body
    document: dict[str, object] = reply.json()
    assert set(document) == {"type", "title", "status", "detail", "trace_id"}
    assert document["status"] == status
    assert document["title"] not in ("", "Error")
    assert len(str(document["trace_id"])) == 32
    return document


# ── Errors ───────────────────────────────────────────────────────────────────────────────────────

HOST = b"Host: x\r\n"
MALFORMED = {
    "no request line": (b"\x16\x03\x01\x02garbage\r\n\r\n", 400),
    "no method": (b"/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    "a host with a slash": (b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400),
    "a host with a quote": (b'GET / HTTP/1.1\r\nHost: x"y\r\n\r\n', 400),
    "a host with markup": (b"GET / HTTP/1.1\r\nHost: <x>\r\n\r\n", 400),
    "a host with an apostrophe": (b"GET / HTTP/1.1\r\nHost: x'y\r\n\r\n", 400),
    "a long method": (b"A" * 100 + b" / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "bytes in the path": (b"GET /\xff?\xfe HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "many headers": (b"GET / HTTP/1.1\r\n" + HOST + 100 * b"X-A: b\r\n" + b"\r\n", 431),
    "a NUL in the path": (b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a broken escape": (b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a path above the root": (b"GET /../../etc HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "two lengths": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        400,
    ),
    "a length and chunks": (
        b"POST / HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "broken chunks": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        400,
    ),
    "an unknown page of ours": (b"GET /_problem HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "the inner pause": (b"GET /_pause HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "TRACE": (b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "CONNECT": (b"CONNECT x:443 HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "a large body": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1048577\r\n\r\n", 413),
    "a long address": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "a large header": (b"GET / HTTP/1.1\r\n" + HOST + b"Cookie: " + b"a" * 9000 + b"\r\n\r\n", 431),
    "an unknown transfer encoding": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n",
        501,
    ),
    "an unknown version": (b"GET / HTTP/9.9\r\n" + HOST + b"\r\n", 505),
}


@pytest.mark.parametrize(("request_bytes", "status"), MALFORMED.values(), ids=MALFORMED)
def test_an_error_made_by_nginx_is_a_problem_document(
    edge: Edge, request_bytes: bytes, status: int
) -> None:
    problem(edge.exchange(request_bytes), status)


def test_a_body_that_grows_over_the_limit_in_chunks_is_413(edge: Edge) -> None:
    chunk = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
    head = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    problem(edge.exchange(head + 17 * chunk), 413)


def test_a_client_that_waits_for_100_continue_is_told_413_before_it_sends(edge: Edge) -> None:
    headers = {"Content-Length": "2000000", "Expect": "100-continue"}
    problem(edge.ask("/", "POST", headers), 413)


def test_the_largest_allowed_request_reaches_the_application(edge: Edge) -> None:
    # With Host and Content-Length: 90.
    headers = {"Cookie": "a" * 8000} | {f"X-{number}": "x" for number in range(87)}
    reply = edge.ask("/" + "a" * 8000, "POST", headers, body=b"a" * 1024 * 1024)
    assert reply.status == 200, reply.body
    assert reply.json()["body_bytes"] == 1024 * 1024


def test_a_problem_for_head_has_headers_alone(edge: Edge) -> None:
    with edge.connect() as connection:
        connection.sendall(b"HEAD /metrics HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        head, _, body = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b"application/problem+json" in head
    assert body == b""


def test_a_405_says_what_is_allowed(edge: Edge) -> None:
    assert "GET" in (edge.ask("/", "TRACE").headers["Allow"] or "")


def test_a_problem_carries_the_trace_of_the_client_and_so_does_the_log(edge: Edge) -> None:
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "X-Request-ID": "problem-trace"}
    reply = edge.ask("/metrics", headers=headers)
    assert problem(reply, 404)["trace_id"] == TRACE
    assert reply.all("X-Trace-Id") == [TRACE]
    assert edge.logged(request_id="problem-trace")["trace_id"] == TRACE


@pytest.mark.parametrize(
    "traceparent",
    [
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "ff-" + TRACE + "-00f067aa0ba902b7-01",
        f'00-{TRACE}-00f067aa0ba902b7-01","forged":"',
        "nonsense",
    ],
)
def test_an_invalid_traceparent_starts_a_new_trace(edge: Edge, traceparent: str) -> None:
    trace = problem(edge.ask("/metrics", headers={"traceparent": traceparent}), 404)["trace_id"]
    assert trace not in (TRACE, "0" * 32)
    edge.logged(trace_id=trace)


# ── What stays inside ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", HIDDEN)
@pytest.mark.parametrize(
    "disguise", ["{}", "{}/", "{}/x", "{}?name[]=x", "/{}", "/x/..{}", "/.{}", "http://x{}"]
)
def test_operations_are_not_public(edge: Edge, path: str, disguise: str) -> None:
    problem(edge.ask(disguise.format(path)), 404)


def test_an_escaped_operations_path_is_not_public(edge: Edge) -> None:
    problem(edge.ask("/%6detrics"), 404)
    problem(edge.ask("/%2fmetrics"), 404)


def test_a_path_that_only_begins_like_one_is_the_applications(edge: Edge) -> None:
    assert edge.ask("/metricsfoo").json()["uri"] == "/metricsfoo"


def test_nginx_does_not_tell_its_version(edge: Edge) -> None:
    assert edge.ask("/").all("Server") == ["nginx"]
    assert edge.ask("/metrics").all("Server") == ["nginx"]


def test_health_is_on_a_port_of_its_own_and_not_logged(edge: Edge) -> None:
    assert edge.ask("/nginx-health", port=8081).body == b"ok\n"
    assert edge.ask("/echo", port=8081).status == 404
    edge.ask("/echo", headers={"X-Request-ID": "after-the-health-check"})
    edge.logged(request_id="after-the-health-check")
    assert "/nginx-health" not in {line["path"] for line in edge.log()}


def test_its_connections_are_told_on_that_port_alone(edge: Edge) -> None:
    told = edge.ask("/nginx-status", port=8081).body.decode()
    assert re.fullmatch(
        r"Active connections: \d+ \nserver accepts handled requests\n \d+ \d+ \d+ \n"
        r"Reading: \d+ Writing: \d+ Waiting: \d+ \n",
        told,
    )
    edge.ask("/nginx-status", headers={"X-Request-ID": "status-from-outside"})
    # gunicorn got that one, as any other path.
    assert edge.logged(request_id="status-from-outside")["upstream_status"] == "200"


# ── What the application may believe ─────────────────────────────────────────────────────────────


def test_forged_hop_headers_do_not_reach_the_application(edge: Edge) -> None:
    forged = {
        "Forwarded": "for=6.6.6.6;proto=https;host=evil",
        "X-Forwarded-By": "6.6.6.6",
        "X-Forwarded-For": "6.6.6.6, 7.7.7.7",
        "X-Forwarded-Host": "evil",
        "X-Forwarded-Port": "666",
        "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Protocol": "ssl",
        "X-Forwarded-Scheme": "https",
        "X-Forwarded-Server": "evil",
        "X-Forwarded-Ssl": "on",
        "X-Real-IP": "6.6.6.6",
        "X-Client-IP": "6.6.6.6",
        "X-Original-URL": "/evil",
        "X-Rewrite-URL": "/evil",
        "X-Script-Name": "/evil",
        "X-Request-Start": "t=1",
        "Script_Name": "/evil",
        "Proxy": "http://evil",
    }
    reply = edge.ask("/echo", headers=forged | {"X-Request-ID": "forged-hops"})
    seen = reply.json()["headers"]
    client = edge.logged(request_id="forged-hops")["client"]
    assert client not in ("6.6.6.6", "7.7.7.7")
    assert {name: seen.pop(name) for name in sorted(seen) if name.startswith("X-Forwarded")} == {
        "X-Forwarded-For": client,
        "X-Forwarded-Host": "slipway.test",
        "X-Forwarded-Proto": "http",
    }
    # When it was handed over is nginx's word too.
    assert abs(float(seen.pop("X-Request-Start").removeprefix("t=")) - time.time()) < 60
    assert set(seen) == {"Host", "X-Request-Id"}
    assert reply.json()["scheme"] == "http"


def test_the_host_reaches_the_application_with_its_port(edge: Edge) -> None:
    seen = edge.ask("/echo", headers={"Host": "Slipway.Test:30080"}).json()["headers"]
    assert seen["Host"] == "slipway.test:30080"
    assert seen["X-Forwarded-Host"] == "slipway.test:30080"


def test_the_address_reaches_the_application_as_the_client_wrote_it(edge: Edge) -> None:
    path = "/a%2Fb//c/%C3%A9?x=1&y=%0a"
    assert edge.ask(path).json()["uri"] == path


def test_a_trace_passes_through_untouched(edge: Edge) -> None:
    sent = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "tracestate": "a=b", "baggage": "c=d"}
    seen = edge.ask("/echo", headers=sent).json()["headers"]
    assert {name.lower(): value for name, value in seen.items()}.items() >= sent.items()


def test_one_request_id_is_with_the_application_the_client_and_the_log(edge: Edge) -> None:
    reply = edge.ask("/echo")
    (request_id,) = reply.all("X-Request-ID")
    assert reply.json()["headers"]["X-Request-Id"] == request_id
    assert edge.logged(request_id=request_id)["trace_id"] == request_id


def test_a_sane_request_id_of_the_client_is_kept_and_another_replaced(edge: Edge) -> None:
    assert edge.ask("/echo", headers={"X-Request-ID": "client-1234"}).headers["X-Request-ID"] == (
        "client-1234"
    )
    for wild in ('"},{"', "short", "x" * 65, "a b c d e f"):
        seen = edge.ask("/echo", headers={"X-Request-ID": wild}).json()["headers"]["X-Request-Id"]
        assert len(seen) == 32, seen


@pytest.fixture
def behind_a_proxy(gunicorn: Gunicorn, tmp_path: Path) -> Iterator[Edge]:
    """Every client is a trusted proxy."""
    snippets = {
        "server-real-ip.conf": "set_real_ip_from 0.0.0.0/1;\nset_real_ip_from 128.0.0.0/1;\n",
        "location-redirect.conf": "if ($insecure) { return 308 https://$host:30443$request_uri; }",
    }
    with running_edge(gunicorn.name, tmp_path, snippets) as edge:
        yield edge


def test_a_trusted_proxy_is_believed_about_address_and_scheme(behind_a_proxy: Edge) -> None:
    headers = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https"}
    reply = behind_a_proxy.ask("/echo", headers=headers | {"X-Request-ID": "by-a-proxy"})
    assert reply.json()["headers"]["X-Forwarded-For"] == "6.6.6.6"
    assert reply.json()["scheme"] == "https"
    assert reply.headers["Strict-Transport-Security"]
    assert behind_a_proxy.logged(request_id="by-a-proxy")["client"] == "6.6.6.6"


def test_a_proxy_that_terminates_tls_is_not_redirected_again(behind_a_proxy: Edge) -> None:
    plain = behind_a_proxy.ask("/echo", headers={"X-Forwarded-For": "6.6.6.6"})
    assert plain.headers["Location"] == "https://slipway.test:30443/echo"
    tls = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https"}
    assert behind_a_proxy.ask("/echo", headers=tls).status == 200


# ── Response headers ─────────────────────────────────────────────────────────────────────────────

ONCE = {name: [value] for name, value in DEFAULTS.items()}


@pytest.mark.parametrize("path", ["/echo", "/metrics"])
def test_security_headers_are_the_applications_and_there_once(edge: Edge, path: str) -> None:
    """`/echo` is of an application that says nothing, `/metrics` an error of nginx's own."""
    reply = edge.ask(path)
    assert {name: reply.all(name) for name in ONCE} == ONCE
    assert len(reply.all("X-Request-ID")) == 1
    assert reply.all("Strict-Transport-Security") == []


@pytest.mark.parametrize("request_bytes", [b"garbage\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"])
def test_even_what_is_no_request_is_answered_with_them(edge: Edge, request_bytes: bytes) -> None:
    reply = edge.exchange(request_bytes)
    assert reply.status == 400
    assert {name: reply.all(name) for name in ONCE} == ONCE


def test_the_applications_own_headers_win(edge: Edge) -> None:
    reply = edge.ask("/own-headers")
    assert {name: reply.all(name) for name in ONCE} == {name: ["own"] for name in ONCE}
    assert reply.all("X-Request-ID") == ["own-id-1"]
    assert reply.all("X-Trace-Id") == ["a" * 32]


def test_the_log_has_the_trace_that_the_application_began(edge: Edge) -> None:
    edge.ask("/own-headers", headers={"X-Request-ID": "trace-of-the-application"})
    assert edge.logged(request_id="trace-of-the-application")["trace_id"] == "a" * 32


def test_a_large_answer_is_compressed_for_who_asks(edge: Edge) -> None:
    plain = edge.ask("/large")
    small = edge.ask("/large", headers=GZIP)
    assert "Content-Encoding" not in plain.headers
    assert small.headers["Content-Encoding"] == "gzip"
    assert small.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert len(small.body) < len(plain.body) / 10


@pytest.mark.parametrize(
    "file_type", ["text/html", "text/javascript", "text/css", "image/svg+xml", "application/json"]
)
def test_every_text_of_a_page_is_compressed(edge: Edge, file_type: str) -> None:
    seen = edge.ask(f"/large?type={quote(file_type)}", headers=GZIP)
    assert seen.headers["Content-Encoding"] == "gzip", seen.headers["Content-Type"]


def test_what_was_compressed_is_not_sent_again_while_it_is_the_same(edge: Edge) -> None:
    """Compressing weakens the tag; it still stands for the same record."""
    tagged = edge.ask("/tagged", headers=GZIP)
    assert tagged.headers["Content-Encoding"] == "gzip"
    assert tagged.headers["ETag"] == 'W/"1"'
    again = edge.ask("/tagged", headers=GZIP | {"If-None-Match": 'W/"1"'})
    assert (again.status, again.body, again.all("ETag")) == (304, b"", ['"1"'])


def test_what_a_client_conditions_and_proves_reaches_the_application(edge: Edge) -> None:
    sent = {
        "Authorization": "Bearer a.b.c",
        "Cookie": "session=1",
        "Idempotency-Key": "key-1",
        "If-Match": '"1"',
        "If-None-Match": 'W/"1"',
        "Origin": "https://other.test",
    }
    seen = edge.ask("/echo", "POST", headers=sent).json()["headers"]
    assert seen.items() >= sent.items()


# ── Logs ─────────────────────────────────────────────────────────────────────────────────────────

HOSTILE = {
    "a backslash and quotes": (b'/a\\b"c"', b'x\\"y'),
    "an escaped newline": (b"/a%0ab%0d", b"x"),
    "control characters in a header": (b"/", b"a\x01\x02\tb\x1b[31m"),
    "bytes that are no UTF-8": (b"/\xff\xfe", b"\xc3\x28\xff"),
    "UTF-8": ("/é".encode(), "é".encode()),
    "JSON": (b'/","status":200,"x":"', b'"},{"'),
    "four KiB": (b"/" + b"\\" * 7000, b'"' * 8000),
}


@pytest.mark.parametrize(("path", "agent"), HOSTILE.values(), ids=HOSTILE)
def test_whatever_is_requested_the_log_gets_one_valid_line(
    edge: Edge, path: bytes, agent: bytes
) -> None:
    before = len(edge.log())
    edge.exchange(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"User-Agent: " + agent + b"\r\n\r\n")
    mark = f"marked-{time.monotonic_ns()}"
    edge.ask("/echo", headers={"X-Request-ID": mark})
    edge.logged(request_id=mark)
    assert len(edge.log()) == before + 2
    longest = max(map(len, docker("logs", edge.name).splitlines()))
    assert longest < 4096, "two workers' lines may be torn"


def test_a_log_line_says_what_happened(edge: Edge) -> None:
    headers = {"X-Request-ID": "log-contract", "User-Agent": "probe/1"}
    edge.ask("/slow?seconds=0.2&token=secret", "POST", headers, body=b"secret")
    line = edge.logged(request_id="log-contract")
    assert 200 <= line.pop("duration_ms") < 2000
    assert line.pop("timestamp")[10] == "T"
    assert len(line.pop("trace_id")) == 32
    assert line.pop("client").count(".") == 3
    assert float(line.pop("upstream_seconds")) >= 0.2
    assert line.pop("bytes_in") > 0
    assert line.pop("bytes_out") > 0
    assert line == {
        "level": "info",
        "event": "request",
        "logger": "nginx.access",
        "request_id": "log-contract",
        "method": "POST",
        "span_id": "",
        "route": "",
        "path": "/slow",
        "status": 200,
        "scheme": "http",
        "protocol": "HTTP/1.1",
        "host": "slipway.test",
        "user_agent": "probe/1",
        "upstream_status": "200",
    }


def ask_routed(edge: Edge, route: bytes, span_id: str, mark: str) -> Reply:
    """An answer whose route and span gunicorn tells."""
    query = f"route={quote(route)}&span_id={quote(span_id)}"
    return edge.ask(f"/routed?{query}", headers={"X-Request-ID": mark})


def test_the_route_and_the_span_are_told_to_the_log_and_to_no_client(edge: Edge) -> None:
    reply = ask_routed(edge, b"/api/users/<id:user_id>", SPAN, "told-by-gunicorn")
    assert reply.status == 200, reply.body
    assert reply.all("X-Route") == reply.all("X-Span-Id") == []
    line = edge.logged(request_id="told-by-gunicorn")
    assert (line["route"], line["span_id"]) == ("/api/users/<id:user_id>", SPAN)


@pytest.mark.parametrize("path", ["/echo", "/metrics"])
def test_a_client_tells_the_log_neither(edge: Edge, path: str) -> None:
    """`/echo` is of an application that does not tell them, `/metrics` an error of nginx's own."""
    mark = f"told-by-a-client-{path[1:]}"
    edge.ask(path, headers={"X-Route": "/forged", "X-Span-Id": SPAN, "X-Request-ID": mark})
    line = edge.logged(request_id=mark)
    assert (line["route"], line["span_id"]) == ("", "")


ODD_ROUTES = {
    "a pattern": (b'/<re("\\d+"):x>', '/<re("\\d+"):x>'),
    "JSON": (b'","status":200,"x":"', '","status":200,"x":"'),
    "UTF-8": ("/größe".encode(), "/gr"),
    "bytes that are no UTF-8": (b"/\xc3\x28\xff", "/"),
    "two KiB": (b"\\" * 2048, "\\" * 200),
}


@pytest.mark.parametrize(("told", "logged"), ODD_ROUTES.values(), ids=ODD_ROUTES)
def test_an_odd_route_or_span_leaves_the_line_whole(edge: Edge, told: bytes, logged: str) -> None:
    mark = f"odd-{time.monotonic_ns()}"
    assert ask_routed(edge, told, f'{SPAN}"', mark).status == 200
    line = edge.logged(request_id=mark)
    assert (line["route"], line["span_id"], line["path"]) == (logged, "", "/routed")


def test_the_longest_line_is_shorter_than_four_kib(edge: Edge) -> None:
    """Of what JSON escapes, as much in every field as is let in."""
    mark = f"longest-{time.monotonic_ns()}".ljust(64, "x")
    headers = {"Host": "h" * 255, "User-Agent": '"' * 500, "X-Request-ID": mark}
    query = f"route={quote(chr(92) * 300)}&span_id={SPAN}"
    reply = edge.ask("/routed" + "\\" * 1100 + f"?{query}", headers=headers)
    assert reply.status == 200, reply.body
    line = edge.logged(request_id=mark)
    assert [len(line[name]) for name in ("path", "route", "user_agent")] == [1024, 200, 256]
    # A longer address and the times of more attempts take up to 250 bytes more.
    assert max(map(len, docker("logs", edge.name).splitlines())) < 4096 - 250


def test_the_log_keeps_the_method_of_a_refused_request(edge: Edge) -> None:
    edge.ask("/metrics", "DELETE", {"X-Request-ID": "refused-delete"})
    line = edge.logged(request_id="refused-delete")
    assert (line["method"], line["path"], line["status"]) == ("DELETE", "/metrics", 404)


# ── Slow clients ─────────────────────────────────────────────────────────────────────────────────


def test_slow_clients_hold_no_thread_of_gunicorn(edge: Edge) -> None:
    """Forty of them send all but the last byte; gunicorn has eight threads."""
    head = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\n"
    slow = [edge.connect() for _ in range(40)]
    try:
        for connection in slow:
            connection.sendall(head + b"123456789")
        started = time.monotonic()
        assert edge.ask("/echo").status == 200
        assert time.monotonic() - started < 5
        for connection in slow:
            connection.sendall(b"0")
        assert {read_reply(connection).json()["body_bytes"] for connection in slow} == {10}
    finally:
        for connection in slow:
            connection.close()


def test_a_client_that_stalls_is_hung_up_on(edge: Edge) -> None:
    with edge.connect() as in_header, edge.connect() as in_body:
        in_header.sendall(b"GET / HTTP/1.1\r\n")
        in_body.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\n1")
        for connection in (in_header, in_body):
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""


# ── gunicorn dies ────────────────────────────────────────────────────────────────────────────────


def test_killed_workers_cost_no_request_that_may_be_repeated(
    mortal: Gunicorn, tmp_path: Path
) -> None:
    with running_edge(mortal.name, tmp_path) as edge, Load(edge) as load:
        for _ in range(5):
            mortal.kill_workers()
            load.more(200)
    assert load.failures == [], f"{len(load.failures)} of {load.made}, first: {load.failures[0]}"
    print(f"killed workers: {load.made} requests, 0 failed, slowest {load.slowest:.2f} s")


def test_without_the_repetition_killed_workers_are_noticed(
    mortal: Gunicorn, tmp_path: Path
) -> None:
    """That the load of the test above can fail."""
    conf = CONF.replace("proxy_next_upstream error timeout;", "proxy_next_upstream off;")
    conf = conf.replace("error_page 502 = @wait;", "error_page 502 /_problem;")
    with running_edge(mortal.name, tmp_path, conf=conf) as edge, Load(edge) as load:
        for _ in range(5):
            mortal.kill_workers()
            load.more(200)
    assert load.failures


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_requests_wait_while_gunicorn_restarts(
    mortal: Gunicorn, tmp_path: Path, method: str
) -> None:
    """Those that were under way are another matter: a POST of these is lost, so here none is."""
    with running_edge(mortal.name, tmp_path) as edge:
        mortal.kill()
        with edge.connect() as connection:
            request = f"{method} /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
            connection.sendall(request.encode())
            eventually(lambda: "connect() to unix" in edge.errors(), "a first attempt")
            mortal.restart()
            reply = read_reply(connection, method)
        assert reply.status == 200, reply.body
        assert reply.json()["method"] == method
        assert reply.json()["body_bytes"] == 5
        line = edge.logged(path="/echo")
        assert line["status"] == 200
        assert "502" in line["upstream_status"]


def test_a_restart_of_gunicorn_under_load_costs_no_request_that_may_be_repeated(
    mortal: Gunicorn, tmp_path: Path
) -> None:
    with running_edge(mortal.name, tmp_path) as edge, Load(edge) as load:
        mortal.kill()
        mortal.restart()
        load.more(500)
    assert load.failures == [], f"{len(load.failures)} of {load.made}, first: {load.failures[0]}"
    print(f"restart: {load.made} requests, 0 failed, slowest {load.slowest:.2f} s")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_gunicorn_the_answer_is_503_after_a_bounded_wait(
    mortal: Gunicorn, tmp_path: Path, method: str
) -> None:
    with running_edge(mortal.name, tmp_path) as edge:
        mortal.kill()
        started = time.monotonic()
        reply = edge.ask("/echo", method, {"X-Request-ID": "gunicorn-away"})
        assert time.monotonic() - started < 16
        problem(reply, 503)
        assert reply.all("Retry-After") == ["2"]
        assert edge.logged(request_id="gunicorn-away")["level"] == "error"
        assert edge.ask("/nginx-health", port=8081).status == 200


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_may_not_be_repeated_is_sent_once(
    mortal: Gunicorn, tmp_path: Path, method: str
) -> None:
    with running_edge(mortal.name, tmp_path) as edge:
        assert edge.ask("/echo", "PUT").status == 200
        problem(edge.ask("/die", method, body=b"x"), 502)
        assert mortal.deaths() == [method]


def test_what_may_not_be_repeated_never_meets_a_connection_that_gunicorn_closed(
    mortal: Gunicorn, tmp_path: Path
) -> None:
    """nginx is stopped meanwhile, so that it finds request and closed connections at once."""
    with running_edge(mortal.name, tmp_path) as edge, edge.connect() as connection:
        connection.sendall(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
        assert read_reply(connection).status == 200
        edge.signal_workers("STOP")
        connection.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx")
        mortal.kill_workers()
        edge.signal_workers("CONT")
        reply = read_reply(connection)
        assert reply.status == 200, reply.body
        assert edge.logged(method="POST")["upstream_status"] == "200"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_what_may_be_repeated_is_answered_by_another_worker(
    mortal: Gunicorn, tmp_path: Path, method: str
) -> None:
    with running_edge(mortal.name, tmp_path) as edge:
        reply = edge.ask("/die?times=1", method, body=b"again")
        assert (reply.status, reply.json()["body_bytes"]) == (200, 5)
        assert edge.logged(path="/die")["upstream_status"] == "502, 200", "without a pause"
        assert mortal.deaths() == [method, method]


def test_a_request_that_kills_every_worker_is_given_up(mortal: Gunicorn, tmp_path: Path) -> None:
    with running_edge(mortal.name, tmp_path) as edge:
        problem(edge.ask("/die"), 502)
        assert len(mortal.deaths()) <= 6


# ── Draining ─────────────────────────────────────────────────────────────────────────────────────


def quit_gracefully(edge: Edge) -> None:
    docker("kill", "--signal", "QUIT", edge.name)


def wait_for_the_end(edge: Edge) -> None:
    """And that it is no crash."""
    status = subprocess.run(
        ["docker", "wait", edge.name], capture_output=True, text=True, timeout=35, check=True
    )
    assert status.stdout.strip() == "0"


def test_clients_that_keep_connections_lose_nothing_when_nginx_drains(
    gunicorn: Gunicorn, tmp_path: Path
) -> None:
    with running_edge(gunicorn.name, tmp_path) as edge:
        idle = edge.connect()
        idle.sendall(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
        assert read_reply(idle).status == 200
        with edge.connect() as slow, Load(edge, pause=0.02) as load:
            slow.sendall(b"GET /slow?seconds=3 HTTP/1.1\r\n" + HOST + b"\r\n")
            load.draining = True
            quit_gracefully(edge)
            # A client that was idle then, and sends only once nginx no longer listens.
            eventually(lambda: not edge.listens(), "a closed port")
            idle.sendall(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
            late = read_reply(idle)
            assert (late.status, late.headers["Connection"]) == (200, "close")
            assert read_reply(slow).status == 200
            eventually(load.finished, "every client being told to close")
        idle.close()
        assert load.failures == [], f"{len(load.failures)} of {load.made}: {load.failures[0]}"
        wait_for_the_end(edge)


def test_draining_ends_although_a_client_does_not(gunicorn: Gunicorn, tmp_path: Path) -> None:
    conf = CONF.replace("worker_shutdown_timeout 30s;", "worker_shutdown_timeout 1s;")
    with running_edge(gunicorn.name, tmp_path, conf=conf) as edge, edge.connect() as connection:
        connection.sendall(b"GET /slow?seconds=25 HTTP/1.1\r\n" + HOST + b"\r\n")
        edge.ask("/echo")
        started = time.monotonic()
        quit_gracefully(edge)
        wait_for_the_end(edge)
        assert time.monotonic() - started < 15
        assert edge.logged(path="/slow")["method"] == "GET"


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────


def make_certificate(directory: Path, name: str) -> None:
    directory.chmod(0o755)
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    command += ["-keyout", str(directory / "tls.key"), "-out", str(directory / "tls.crt")]
    subprocess.run(command, capture_output=True, check=True)
    (directory / "tls.key").chmod(0o644)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    make_certificate(directory, "slipway.test")
    return directory


@pytest.fixture(scope="module")
def tls_edge(
    gunicorn: Gunicorn, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Edge]:
    snippets = {
        "server-tls.conf": "listen 8443 ssl;\n",
        "location-redirect.conf": "if ($insecure) { return 308 https://$host$request_uri; }\n",
        "server-body.conf": "client_max_body_size 2000;\n",
    }
    directory = tmp_path_factory.mktemp("nginx-tls")
    with running_edge(gunicorn.name, directory, snippets, tls=certificates) as edge:
        yield edge


def test_https_is_served_and_only_https_asks_to_stay(tls_edge: Edge) -> None:
    reply = tls_edge.ask("/echo", port=8443)
    assert reply.json()["scheme"] == "https"
    assert reply.json()["headers"]["X-Forwarded-Proto"] == "https"
    assert reply.all("Strict-Transport-Security") == [TRANSPORT_SECURITY]
    assert tls_edge.ask("/own-headers", port=8443).all("Strict-Transport-Security") == ["own"]
    for path in ("/echo", "/metrics"):
        assert tls_edge.ask(path).all("Strict-Transport-Security") == []


def test_an_error_of_nginx_under_https_asks_to_stay_too(tls_edge: Edge) -> None:
    seen = tls_edge.ask("/metrics", port=8443).all("Strict-Transport-Security")
    assert seen == [TRANSPORT_SECURITY]


def test_http_is_redirected_with_path_and_query(tls_edge: Edge) -> None:
    reply = tls_edge.ask("/a%2Fb?x=1&y=%0a", "POST", {"Host": "slipway.test:30080"})
    assert reply.status == 308
    assert reply.headers["Location"] == "https://slipway.test/a%2Fb?x=1&y=%0a"


@pytest.mark.parametrize("host", ['evil"', "<evil>", "a/b", "a\\@b", "a?b", "a'b", "a;b", "a%22b"])
def test_a_garbage_host_is_not_redirected_to(tls_edge: Edge, host: str) -> None:
    problem(tls_edge.ask("/", headers={"Host": host}), 400)


def test_errors_are_problems_and_not_redirects_when_http_is_redirected(tls_edge: Edge) -> None:
    problem(tls_edge.ask("/metrics"), 404)
    problem(tls_edge.exchange(b"garbage\r\n\r\n"), 400)
    problem(tls_edge.ask("/metrics", port=8443), 404)


def test_plain_http_on_the_tls_port_is_a_problem(tls_edge: Edge) -> None:
    problem(tls_edge.exchange(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n", port=8443), 400)


def test_the_body_limit_can_be_set(tls_edge: Edge) -> None:
    assert tls_edge.ask("/echo", "POST", body=b"a" * 2000, port=8443).status == 200
    problem(tls_edge.ask("/echo", "POST", body=b"a" * 2001, port=8443), 413)


def test_http_2_is_offered_over_tls(tls_edge: Edge) -> None:
    with tls_edge.connect_tls(trusting("h2")) as connection:
        assert connection.selected_alpn_protocol() == "h2"


@pytest.mark.parametrize(
    ("path", "curl", "status"),
    [
        ("/echo", ("--data", "a" * 2001), 413),
        ("/" + "a" * 9000, (), 414),
        ("/echo", ("--header", "Host: a'b"), 400),
        ("/echo", ("--request", "TRACE"), 405),
        ("/metrics", ("--request", "DELETE"), 404),
    ],
    ids=["body", "address", "host", "method", "hidden"],
)
def test_an_error_over_http_2_is_a_problem_document(
    tls_edge: Edge, path: str, curl: tuple[str, ...], status: int
) -> None:
    assert tls_edge.ask_http_2(path, *curl) == (status, "application/problem+json")


def test_a_header_over_http_2_may_be_larger(tls_edge: Edge) -> None:
    cookie = ("--header", "Cookie: " + "a" * 12_000)
    assert tls_edge.ask_http_2("/echo", *cookie) == (200, "application/json")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_tls_is_spoken(tls_edge: Edge, version: ssl.TLSVersion) -> None:
    context = trusting()
    context.minimum_version = context.maximum_version = version
    with tls_edge.connect_tls(context) as connection:
        connection.sendall(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
        assert read_reply(connection).status == 200


def test_no_session_ticket_outlives_its_key(tls_edge: Edge) -> None:
    """Under TLS 1.3 what is called a ticket is a key of nginx's cache; 1.2 shows the difference."""
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with tls_edge.connect_tls(context) as connection:
        assert connection.session is not None
        assert not connection.session.has_ticket


def test_outdated_tls_is_refused(tls_edge: Edge) -> None:
    context = trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        tls_edge.connect_tls(context)


def test_a_renewed_certificate_is_served_without_a_reload(
    tls_edge: Edge, certificates: Path
) -> None:
    def served() -> bytes:
        with tls_edge.connect_tls() as connection:
            certificate = connection.getpeercert(binary_form=True)
            assert certificate is not None
            return certificate

    before = served()
    make_certificate(certificates, "slipway.test")
    eventually(lambda: served() != before, "the new certificate", seconds=20)

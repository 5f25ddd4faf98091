"""Gunicorn's threads: they stay with who asks on, not with who has nothing to ask."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from answers import until
from serving import Server, serving


@contextmanager
def connected(server: Server) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        yield connection
    finally:
        connection.close()


def ask(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", "/ping")
    response = connection.getresponse()
    assert response.status == 200
    response.read()
    return response.headers["X-Trace-Id"]


def logged(server: Server) -> list[str]:
    lines = (json.loads(line) for line in server.log.read_text().splitlines() if line[:1] == "{")
    return [line["trace_id"] for line in lines if line["logger"] == "gunicorn.access"]


def test_one_thread_serves_a_second_client_while_the_first_asks_on(
    tmp_path: Path, migrated_url: str
) -> None:
    with serving(tmp_path, migrated_url, WEB_THREADS="1") as server, ExitStack() as stack:
        over = threading.Event()
        asked = 0

        def ask_on() -> None:
            nonlocal asked
            with connected(server) as busy:
                while not over.is_set():
                    ask(busy)
                    asked += 1

        thread = threading.Thread(target=ask_on)
        thread.start()
        try:
            until(lambda: asked > 100, server.log.read_text)
            # Idle connections keep no thread either.
            others = [stack.enter_context(connected(server)) for _ in range(3)]
            assert len({ask(other) for other in others * 20}) == 60
        finally:
            over.set()
            thread.join()


def test_every_line_of_a_burst_is_written_once_and_soon(tmp_path: Path, migrated_url: str) -> None:
    with serving(tmp_path, migrated_url) as server:
        names: list[str] = []

        def burst() -> None:
            with connected(server) as connection:
                names.extend([ask(connection) for _ in range(100)])

        threads = [threading.Thread(target=burst) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(names) == 400
        # Although nothing comes after them.
        until(lambda: sorted(logged(server)) == sorted(names), server.log.read_text)


def test_a_connection_that_is_kept_ends_with_the_server(tmp_path: Path, migrated_url: str) -> None:
    with serving(tmp_path, migrated_url) as server, connected(server) as connection:
        first = ask(connection)
        assert server.stop() == 0
        assert logged(server) == [first]

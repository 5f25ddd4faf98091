"""Ports of this machine, and single requests to them."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable

from deploy.shell import Failure

# How long a server may take until it serves, seconds.
PATIENCE = 60


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def ask(
    url: str, method: str, path: str, body: str | None = None, token: str | None = None
) -> bytes:
    """What is answered, by a connection of its own. Raises Failure for anything but a 200."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    headers = {"Connection": "close", "Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise Failure(f"{url}: {method} {path} is {response.status}: {answer[:200]!r}")
    return answer


def until_it_listens(host: str, port: int, last_words: Callable[[], str]) -> None:
    """Raises Failure, with the server's `last_words`, when it does not come to that."""
    _until(
        lambda: socket.create_connection((host, port), timeout=1).close(),
        f"does not listen on {host}:{port}",
        last_words,
    )


def until_it_answers(url: str, path: str, last_words: Callable[[], str]) -> None:
    """Like `until_it_listens`, for a server that listens before its workers serve."""
    _until(lambda: ask(url, "GET", path), f"does not answer {url}{path}", last_words)


def _until(attempt: Callable[[], object], what: str, last_words: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            attempt()
        except (OSError, http.client.HTTPException, Failure):
            if time.monotonic() > deadline:
                raise Failure(f"{what} within {PATIENCE} s; {last_words()}") from None
            time.sleep(0.1)
        else:
            return

"""Clients that notice: each request is sent once, and whatever is not the right answer is told.

Some keep their connection, as a proxy or a browser does; some open one a request, as a probe or a
script does. They ask, think for a moment and ask again until the block ends:

    with Load(port, token) as load:
        delete_a_pod()
    assert load.failures == []

They are all one admin, by an access token that has to outlive the block.
"""

import http.client
import itertools
import json
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Self

KEEPING, OPENING = 8, 4
THINK_SECONDS = 0.03
TIMEOUT_SECONDS = 15
# Served undisturbed, before and after what the block does.
MARGIN_SECONDS = 3


@dataclass(frozen=True)
class Failure:
    """A request that did not get its answer."""

    at: float
    client: str
    request: str
    seen: str

    def __str__(self) -> str:
        return f"{self.at:.2f} s: {self.client} {self.request}: {self.seen}"


class Client(threading.Thread):
    """One after the other: list, create, read, delete; or reading alone."""

    def __init__(self, load: "Load", number: int, keeps: bool) -> None:
        super().__init__(name=f"{'keeping' if keeps else 'opening'}-{number}", daemon=True)
        self.load, self.keeps = load, keeps
        self.requests, self.failures = 0, list[Failure]()
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        for turn in itertools.count():
            if self.load.ending.is_set():
                break
            if self.load.writes and turn % 3 == 0:
                self._create_read_delete(turn)
            else:
                self._ask("GET", "/api/users?limit=5", 200)
        self._close()

    def _create_read_delete(self, turn: int) -> None:
        user = {"name": "Load", "email": f"{self.load.run}.{self.name}.{turn}@example.com"}
        body = self._ask("POST", "/api/users", 201, json.dumps(user))
        if body:
            path = f"/api/users/{json.loads(body)['id']}"
            self._ask("GET", path, 200)
            self._ask("DELETE", path, 204)

    def _ask(self, method: str, path: str, wanted: int, body: str | None = None) -> bytes:
        """The body of the right answer; nothing, and a failure, for any other."""
        self.requests += 1
        try:
            status, answer = self._exchange(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self._fail(f"{method} {path}", f"{type(error).__name__}: {error}")
            answer = b""
        else:
            if status != wanted:
                self._fail(f"{method} {path}", f"{status} {answer[:200]!r}")
                answer = b""
        self.load.ending.wait(THINK_SECONDS)
        return answer

    def _exchange(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                "127.0.0.1", self.load.port, timeout=TIMEOUT_SECONDS
            )
        headers = {"Authorization": f"Bearer {self.load.token}"}
        if not self.keeps:
            headers["Connection"] = "close"
        if body:
            headers["Content-Type"] = "application/json"
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        answer = response.read()
        if not self.keeps:
            self._close()
        return response.status, answer

    def _fail(self, request: str, seen: str) -> None:
        at = time.monotonic() - self.load.began
        self.failures.append(Failure(at, self.name, request, seen))
        self._close()

    def _close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None


class Load:
    """The clients, for the length of a block."""

    def __init__(self, port: int, token: str, *, writes: bool = True) -> None:
        self.port, self.token, self.writes = port, token, writes
        self.run = os.urandom(4).hex()
        self.ending = threading.Event()
        self.began = 0.0
        self.clients = [Client(self, n, keeps=n < KEEPING) for n in range(KEEPING + OPENING)]

    def __enter__(self) -> Self:
        self.began = time.monotonic()
        for client in self.clients:
            client.start()
        self.ending.wait(MARGIN_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.ending.wait(MARGIN_SECONDS)
        self.ending.set()
        for client in self.clients:
            client.join(2 * TIMEOUT_SECONDS)

    @property
    def requests(self) -> int:
        return sum(client.requests for client in self.clients)

    @property
    def failures(self) -> list[Failure]:
        found = (failure for client in self.clients for failure in client.failures)
        return sorted(found, key=lambda failure: failure.at)

    def __str__(self) -> str:
        kinds = Counter(failure.client.split("-")[0] for failure in self.failures)
        split = "".join(f", {count} of {kind} clients" for kind, count in sorted(kinds.items()))
        return f"{self.requests:,} requests, {len(self.failures)} failed{split}"

"""Faults on purpose, to try what alerts, runbooks and clients make of them.

Without FAULTS_TOKEN there are none, and nothing looks for any. With it, the operations port starts
and ends them (`fault_control`), for all processes of this server: they share one file, at which
each looks before it answers, so that it takes no dependency that a drill may have taken away.

Each process draws a number of `Random(seed)` for each request of the route, and affects the request
when that falls below the percentage: with the same seed, a process decides the same for its first
request since the start, its second and so on. A process that begins later begins its sequence anew.
"""

import fcntl
import logging
import os
import secrets
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Annotated, Literal

from flask import Flask, Response, after_this_request, request
from opentelemetry import trace
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    field_validator,
)

from slipway.problems import problem
from slipway.settings import Settings
from slipway.telemetry import logs

EVERY_ROUTE = "*"
STATUSES = sorted(status for status in HTTPStatus if status >= 500)
HEADER = "Slipway-Fault"

logger = logging.getLogger(__name__)


class _Fault(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    # A URL rule, as the metrics name it, or `*`.
    route: str
    # Of its requests.
    percent: float = Field(ge=0, le=100)
    # How long it lasts.
    seconds: float = Field(gt=0, le=3600)
    seed: int = Field(ge=0, lt=2**32, default_factory=lambda: secrets.randbelow(2**32))

    @field_validator("route")
    @classmethod
    def _is_there(cls, value: str, info: ValidationInfo) -> str:
        routes = (info.context or {}).get("routes", [value])
        if value not in routes:
            raise ValueError(f"should be one of {' '.join(sorted(routes))}")
        return value


class Error(_Fault):
    """The request is answered with `status`, and its view never runs."""

    kind: Literal["error"]
    status: int = 500

    @field_validator("status")
    @classmethod
    def _is_known(cls, value: int) -> int:
        if value not in STATUSES:
            raise ValueError(f"should be one of {', '.join(map(str, map(int, STATUSES)))}")
        return value


class Latency(_Fault):
    """The request's thread waits before its view runs."""

    kind: Literal["latency"]
    milliseconds: int = Field(ge=1, le=10_000)


Fault = Annotated[Error | Latency, Field(discriminator="kind")]
_FAULT: TypeAdapter[Error | Latency] = TypeAdapter(Fault)


class Running(BaseModel):
    """A fault that was started, and the moment of its end on the clock that processes share."""

    model_config = ConfigDict(frozen=True)

    fault: Fault
    until: float

    def __str__(self) -> str:
        fault = self.fault
        what = f"{fault.status}" if isinstance(fault, Error) else f"{fault.milliseconds} ms"
        return f"{fault.kind} {what} on {fault.percent:g} % of {fault.route}, seed {fault.seed}"


_FILE: TypeAdapter[list[Running]] = TypeAdapter(list[Running])


def parse(body: bytes, routes: Collection[str]) -> Error | Latency:
    """The fault that a JSON object describes. Raises pydantic's ValidationError."""
    return _FAULT.validate_json(body, context={"routes": {*routes, EVERY_ROUTE}})


class Faults:
    """Those of this server, as one of its processes sees them."""

    def __init__(self, path: Path) -> None:
        """`path` is the same for all processes, in a directory that nobody else can write."""
        path.touch()
        self._path = path
        self._name = str(path)
        self._reading = threading.Lock()
        self._version: tuple[int, int] | None = None
        self._drawing: list[tuple[Running, Random]] = []

    def start(self, fault: Error | Latency, by: str) -> None:
        """In place of one of the same kind on the same route."""
        new = Running(fault=fault, until=time.monotonic() + fault.seconds)
        same = (fault.route, fault.kind)
        with self._changing() as running:
            running[:] = [one for one in running if (one.fault.route, one.fault.kind) != same]
            running.append(new)
        logger.warning("fault started: %s, for %g s, by %s", new, fault.seconds, by)

    def stop(self, by: str) -> None:
        with self._changing() as running:
            stopped = running[:]
            running.clear()
        for one in stopped:
            logger.warning("fault ended: %s, by %s", one, by)

    def running(self) -> list[Running]:
        return [one for one, _ in self.lasting()]

    def lasting(self) -> list[tuple[Running, Random]]:
        """Those that run, each with what decides for its next request."""
        drawing = self._current()
        if not drawing:
            return drawing
        now = time.monotonic()
        lasting = [pair for pair in drawing if pair[0].until > now]
        if len(lasting) < len(drawing):
            # Whoever notices first tells of the end; a full disk must not end the request too.
            with suppress(OSError), self._changing():
                pass
        return lasting

    def _current(self) -> list[tuple[Running, Random]]:
        """What the file says, read again when it is another one."""
        try:
            # For every request: a Path would take as long again.
            found = os.stat(self._name)  # noqa: PTH116
            version = (found.st_ino, found.st_mtime_ns)
            if version != self._version:
                with self._reading:
                    # What runs on goes on in its sequence.
                    known = dict(self._drawing)
                    self._drawing = [
                        (one, known.get(one) or Random(one.fault.seed))  # noqa: S311
                        for one in self._read()
                    ]
                    self._version = version
        except OSError:
            return []
        return self._drawing

    def _read(self) -> list[Running]:
        return _FILE.validate_json(self._path.read_bytes() or b"[]")

    @contextmanager
    def _changing(self) -> Iterator[list[Running]]:
        """All that last, to be changed by one thread of one process at a time."""
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            before, now = self._read(), time.monotonic()
            running = [one for one in before if one.until > now]
            over = [one for one in before if one.until <= now]
            yield running
            new = self._path.with_suffix(".new")
            new.write_bytes(_FILE.dump_json(running))
            new.replace(self._path)
        finally:
            os.close(directory)
        for one in over:
            logger.warning("fault ended: %s, its time is over", one)


class Active(Collector):
    """Percent of a route's requests that are affected, as Prometheus reads it; nothing of none."""

    def __init__(self, app: Flask) -> None:
        self._faults: Faults | None = app.extensions.get("faults")

    def collect(self) -> Iterator[GaugeMetricFamily]:
        running = self._faults.running() if self._faults else []
        if running:
            gauge = GaugeMetricFamily(
                "slipway_fault_active",
                "Percent of a route's requests that a fault on purpose affects",
                labels=["route", "kind"],
            )
            for one in running:
                gauge.add_metric([one.fault.route, one.fault.kind], one.fault.percent)
            yield gauge


def _inject(faults: Faults) -> Response | None:
    """Fail or hold the current request, if a fault hits it."""
    if not (lasting := faults.lasting()):
        return None
    routes = (EVERY_ROUTE, request.url_rule.rule if request.url_rule else EVERY_ROUTE)
    hits = [
        one.fault
        for one, draws in lasting
        if one.fault.route in routes and draws.random() * 100 < one.fault.percent
    ]
    if not hits:
        return None
    kinds = ", ".join(sorted({fault.kind for fault in hits}))
    request.environ[logs.FAULT] = kinds
    trace.get_current_span().set_attribute(logs.FAULT, kinds)

    @after_this_request
    def tell(response: Response) -> Response:
        response.headers[HEADER] = kinds
        return response

    for fault in hits:
        if isinstance(fault, Latency):
            time.sleep(fault.milliseconds / 1000)
    for fault in hits:
        if isinstance(fault, Error):
            return problem(fault.status, "This error was injected on purpose, to try what it does.")
    return None


def install(app: Flask, directory: Path) -> None:
    """Let faults be injected into the requests of `app`, if there is a token that allows it.

    Before it serves, and after all else that looks at a request before its view: what that counts,
    measures and refuses stays as it is.
    """
    settings: Settings = app.config["SETTINGS"]
    if settings.faults_token is None:
        return
    faults = app.extensions["faults"] = Faults(directory / "faults.json")
    app.before_request(partial(_inject, faults))

"""A collector of spans, which keeps what it is sent."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from answers import until
from containers import ROOT, running

CONFIGURATION = {
    "receivers": {"otlp": {"protocols": {"http": {"endpoint": "0.0.0.0:4318"}}}},
    "exporters": {"file": {"path": "/spans/spans.json", "flush_interval": "100ms"}},
    "service": {"pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}}},
}
SERVER, PRODUCER, CONSUMER = 2, 4, 5
LAST = "last"


@dataclass(frozen=True)
class Span:
    name: str
    kind: int
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    resource: dict[str, Any]


def _values(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in attributes}


class Collector:
    def __init__(self, endpoint: str, path: Path) -> None:
        self.endpoint, self._path = endpoint, path

    def text(self) -> str:
        """All that came, as it was written down."""
        return self._path.read_text() if self._path.exists() else ""

    def _lines(self) -> list[str]:
        """The whole ones: the last may be half written."""
        return self.text().rpartition("\n")[0].splitlines()

    def spans(self) -> list[Span]:
        return [
            Span(
                span["name"],
                span["kind"],
                span["traceId"],
                span["spanId"],
                span.get("parentSpanId", ""),
                _values(span.get("attributes", [])),
                _values(batch["resource"].get("attributes", [])),
            )
            for line in self._lines()
            for batch in json.loads(line)["resourceSpans"]
            for scope in batch["scopeSpans"]
            for span in scope["spans"]
            if span["name"] != LAST
        ]

    def caught_up(self) -> None:
        """Return once all that it has been sent is written down."""
        last = {"traceId": secrets.token_hex(16), "spanId": secrets.token_hex(8), "name": LAST}
        scopes = [{"spans": [{**last, "kind": 1}]}]
        body = {"resourceSpans": [{"resource": {}, "scopeSpans": scopes}]}
        httpx.post(f"{self.endpoint}/v1/traces", json=body).raise_for_status()
        until(lambda: any(last["spanId"] in line for line in self._lines()), self.text)

    def trace(self, name: str) -> list[Span]:
        return [span for span in self.spans() if span.trace == name]


@contextmanager
def collector(folder: Path) -> Iterator[Collector]:
    """A real one, from the image that the chart takes."""
    image = yaml.safe_load((ROOT / "helm/observability/values.yaml").read_text())
    image = image["collector"]["image"]
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "configuration.yaml").write_text(yaml.safe_dump(CONFIGURATION))
    options = ["--volume", f"{folder}:/spans"]
    options += ["--volume", f"{folder}/configuration.yaml:/etc/otelcol-contrib/config.yaml:ro"]
    with running(f"{image['repository']}:{image['tag']}", 4318, options=options) as (port,):
        one = Collector(f"http://127.0.0.1:{port}", folder / "spans.json")
        until(lambda: _answers(port), lambda: f"no collector answers on port {port}")
        yield one


def _answers(port: int) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.post(f"http://127.0.0.1:{port}/v1/traces", json={}).status_code == 200
    return False

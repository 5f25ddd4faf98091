"""What the tests put behind nginx: says what reached it, and dies when asked to."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

SEEN = Path("/run/slipway/seen")
TAG = '"1"'
OWN = (
    "Cache-Control Content-Security-Policy Cross-Origin-Embedder-Policy Cross-Origin-Opener-Policy"
    " Cross-Origin-Resource-Policy Permissions-Policy Referrer-Policy Strict-Transport-Security"
    " X-Content-Type-Options X-DNS-Prefetch-Control X-Frame-Options"
    " X-Permitted-Cross-Domain-Policies"
)

Environ = dict[str, Any]


def application(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """`/die` kills its worker; `/die?times=n` only for the first n requests."""
    # Bytes of a query become the same bytes of a header.
    query = parse_qs(environ["QUERY_STRING"], encoding="latin-1")
    body = environ["wsgi.input"].read()
    headers = [("Content-Type", "application/json")]
    match environ["PATH_INFO"]:
        case "/die":
            with SEEN.open("a") as seen:
                seen.write(environ["REQUEST_METHOD"] + "\n")
            if len(SEEN.read_text().split()) <= int(query.get("times", ["99"])[0]):
                os.kill(os.getpid(), signal.SIGKILL)
        case "/slow":
            time.sleep(float(query["seconds"][0]))
        case "/own-headers":
            headers += [(name, "own") for name in OWN.split()]
            headers += [("X-Request-ID", "own-id-1"), ("X-Trace-Id", "a" * 32)]
        case path if path.startswith("/routed"):
            headers += [("X-Route", query["route"][0]), ("X-Span-Id", query["span_id"][0])]
        case "/empty":
            start_response("200 OK", [("Content-Length", "0")])
            return []
        case "/large":
            headers = [("Content-Type", query.get("type", ["application/json"])[0])]
            start_response("200 OK", headers)
            return [json.dumps(["slipway"] * 10_000).encode()]
        case "/tagged" if environ.get("HTTP_IF_NONE_MATCH", "").removeprefix("W/") == TAG:
            start_response("304 Not Modified", [("ETag", TAG)])
            return []
        case "/tagged":
            start_response("200 OK", [*headers, ("ETag", TAG)])
            return [json.dumps(["slipway"] * 10_000).encode()]
    answer = {
        "headers": {
            name[5:].replace("_", "-").title(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        },
        "method": environ["REQUEST_METHOD"],
        "scheme": environ["wsgi.url_scheme"],
        "uri": environ["RAW_URI"],
        "body_bytes": len(body),
        "worker": os.getpid(),
    }
    start_response("200 OK", headers)
    return [json.dumps(answer).encode()]

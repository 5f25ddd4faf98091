"""One id for a request, the same in the answer, in a problem document and for the next service.

It is the trace id of an incoming W3C `traceparent` (https://www.w3.org/TR/trace-context/), or new.
"""

import re
import secrets

from flask import Flask, Response, g, request

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def trace_id() -> str:
    """The trace id of the current request: 32 hexadecimal digits."""
    if "trace_id" not in g:
        match = _TRACEPARENT.match(request.headers.get("traceparent", ""))
        g.trace_id = match[1] if match else secrets.token_hex(16)
    return str(g.trace_id)


def _in_header(response: Response) -> Response:
    response.headers["X-Trace-Id"] = trace_id()
    return response


def init_app(app: Flask) -> None:
    app.after_request(_in_header)

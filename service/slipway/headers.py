"""Security headers, on every answer, once each; and who else's pages may call the API (CORS).

The values follow the OWASP Secure Headers Project: https://owasp.org/www-project-secure-headers/
"""

import re
import secrets
from collections.abc import Iterable
from typing import Any

from flask import Flask, g, request
from flask_cors import CORS

from slipway.settings import Settings

_FEATURES = (
    "accelerometer autoplay camera clipboard-read clipboard-write cross-origin-isolated"
    " display-capture encrypted-media fullscreen gamepad geolocation gyroscope hid idle-detection"
    " keyboard-map magnetometer microphone midi payment picture-in-picture"
    " publickey-credentials-get screen-wake-lock serial sync-xhr unload usb"
    " xr-spatial-tracking"
)

# For whatever is no page: were it ever shown as one, it could load and do nothing.
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
TRANSPORT_SECURITY = "max-age=31536000; includeSubDomains"

# What every answer says, whoever makes it: nginx.conf repeats them for its own.
DEFAULTS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": DATA_POLICY,
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _FEATURES.split()),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-DNS-Prefetch-Control": "off",
    "X-Frame-Options": "DENY",
    "X-Permitted-Cross-Domain-Policies": "none",
}

_LINES = {name.lower(): (name, value) for name, value in DEFAULTS.items()}
# Where what a request's page may have besides is noted.
_MORE = "slipway.page_policy"

_PAGE_POLICY = {
    "default-src": "'none'",
    "style-src": "'self'",
    "img-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}

# Where programs are answered: what other origins may ask for at all.
_OPEN_TO_ORIGINS = re.compile(r"/(api/.*|login|refresh|logout|me|me/password)$")
_ACCEPTED = (
    "Authorization Content-Type Idempotency-Key If-Match If-None-Match traceparent X-Request-ID"
)
_EXPOSED = (
    "ETag Idempotency-Replayed Link Location RateLimit-Limit RateLimit-Policy RateLimit-Remaining"
    " RateLimit-Reset Retry-After WWW-Authenticate X-Trace-Id"
)


def allow(directive: str, source: str) -> None:
    """Let the page of this request have `source` too, for one directive of its policy."""
    request.environ.setdefault(_MORE, {})[directive] = source


def nonce() -> str:
    """What the scripts of this request's page carry to be run; without a call, none is."""
    if "script_nonce" not in g:
        g.script_nonce = secrets.token_urlsafe(16)
        allow("script-src", f"'nonce-{g.script_nonce}'")
    return str(g.script_nonce)


def _missing(said: list[tuple[str, str]], environ: dict[str, Any]) -> list[tuple[str, str]]:
    """What an answer with the headers `said` has to say besides."""
    names = {name.lower(): value for name, value in said}
    lines = [line for name, line in _LINES.items() if name not in names]
    if names.get("content-type", "").startswith("text/html"):
        policy = {**_PAGE_POLICY, **environ.get(_MORE, {})}
        sources = "; ".join(f"{directive} {source}" for directive, source in policy.items())
        lines = [line for line in lines if line[0] != "Content-Security-Policy"]
        lines.append(("Content-Security-Policy", sources))
    if environ["wsgi.url_scheme"] == "https":
        lines.append(("Strict-Transport-Security", TRANSPORT_SECURITY))
    return lines


def init_app(app: Flask) -> None:
    """Around the application: a response object takes ten times as long to add a header to."""
    settings: Settings = app.config["SETTINGS"]
    inner = app.wsgi_app

    def secured(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def start(status: str, said: list[tuple[str, str]], *error: Any) -> Any:
            return start_response(status, [*said, *_missing(said, environ)], *error)

        return inner(environ, start)

    app.wsgi_app = secured  # type: ignore[method-assign]
    if origins := settings.allowed_origins:
        CORS(
            app,
            resources=_OPEN_TO_ORIGINS,
            origins=origins,
            expose_headers=_EXPOSED.split(),
            allow_headers=_ACCEPTED.split(),
            methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            max_age=600,
        )

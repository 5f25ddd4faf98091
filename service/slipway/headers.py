"""Security headers, on every answer, once each; and who else's pages may call the API (CORS).

The values follow the OWASP Secure Headers Project: https://owasp.org/www-project-secure-headers/
"""

import re
import secrets

from flask import Flask, Response, g, request
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
    g.setdefault("page_policy", {})[directive] = source


def nonce() -> str:
    """What the scripts of this request's page carry to be run; without a call, none is."""
    if "script_nonce" not in g:
        g.script_nonce = secrets.token_urlsafe(16)
        allow("script-src", f"'nonce-{g.script_nonce}'")
    return str(g.script_nonce)


def _add(response: Response) -> Response:
    if response.mimetype == "text/html":
        policy = {**_PAGE_POLICY, **g.get("page_policy", {})}
        response.headers["Content-Security-Policy"] = "; ".join(
            f"{directive} {sources}" for directive, sources in policy.items()
        )
    for name, value in DEFAULTS.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers["Strict-Transport-Security"] = TRANSPORT_SECURITY
    return response


def init_app(app: Flask) -> None:
    """To be called before the others: what is registered first sees the answer last."""
    settings: Settings = app.config["SETTINGS"]
    app.after_request(_add)
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

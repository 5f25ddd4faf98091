"""Security headers: on every answer, once each, no weaker than the OWASP project's proposal."""

import http.client
import re
import socket
from pathlib import Path

from answers import ANN, settings
from flask import Flask
from flask.testing import FlaskClient
from serving import migrate, serving
from werkzeug.test import TestResponse

from slipway import create_app, headers
from slipway.database import db

# https://owasp.org/www-project-secure-headers/ci/headers_add.json, of 2024-07-19.
# Not on each answer: Clear-Site-Data, which is for a log-out, and Strict-Transport-Security, which
# needs HTTPS.
OWASP = {
    "Cache-Control": "no-store, max-age=0",
    "Content-Security-Policy": (
        "default-src 'self'; form-action 'self'; object-src 'none'; frame-ancestors 'none';"
        " upgrade-insecure-requests; block-all-mixed-content"
    ),
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "accelerometer=(), autoplay=(), camera=(), cross-origin-isolated=(), display-capture=(),"
        " encrypted-media=(), fullscreen=(), geolocation=(), gyroscope=(), keyboard-map=(),"
        " magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(),"
        " publickey-credentials-get=(), screen-wake-lock=(), sync-xhr=(self), usb=(),"
        " web-share=(), xr-spatial-tracking=(), clipboard-read=(), clipboard-write=(),"
        " gamepad=(), hid=(), idle-detection=(), interest-cohort=(), serial=(), unload=()"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "deny",
    "X-Permitted-Cross-Domain-Policies": "none",
}
# Chromium complains on every page about those, which it does not know (everywhere).
UNKNOWN_TO_BROWSERS = {"interest-cohort", "web-share"}
# The same project's headers_remove.json: what tells an attacker what runs here.
TELLING = {"Server", "X-Powered-By", "Powered-By", "X-Generator", "X-Framework"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def directives(policy: str) -> dict[str, str]:
    pairs = (part.strip().partition(" ") for part in policy.split(";"))
    return {name: value for name, _, value in pairs}


def features(policy: str) -> dict[str, str]:
    return dict(part.strip().split("=", 1) for part in policy.split(","))


def check(names: list[str], values: dict[str, str], what: object) -> None:
    for name in OWASP:
        assert names.count(name.lower()) == 1, f"{what}: {name} {names.count(name.lower())} times"
    assert not {name.lower() for name in TELLING} & set(names), what
    for name, value in values.items():
        if name not in {"Content-Security-Policy", "Cache-Control"} and name in headers.DEFAULTS:
            assert value == headers.DEFAULTS[name], what
    policy = directives(values["Content-Security-Policy"])
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'", what
    assert "unsafe" not in values["Content-Security-Policy"], what


def answered(response: TestResponse, status: int) -> None:
    what = f"{response.request.method} {response.request.path}"
    assert response.status_code == status, f"{what}: {response.status_code} {response.text[:300]}"
    check([name.lower() for name, _ in response.headers], dict(response.headers), what)


def test_the_defaults_are_no_weaker_than_owasps() -> None:
    ours = headers.DEFAULTS
    for name in OWASP.keys() - {
        "Cache-Control",
        "Content-Security-Policy",
        "Permissions-Policy",
    }:
        assert ours[name].lower() == OWASP[name]
    # A copy that may not be stored has no age.
    assert ours["Cache-Control"] == "no-store"
    # Everything is from here or from nowhere, so nothing is left to upgrade to HTTPS.
    assert directives(ours["Content-Security-Policy"])["default-src"] == "'none'"
    asked, denied = features(OWASP["Permissions-Policy"]), features(ours["Permissions-Policy"])
    assert asked.keys() - UNKNOWN_TO_BROWSERS <= denied.keys()
    assert set(denied.values()) == {"()"}
    assert headers.TRANSPORT_SECURITY == "max-age=31536000; includeSubDomains"


def test_every_answer_has_each_header_once(
    app: Flask, client: FlaskClient, anonymous: FlaskClient, member: FlaskClient
) -> None:
    def fail() -> str:
        raise ValueError

    app.view_functions["root.show_version"] = fail
    app.config["MAX_CONTENT_LENGTH"] = 2000
    created = client.post("/api/users", json=ANN)
    answered(created, 201)
    where = created.headers["Location"]
    tag = client.get(where).headers["ETag"]
    answered(client.get(where), 200)
    answered(client.get(where, headers={"If-None-Match": tag}), 304)
    answered(client.head(where), 200)
    answered(client.options(where), 200)
    answered(client.delete(where), 204)
    answered(anonymous.get(where), 401)
    answered(member.get("/api/users"), 403)
    answered(client.get(where), 404)
    answered(anonymous.put("/ping"), 405)
    answered(client.post("/api/users", data="x" * 3000, content_type="application/json"), 413)
    answered(client.post("/api/users", data="x", content_type="text/plain"), 415)
    answered(client.post("/api/users", json={}), 422)
    answered(anonymous.get("/version"), 500)
    answered(anonymous.get("/openapi.json"), 200)
    for path, status in {
        "/": 200,
        "/docs": 200,
        "/account/login": 200,
        "/account/signup": 200,
        "/account": 302,
        "/account/users": 302,
        "/nowhere": 404,
        "/assets/site/style.css": 200,
        "/assets/swagger-ui/swagger-ui.css": 200,
        "/assets/site/none": 404,
        "/assets/elsewhere/style.css": 404,
    }.items():
        answered(anonymous.get(path, headers=BROWSER, buffered=True), status)
    answered(anonymous.post("/account/login", headers=BROWSER), 400)
    for _ in range(10):
        anonymous.post("/login", json={"email": "x@example.com", "password": "x" * 12})
    answered(anonymous.post("/login", json={"email": "x@example.com", "password": "x"}), 429)


def test_an_answer_without_the_database_has_them_too(tmp_path: Path) -> None:
    app = create_app(settings(database_url=f"sqlite:///{tmp_path}/none/slipway.db"))
    answered(app.test_client().post("/login", json={"email": "x@y.z", "password": "x"}), 503)


def test_what_gunicorn_refuses_itself_has_them_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/slipway.db"
    migrate(url)
    with serving(tmp_path, url) as server:
        for raw in (b"nonsense\r\n\r\n", b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
                connection.sendall(raw)
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                check([name.lower() for name in answer.headers], dict(answer.headers.items()), raw)


def test_https_is_insisted_on_once_it_is_there(anonymous: FlaskClient) -> None:
    secure = anonymous.get("/ping", base_url="https://slipway.example")
    assert secure.headers.getlist("Strict-Transport-Security") == [headers.TRANSPORT_SECURITY]
    assert "Strict-Transport-Security" not in anonymous.get("/ping").headers


def test_only_the_documentation_runs_scripts_each_time_by_another_nonce(
    anonymous: FlaskClient,
) -> None:
    login = directives(
        anonymous.get("/account/login", headers=BROWSER).headers["Content-Security-Policy"]
    )
    assert {"script-src", "connect-src"}.isdisjoint(login)
    assert login["form-action"] == "'self'"
    nonces = []
    for _ in range(2):
        page = anonymous.get("/docs")
        policy = directives(page.headers["Content-Security-Policy"])
        (nonce,) = re.findall(r"^'nonce-([\w-]{20,})'$", policy["script-src"])
        assert page.text.count(f'<script nonce="{nonce}"') == page.text.count("<script") == 2
        assert policy["connect-src"] == policy["style-src"] == "'self'"
        nonces.append(nonce)
    assert nonces[0] != nonces[1]


def test_what_does_not_change_is_kept_for_a_year(anonymous: FlaskClient) -> None:
    sheets = re.findall(r'href="(/assets/[^"]+)"', anonymous.get("/docs").text)
    assert len(sheets) == 4
    for address in sheets:
        kept = anonymous.get(address, buffered=True).headers["Cache-Control"]
        assert kept == "public, max-age=31536000, immutable"
        other = anonymous.get(address.replace("?v=", "?v=0"), buffered=True)
        assert "max-age=31536000" not in other.headers["Cache-Control"]


def preflight(client: FlaskClient, path: str, origin: str) -> TestResponse:
    asked = {"Origin": origin, "Access-Control-Request-Method": "PATCH"}
    asked["Access-Control-Request-Headers"] = "authorization, if-match"
    return client.options(path, headers=asked)


def test_no_other_origin_may_call_the_api_by_default(anonymous: FlaskClient) -> None:
    origin = "https://app.example.com"
    assert not [
        name
        for answer in (
            preflight(anonymous, "/api/users", origin),
            anonymous.get("/api/users", headers={"Origin": origin}),
        )
        for name, _ in answer.headers
        if name.startswith("Access-Control-")
    ]


def test_configured_origins_may_call_the_api_and_nothing_else(tmp_path: Path) -> None:
    app = create_app(
        settings(
            database_url=f"sqlite:///{tmp_path}/slipway.db",
            cors_origins="https://app.example.com, https://other.example.com",
        )
    )
    client = app.test_client()
    for path in ("/api/users", "/api/tasks/email", "/login", "/refresh", "/logout", "/me"):
        for origin in ("https://app.example.com", "https://other.example.com"):
            allowed = preflight(client, path, origin).headers
            assert allowed["Access-Control-Allow-Origin"] == origin
            assert "PATCH" in allowed["Access-Control-Allow-Methods"]
            assert "authorization" in allowed["Access-Control-Allow-Headers"]
            assert "Access-Control-Allow-Credentials" not in allowed
        for origin in ("https://app.example.com.evil.example", "https://appxexample.com", "null"):
            assert "Access-Control-Allow-Origin" not in preflight(client, path, origin).headers
    for path in ("/", "/account/login", "/docs", "/logout-of-all", "/memory"):
        refused = client.get(path, headers={"Origin": "https://app.example.com"})
        assert "Access-Control-Allow-Origin" not in refused.headers, path
    answer = client.get("/api/users", headers={"Origin": "https://app.example.com"})
    answered(answer, 401)
    exposed = {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
    assert {"ETag", "Link", "Location", "RateLimit-Remaining", "Retry-After"} <= exposed
    assert "Origin" in answer.headers["Vary"]
    with app.app_context():
        db.engine.dispose()

"""Signs up at argv[1], logs in, changes the account, logs out, deletes it. For `helm test`."""

import json
import ssl
import sys
import uuid
from http.client import HTTPConnection, HTTPMessage, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

base = urlsplit(sys.argv[1])
host = base.hostname or ""
connection = HTTPConnection(host, timeout=10)
if base.scheme == "https":
    # What is proven is the way through the API, not who signed the certificate.
    context = ssl._create_unverified_context()  # noqa: S323
    connection = HTTPSConnection(host, timeout=10, context=context)


def call(
    method: str, path: str, body: object = None, token: str = "", **more: str
) -> tuple[int, HTTPMessage, Any]:
    """Status, headers and JSON of the answer."""
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    if body:
        headers["Content-Type"] = "application/json"
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection.request(method, base.path + path, json.dumps(body) if body else None, headers)
    response = connection.getresponse()
    text = response.read()
    print(method, path, response.status, flush=True)
    return response.status, response.headers, json.loads(text) if text else None


def expect(what: str, seen: object, wanted: object) -> None:
    if seen != wanted:
        sys.exit(f"{what}: {seen!r}, not {wanted!r}")


def log_in() -> str:
    status, _, tokens = call("POST", "/login", account)
    expect("status of logging in", status, 200)
    return str(tokens["access_token"])


account = {
    "email": f"helm-test-{uuid.uuid4().hex}@example.org",
    "password": uuid.uuid4().hex,
}
status, headers, created = call("POST", "/api/users", {"name": "Helm Test", **account})
expect("status of signing up", status, 201)
user = f"/api/users/{created['id']}"
expect("Location", urlsplit(headers["Location"]).path, base.path + user)
try:
    token = log_in()
    status, headers, read = call("GET", "/me", token=token)
    expect("status of reading oneself", status, 200)
    expect("the address", read["email"], account["email"])
    tag = headers["ETag"]
    status, _, changed = call("PATCH", user, {"name": "Changed"}, token=token, If_Match=tag)
    expect("status of changing it", status, 200)
    expect("the name", changed["name"], "Changed")
    status, _, _ = call("PATCH", user, {"name": "Late"}, token=token, If_Match=tag)
    expect("status of changing what has changed", status, 412)
    expect("status of the users' list", call("GET", "/api/users", token=token)[0], 403)
    expect("status of logging out", call("POST", "/logout", token=token)[0], 204)
    expect("status with the token then", call("GET", "/me", token=token)[0], 401)
finally:
    status, _, _ = call("DELETE", user, token=log_in())
expect("status of deleting it", status, 204)
expect("status of logging in then", call("POST", "/login", account)[0], 401)

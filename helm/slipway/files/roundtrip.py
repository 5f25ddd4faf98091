"""Creates a user through the service at argv[1], reads, lists and deletes it. For `helm test`."""

import json
import ssl
import sys
import uuid
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

base = urlsplit(sys.argv[1])
host = base.hostname or ""
connection = HTTPConnection(host, timeout=10)
if base.scheme == "https":
    # What is proven is the way through the API, not who signed the certificate.
    context = ssl._create_unverified_context()  # noqa: S323
    connection = HTTPSConnection(host, timeout=10, context=context)


def call(method: str, path: str, body: object = None) -> tuple[int, str, Any]:
    """Status, Location and JSON of the answer."""
    headers = {"Content-Type": "application/json"} if body else {}
    connection.request(method, base.path + path, json.dumps(body) if body else None, headers)
    response = connection.getresponse()
    text = response.read()
    print(method, path, response.status, flush=True)
    return response.status, response.getheader("Location", ""), json.loads(text) if text else None


def expect(what: str, seen: object, wanted: object) -> None:
    if seen != wanted:
        sys.exit(f"{what}: {seen!r}, not {wanted!r}")


email = f"helm-test-{uuid.uuid4().hex}@example.org"
status, location, created = call("POST", "/api/users", {"name": "Helm Test", "email": email})
expect("status of creating a user", status, 201)
user = f"/api/users/{created['id']}"
try:
    expect("Location", urlsplit(location).path, base.path + user)
    status, _, read = call("GET", user)
    expect("status of reading it", status, 200)
    expect("its address", read["email"], email)
    status, _, listed = call("GET", f"/api/users?email={email}")
    expect("status of listing", status, 200)
    expect("addresses in the list", [item["email"] for item in listed["items"]], [email])
finally:
    status, _, _ = call("DELETE", user)
expect("status of deleting it", status, 204)
expect("status of reading it then", call("GET", user)[0], 404)

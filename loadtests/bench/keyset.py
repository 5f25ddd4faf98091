"""The first page of a list against the ten-thousandth, by the cursor of the row before it."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.shell import Failure, run, say

from .backing import Database
from .data import ROWS
from .rounds import spread

LIMIT = 100
PAGE = 10_000
REPEATS = 100

# Run inside the image: the cursor after a row, made as the service makes it.
CURSOR = """
from slipway import create_app, paging
with create_app().app_context():
    print(paging.encode({sort!r}, {row!r}))
"""


def keyset(db: Database, url: str, gunicorn: str, token: str) -> dict[str, Any]:
    """Both pages' milliseconds, and their ratio."""
    result: dict[str, Any] = {"rows": ROWS, "limit": LIMIT, "page": PAGE}
    for sort, columns in (("id", "id"), ("name", "name, id")):
        order = f"FROM users ORDER BY {columns} LIMIT 1 OFFSET"
        row = json.loads(
            db.sql(f"SELECT json_build_array({columns}) {order} {(PAGE - 1) * LIMIT - 1}")
        )
        expected = int(db.sql(f"SELECT id {order} {(PAGE - 1) * LIMIT}"))
        script = CURSOR.format(sort=sort, row=row)
        said = run("docker", "exec", gunicorn, "python", "-c", script, what="making a cursor")
        cursor = said.splitlines()[-1]
        first = f"/api/users?sort={sort}&limit={LIMIT}"
        times = _alternate(url, token, first, f"{first}&cursor={cursor}", expected)
        result[f"by {sort}"] = times
        say(f"page {PAGE:,} by {sort}: {times['ratio']} times page 1")
    return result


def _alternate(url: str, token: str, first: str, later: str, expected: int) -> dict[str, Any]:
    """Milliseconds of both pages, made anew, asked for in turn over one connection."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    admin = {"Authorization": f"Bearer {token}"}
    times: dict[str, list[float]] = {first: [], later: []}
    for _ in range(REPEATS + 5):
        for path, measured in times.items():
            long_ago = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=9999)
            started = time.perf_counter()
            connection.request("GET", f"{path}&created_from={long_ago.isoformat()}Z", headers=admin)
            body = connection.getresponse().read()
            measured.append((time.perf_counter() - started) * 1000)
            items = json.loads(body).get("items", [])
            if len(items) != LIMIT or (path == later and items[0]["id"] != expected):
                raise Failure(f"{path}: not the page that was asked for: {body[:200]!r}")
    connection.close()
    # Without the first few, which open connections and fill caches.
    page_1, page_n = (measured[5:] for measured in times.values())
    return {
        "page_1_ms": spread(page_1, 2),
        "page_10000_ms": spread(page_n, 2),
        "ratio": round(statistics.median(page_n) / statistics.median(page_1), 2),
    }

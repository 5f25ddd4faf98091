"""How long a scrape takes when many workers have ended, whose counters live on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from deploy.shell import say

from . import kit
from .net import ask, free_port
from .rounds import spread

# Of the workers that have ended before a scrape.
ENDED, MAX_REQUESTS = 40, 50
REPEATS = 100


def scrape(image: str, settings: Mapping[str, str]) -> dict[str, Any]:
    """In milliseconds."""
    ops_port = free_port()
    recycled = {
        **settings,
        "GUNICORN_CMD_ARGS": f"--max-requests={MAX_REQUESTS}",
        "OPS_PORT": str(ops_port),
    }
    with kit.gunicorn("recycled", image, recycled) as (url, _):
        for _ in range(ENDED * MAX_REQUESTS):
            ask(url, "GET", "/")
        times = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            ask(f"http://127.0.0.1:{ops_port}", "GET", "/metrics")
            times.append((time.perf_counter() - started) * 1000)
    say(f"a scrape takes {max(times):.0f} ms at most")
    return {"ended_workers": ENDED, "ms": spread(times)}

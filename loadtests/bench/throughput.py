"""The contenders against each other, route by route, directly and through nginx."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from deploy.shell import say

from .data import Data
from .rounds import Asked, Figures, Sample, figures, sample, told, warm_up
from .routes import ROUTES, asked
from .servers import FASTAPI, FLASK, Servers

# By route, by way, by contender.
Throughput = dict[str, dict[str, dict[str, Figures]]]

AGAINST = {"to_gunicorn": FLASK, "to_fastapi": FASTAPI}


def throughput(servers: Servers, data: Data, routes: Collection[str], number: int) -> Throughput:
    """`number` rounds of these routes."""
    plan = {
        (route, way): {
            name: Asked(asked(route, server.url, data), server.containers)
            for name, server in by_name.items()
            if name in ROUTES[route].contenders
        }
        for route in routes
        for way, by_name in servers.items()
    }
    say("warming up")
    for contenders in plan.values():
        warm_up(contenders)
    rounds: dict[tuple[str, str], list[dict[str, Sample]]] = defaultdict(list)
    for count in range(1, number + 1):
        for (route, way), contenders in plan.items():
            rounds[route, way].append(sample(contenders, count))
            say(f"round {count} of {number}, {route} {way}: {told(rounds[route, way][-1])}")
    return {
        route: {way: figures(rounds[route, way], AGAINST) for way in servers} for route in routes
    }

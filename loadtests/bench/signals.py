"""What telemetry costs: all of it against none of it, and each signal alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from deploy.shell import say

from . import kit
from .data import Data
from .rounds import Asked, Figures, Sample, figures, sample, told, warm_up
from .routes import asked
from .servers import Server, Stage

NONE = "none"
ROUTES = ("index", "kept")


@contextmanager
def variants(stage: Stage) -> Iterator[dict[str, Server]]:
    """The service without telemetry, with all of it, and with each signal alone."""
    on = {NONE: (), "all": kit.SIGNALS} | {name: (name,) for name in kit.SIGNALS}
    with ExitStack() as stack:
        up = {}
        for name, left in on.items():
            settings = {**stage.settings, **kit.telemetry(stage.collector_url, left)}
            command = () if name == "all" else kit.ALONE
            server = kit.gunicorn(f"signals-{name}", stage.image, settings, command)
            url, container = stack.enter_context(server)
            up[name] = Server(url, (container,))
        yield up


def telemetry(servers: dict[str, Server], data: Data, number: int) -> dict[str, dict[str, Figures]]:
    """By route, what is left of the throughput with each, in `number` rounds."""
    result = {}
    for route in ROUTES:
        variants = {
            name: Asked(asked(route, server.url, data), server.containers)
            for name, server in servers.items()
        }
        warm_up(variants)
        rounds: list[dict[str, Sample]] = []
        for count in range(1, number + 1):
            rounds.append(sample(variants, count))
            say(f"telemetry, round {count} of {number}, {route}: {told(rounds[-1])}")
        result[route] = figures(rounds, {"ratio": NONE})
    return result

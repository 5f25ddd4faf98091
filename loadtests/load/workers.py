"""The workers of a run that is spread over several processes, and who of them was lost meanwhile.

A lost one takes its users with it, and what it had not told yet. Kubernetes brings another one, to
which Locust gives users again; what was offered until then was not what had been asked for.
"""

from __future__ import annotations

import sys
import time

import gevent
from locust.runners import STATE_MISSING, MasterRunner, Runner


def there(runner: MasterRunner) -> set[str]:
    """The ids of those that answer."""
    return {one.id for one in runner.clients.all if one.state != STATE_MISSING}


def name(client_id: str) -> str:
    """A worker's host: in a cluster, its pod."""
    return client_id.rpartition("_")[0]


class Workers:
    """Watched from `start` to `stop`."""

    def __init__(self) -> None:
        # The hosts of those that went while the run went on.
        self.lost: list[str] = []
        self._greenlet: gevent.Greenlet | None = None

    def start(self, runner: Runner) -> None:
        self.stop()
        self.lost.clear()
        if isinstance(runner, MasterRunner):
            self._greenlet = gevent.spawn(self._watch, runner)

    def stop(self) -> None:
        if self._greenlet:
            self._greenlet.kill()
            self._greenlet = None

    def _watch(self, runner: MasterRunner) -> None:
        began, known = time.monotonic(), there(runner)
        while True:
            gevent.sleep(1)
            now, seconds = there(runner), time.monotonic() - began
            for one in sorted(known - now):
                self.lost.append(name(one))
                _say(f"lost worker {name(one)} after {seconds:.0f} s, with its users")
            for one in sorted(now - known):
                _say(f"worker {name(one)} came after {seconds:.0f} s, and takes users over")
            known = now


def _say(text: str) -> None:
    print(f"loadtest: {text}", file=sys.stderr, flush=True)

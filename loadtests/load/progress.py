"""How it goes, on standard error: one line that renews itself on a terminal, else one at times."""

from __future__ import annotations

import sys

import gevent
from locust.runners import Runner

from load import measured
from load.shape import Shape
from load.tally import seen

EVERY_SECONDS = 5


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def line(runner: Runner, shape: Shape) -> str:
    """Elapsed and left, users, requests in a second, p95 of the last seconds, failures."""
    elapsed, total = shape.get_run_time(), runner.stats.total
    p95 = total.get_current_response_time_percentile(0.95)
    failed = measured.total(seen(runner.stats)).failed
    if shape.lasted is not None:
        return (
            f"load: over after {_clock(shape.lasted)}; {runner.user_count} users have yet to leave"
        )
    return (
        f"load: {_clock(elapsed)}, {_clock(max(0.0, shape.profile.seconds - elapsed))} left,"
        f" {runner.user_count} users, {total.current_rps:.1f} requests/s,"
        f" p95 {'-' if p95 is None else p95} ms,"
        f" {total.num_failures} failed ({failed:.2g} %)"
    )


class Progress:
    """From `start` to `stop`."""

    def __init__(self) -> None:
        self._greenlet: gevent.Greenlet | None = None
        self._renews = sys.stderr.isatty()

    def start(self, runner: Runner, shape: Shape) -> None:
        self.stop()
        self._greenlet = gevent.spawn(self._tell, runner, shape)

    def stop(self) -> None:
        if self._greenlet:
            self._greenlet.kill()
            self._greenlet = None
            if self._renews:
                self._say("\r\x1b[K")

    def _tell(self, runner: Runner, shape: Shape) -> None:
        while True:
            gevent.sleep(1 if self._renews else EVERY_SECONDS)
            text = line(runner, shape)
            self._say(f"\r\x1b[K{text}" if self._renews else f"{text}\n")

    def _say(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

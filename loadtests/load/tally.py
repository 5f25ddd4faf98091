"""Numbers that Locust's statistics have no place for, summed over all processes of a run."""

from __future__ import annotations

from collections import Counter
from typing import Any

from locust.env import Environment
from locust.stats import RequestStats, StatsEntry

from load.measured import Measured

MADE, DELETED, UNSENT = "made", "deleted", "unsent"


def seen(stats: RequestStats) -> dict[str, Measured]:
    """By route, over all methods."""
    routes: dict[str, Measured] = {}
    for entry in list(stats.entries.values()):
        more = Measured(entry.num_requests, entry.num_failures, Counter(entry.response_times))
        routes[entry.name] = routes.get(entry.name, Measured()) + more
    return routes


class Tally:
    """What this process has counted and, on a master, what its workers told."""

    def __init__(self) -> None:
        # Times from when a request was due: of those on a schedule.
        self.corrected = RequestStats()
        self._own: Counter[str] = Counter()
        # Each worker tells its sums, so that none counts twice.
        self._told: dict[str, Counter[str]] = {}

    def count(self, what: str, number: int = 1) -> None:
        self._own[what] += number

    def __getitem__(self, what: str) -> int:
        return self._own[what] + sum(told[what] for told in self._told.values())

    def attach(self, environment: Environment) -> None:
        events = environment.events
        events.test_start.add_listener(self._begin)
        events.request.add_listener(self._note)
        events.report_to_master.add_listener(self._tell)
        events.worker_report.add_listener(self._hear)

    def _begin(self, **_: Any) -> None:
        self.corrected.clear_all()
        self._own.clear()
        self._told.clear()

    def _note(
        self,
        request_type: str,
        name: str,
        response_time: float,
        response_length: int,
        context: dict[str, Any],
        **_: Any,
    ) -> None:
        if "late" in context:
            time = response_time + context["late"]
            self.corrected.log_request(request_type, name, time, response_length)

    def _tell(self, client_id: str, data: dict[str, Any]) -> None:
        data["tally"] = dict(self._own)
        data["corrected"] = self.corrected.serialize_stats()

    def _hear(self, client_id: str, data: dict[str, Any]) -> None:
        self._told[client_id] = Counter(data["tally"])
        for told in data["corrected"]:
            entry = StatsEntry.unserialize(told, self.corrected)
            self.corrected.get(entry.name, entry.method).extend(entry)


tally = Tally()

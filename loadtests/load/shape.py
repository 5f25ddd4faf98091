"""The stages of a profile, one after the other, and at the end time for everybody to leave."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from locust import LoadTestShape, User
from locust.runners import WORKER_REPORT_INTERVAL, MasterRunner

from load import admin, measured
from load.journeys import Admin, Member
from load.measured import Measured
from load.profiles import FAST, JOURNEYS, SCHEDULED, Profile, Stage
from load.rates import Fast, Scheduled
from load.tally import seen, tally

# How long users may take to finish what they do and to delete their accounts.
LEAVE_SECONDS = 60
USERS: dict[str, type[User]] = {JOURNEYS: Member, FAST: Fast, SCHEDULED: Scheduled}


@dataclass(frozen=True)
class Passed:
    """A stage that is over, what it saw, and in how many seconds."""

    stage: Stage
    seconds: float
    seen: Mapping[str, Measured]


class Shape(LoadTestShape):
    """Of the profile that `run.py` found; --users and --run-time change its size."""

    use_common_options = True

    profile: Profile

    def __init__(self) -> None:
        super().__init__()
        self.reset_time()

    def reset_time(self) -> None:
        super().reset_time()
        self.passed: list[Passed] = []
        self.is_interrupted = False
        # How long the load lasted, once it is over.
        self.lasted: float | None = None
        self._before: Mapping[str, Measured] = {}
        self._index, self._began = 0, 0.0
        self._gone_at: float | None = None

    def tick(self) -> tuple[int, float, list[type[User]] | None] | None:
        elapsed = self.get_run_time()
        index = None if self.is_interrupted else self.profile.stage(elapsed)
        if self.lasted is None and index != self._index:
            self._note(elapsed)
        if index is None:
            self.lasted = self.lasted or elapsed
            return None if self._all_are_gone() else (0, float(self.profile.peak), self._classes())
        self._index = index
        stage = self.profile.stages[index]
        return stage.users, stage.spawn_rate, self._classes()

    def _classes(self) -> list[type[User]]:
        users: list[type[User]] = [USERS[self.profile.users]]
        if self.profile.users == JOURNEYS and admin.is_there():
            users.append(Admin)
        return users

    def _note(self, elapsed: float) -> None:
        assert self.runner is not None  # noqa: S101
        stats = tally.corrected if self.profile.is_open else self.runner.stats
        now = seen(stats)
        stage = self.profile.stages[self._index]
        passed = measured.since(self._before, now)
        self.passed.append(Passed(stage, elapsed - self._began, passed))
        self._before, self._began = now, elapsed

    def _all_are_gone(self) -> bool:
        assert self.runner is not None  # noqa: S101
        if self.get_run_time() - (self.lasted or 0) > LEAVE_SECONDS + WORKER_REPORT_INTERVAL:
            return True
        if self.runner.user_count:
            return False
        self._gone_at = self._gone_at or time.monotonic()
        # A worker tells its last figures a little after its users have gone.
        wait = WORKER_REPORT_INTERVAL + 1 if isinstance(self.runner, MasterRunner) else 0
        return time.monotonic() - self._gone_at >= wait

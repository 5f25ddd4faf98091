"""How many users come, how fast and for how long, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

JOURNEYS, FAST, SCHEDULED = "journeys", "fast", "scheduled"
# More, Locust warns of.
MAX_SPAWN_RATE = 100.0


class ProfileError(Exception):
    """There is no such profile: one line that names those there are."""


@dataclass(frozen=True)
class Stage:
    users: int
    # Users that come or go in a second.
    spawn_rate: float
    seconds: float


@dataclass(frozen=True)
class Profile:
    name: str
    about: str
    users: str
    stages: Sequence[Stage]

    @property
    def peak(self) -> int:
        """The most users at any time."""
        return max(stage.users for stage in self.stages)

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)

    @property
    def is_open(self) -> bool:
        """Whether requests come on a schedule, however long the answers take."""
        return self.users == SCHEDULED

    @property
    def finds_knee(self) -> bool:
        """Whether each stage asks for more than the one before."""
        counts = [stage.users for stage in self.stages]
        return len(counts) > 2 and counts == sorted(set(counts))

    def scaled(self, users: int, seconds: float) -> Profile:
        """The same form with `users` at the most, in `seconds` altogether."""
        more, longer = users / self.peak, seconds / self.seconds
        stages = [
            Stage(
                max(1, round(stage.users * more)),
                min(MAX_SPAWN_RATE, stage.spawn_rate * more / longer),
                stage.seconds * longer,
            )
            for stage in self.stages
        ]
        return replace(self, stages=stages)

    def stage(self, elapsed: float) -> int | None:
        """Which stage it is `elapsed` seconds after the start; None after the last one."""
        for index, stage in enumerate(self.stages):
            elapsed -= stage.seconds
            if elapsed < 0:
                return index
        return None


def _ramp(steps: int, users: int, seconds: float) -> list[Stage]:
    return [Stage(users * step, users / 10, seconds) for step in range(1, steps + 1)]


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("smoke", "does it work at all", JOURNEYS, [Stage(5, 5, 30)]),
        Profile("steady", "an ordinary hour, in five minutes", JOURNEYS, [Stage(50, 2, 300)]),
        Profile("ramp", "ever more, to find the knee", JOURNEYS, _ramp(10, 20, 60)),
        Profile(
            "spike",
            "ten times as many in ten seconds, and back",
            JOURNEYS,
            [Stage(10, 2, 60), Stage(100, 10, 60), Stage(10, 50, 60)],
        ),
        Profile("soak", "long enough for what leaks", JOURNEYS, [Stage(30, 2, 3600)]),
        Profile("open", "a rate, however slow the answers", SCHEDULED, [Stage(50, 2, 120)]),
        Profile("fast", "as many requests as it can answer", FAST, [Stage(16, 16, 30)]),
    )
}


def named(name: str) -> Profile:
    """Raises ProfileError when there is none."""
    if name not in PROFILES:
        raise ProfileError(f'there is no profile "{name}". There are: {", ".join(PROFILES)}')
    return PROFILES[name]

"""The promises of slo.yaml, read and checked: `load()`.

An SLI is a share of bad events: requests that failed, answers that came late, tasks that did. What
is recorded of it in Prometheus is named in `recorded.py`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ops import duration

PATH = Path(__file__).with_name("slo.yaml")

# The buckets of the service's histograms: a threshold between two of them cannot be counted.
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
TASK_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class SLOError(Exception):
    """slo.yaml is wrong; the text says where and why, a line for each mistake."""


def _window(text: str) -> str:
    duration.seconds(text)
    return text


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


Window = Annotated[str, AfterValidator(_window)]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Burn(Model):
    """Budget that burns `burn` times too fast, over both windows, is told as `severity`."""

    burn: float = Field(gt=0)
    long: Window
    short: Window
    severity: Literal["page", "ticket"]

    @model_validator(mode="after")
    def _two_windows(self) -> Self:
        if duration.seconds(self.short) >= duration.seconds(self.long):
            raise ValueError(f"short ({self.short}) is not shorter than long ({self.long})")
        return self


class Least(Model):
    """Events in each window of a pair, below which it says nothing."""

    short: int = Field(ge=1)
    long: int = Field(ge=1)


class Promise(Model):
    """What is common to all SLIs."""

    objective: float = Field(gt=0, lt=100)
    least: Least
    # Pairs of its own, before those of all.
    sooner: tuple[Burn, ...] = ()

    @property
    def budget(self) -> float:
        """The share of events that may be bad."""
        return round(1 - self.objective / 100, 10)


class Availability(Promise):
    errors: Annotated[str, AfterValidator(_regex)]


class Latency(Promise):
    milliseconds: int
    excluded: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return self.milliseconds / 1000

    @model_validator(mode="after")
    def _can_be_counted(self) -> Self:
        if self.seconds not in REQUEST_BUCKETS:
            buckets = ", ".join(f"{bucket * 1000:g}" for bucket in REQUEST_BUCKETS)
            raise ValueError(f"milliseconds ({self.milliseconds}) is no bucket of {buckets}")
        return self


class Freshness(Promise):
    seconds: float

    @model_validator(mode="after")
    def _can_be_counted(self) -> Self:
        if self.seconds not in TASK_BUCKETS:
            buckets = ", ".join(f"{bucket:g}" for bucket in TASK_BUCKETS)
            raise ValueError(f"seconds ({self.seconds:g}) is no bucket of {buckets}")
        return self


class Limits(Model):
    """What a load test has to stay under: milliseconds, and percent of the requests."""

    p95: int = Field(gt=0)
    p99: int = Field(gt=0)
    failures: float = Field(ge=0, le=100)

    @model_validator(mode="after")
    def _ascend(self) -> Self:
        if self.p95 > self.p99:
            raise ValueError(f"p95 ({self.p95}) is greater than p99 ({self.p99})")
        return self


class Override(Model):
    """What differs from the default for a route."""

    p95: int | None = None
    p99: int | None = None
    failures: float | None = None


class Load(Model):
    default: Limits
    routes: dict[str, Override] = {}

    @model_validator(mode="after")
    def _each_is_whole(self) -> Self:
        for route in self.routes:
            try:
                self.of(route)
            except ValidationError as error:
                raise ValueError(f"{route}: {_reason(error.errors()[0])}") from None
        return self

    def of(self, route: str) -> Limits:
        changed = self.routes.get(route, Override()).model_dump(exclude_none=True)
        return Limits(**self.default.model_dump() | changed)


class SLO(Model):
    """All of slo.yaml."""

    window: Window
    availability: Availability
    latency: Latency
    freshness: Freshness
    burn_rates: tuple[Burn, ...] = Field(min_length=1)
    load: Load

    @property
    def slis(self) -> dict[str, Promise]:
        """By the value of the label `sli`."""
        return {
            "availability": self.availability,
            "latency": self.latency,
            "freshness": self.freshness,
        }

    def burns(self, sli: str) -> tuple[Burn, ...]:
        return self.slis[sli].sooner + self.burn_rates

    @model_validator(mode="after")
    def _can_fire(self) -> Self:
        for field in ("long", "short"):
            lengths = [duration.seconds(getattr(burn, field)) for burn in self.burn_rates]
            if lengths != sorted(set(lengths)):
                raise ValueError(f"burn_rates: {field} windows do not ascend")
        if sorted({burn.burn for burn in self.burn_rates}, reverse=True) != [
            burn.burn for burn in self.burn_rates
        ]:
            raise ValueError("burn_rates: burn does not descend while the windows ascend")
        for sli, promise in self.slis.items():
            for burn in self.burns(sli):
                if duration.seconds(burn.long) > duration.seconds(self.window):
                    raise ValueError(f"{sli}: long ({burn.long}) is longer than {self.window}")
                if burn.burn * promise.budget >= 1:
                    most = f"{1 / promise.budget:g}"
                    raise ValueError(
                        f"{sli}: burn {burn.burn:g} never fires: with an objective of "
                        f"{promise.objective:g} %, nothing burns faster than {most} times"
                    )
        return self


def load(path: Path = PATH) -> SLO:
    """The promises of `path`. Raises SLOError with a line for each mistake."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise SLOError(f"{path.name}: cannot be read: {reason}") from None
    try:
        return SLO.model_validate(content)
    except ValidationError as error:
        raise SLOError("\n".join(_lines(path.name, error))) from None


def _lines(name: str, error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in item["loc"])
        yield f"{name}: {where}: {_reason(item)}" if where else f"{name}: {_reason(item)}"


def _reason(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return "unknown key"
    return str(item["msg"]).removeprefix("Value error, ")

"""slo.yaml: what it may say, and what is told of a mistake."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops import generate
from ops.duration import seconds, words
from ops.slo import PATH, SLOError, load

Content = dict[str, Any]


def test_an_error_budget_is_what_the_objective_leaves() -> None:
    slo = load()
    assert slo.availability.budget == 0.001
    assert slo.latency.budget == 0.05


def test_a_route_has_the_defaults_limits_but_for_what_it_says() -> None:
    limits, default = load().load.of("/expensive"), load().load.default
    assert (limits.p95, limits.failures) == (default.p95, default.failures)
    assert limits.p99 > default.p99
    assert load().load.of("/nowhere") == default


def put(*path: str | int) -> Callable[[Content, Any], None]:
    """How to write at a place of the content."""

    def write(content: Content, value: Any) -> None:
        place: Any = content
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return write


@pytest.mark.parametrize(
    ("write", "value", "line"),
    [
        (put("windows"), "30d", "windows: unknown key"),
        (put("latency", "target"), 95, "latency.target: unknown key"),
        (put("availability", "objective"), 100, "availability.objective: Input should be less"),
        (put("availability", "errors"), "5(", "availability.errors: is no regular expression"),
        (put("window"), "a month", "window: a duration reads 30s, 5m, 6h or 30d"),
        (put("latency", "milliseconds"), 300, "latency: milliseconds (300) is no bucket of 5, 10"),
        (put("freshness", "seconds"), 45, "freshness: seconds (45) is no bucket of 0.1, 0.5, 1"),
        (put("latency", "least"), {"short": 1}, "latency.least.long: Field required"),
        (put("burn_rates", 0, "short"), "2h", "burn_rates.0: short (2h) is not shorter than"),
        (put("burn_rates", 0, "long"), "6h", "burn_rates: long windows do not ascend"),
        (put("burn_rates", 1, "short"), "5m", "burn_rates: short windows do not ascend"),
        (put("burn_rates", 1, "burn"), 2, "burn_rates: burn does not descend"),
        (put("burn_rates", 0, "severity"), "mail", "burn_rates.0.severity: Input should be 'page'"),
        (put("burn_rates", 0, "burn"), 25, "latency: burn 25 never fires: with an objective of 95"),
        (put("burn_rates", 3, "long"), "31d", "availability: long (31d) is longer than 30d"),
        (put("burn_rates"), [], "burn_rates: Tuple should have at least 1 item"),
        (put("load", "default", "p95"), 2000, "load.default: p95 (2000) is greater than p99"),
        (put("load", "routes", "/slow"), {"p99": 1}, "load: /slow: p95 (250) is greater than p99"),
        (put("load", "routes", "/slow"), {"p50": 1}, "load.routes./slow.p50: unknown key"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    write: Callable[[Content, Any], None], value: Any, line: str, tmp_path: Path
) -> None:
    content = yaml.safe_load(PATH.read_text())
    write(content, value)
    wrong = tmp_path / "slo.yaml"
    wrong.write_text(yaml.safe_dump(content))
    with pytest.raises(SLOError) as error:
        load(wrong)
    (told,) = str(error.value).splitlines()
    assert told.startswith(f"slo.yaml: {line}")


def test_each_of_two_mistakes_is_told(tmp_path: Path) -> None:
    content = yaml.safe_load(PATH.read_text())
    content["window"] = "month"
    content["latency"]["objective"] = "most"
    wrong = tmp_path / "slo.yaml"
    wrong.write_text(yaml.safe_dump(content))
    with pytest.raises(SLOError) as error:
        load(wrong)
    assert [line.split(":")[1].strip() for line in str(error.value).splitlines()] == [
        "window",
        "latency.objective",
    ]


@pytest.mark.parametrize("text", ["", "a: [", "- a list"])
def test_what_is_no_mapping_is_told_in_one_line(text: str, tmp_path: Path) -> None:
    wrong = tmp_path / "slo.yaml"
    wrong.write_text(text)
    with pytest.raises(SLOError, match=r"^slo.yaml: .+$") as error:
        load(wrong)
    assert len(str(error.value).splitlines()) == 1


def test_the_command_writes_nothing_and_ends_with_the_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "slo.yaml"
    wrong.write_text(PATH.read_text().replace("milliseconds: 250", "milliseconds: 251"))
    monkeypatch.setattr(generate, "load", lambda: load(wrong))
    monkeypatch.setattr(Path, "write_text", lambda *_: pytest.fail("something was written"))
    with pytest.raises(SystemExit) as end:
        generate.main()
    # A text as its code: Python prints it, and ends with 1.
    assert str(end.value.code).startswith("slo: slo.yaml: latency: milliseconds (251)")


def test_durations_read_as_prometheus_writes_them() -> None:
    assert [seconds(text) for text in ("30s", "5m", "6h", "30d")] == [30, 300, 21_600, 2_592_000]
    assert [words(text) for text in ("1h", "30m")] == ["1 hour", "30 minutes"]
    for wrong in ("5", "0m", "1h30m", "m", " 5m"):
        with pytest.raises(ValueError, match="a duration reads"):
            seconds(wrong)

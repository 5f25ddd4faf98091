"""Error budgets over made-up time: which pair of windows fires when, counted from what."""

from pathlib import Path

import pytest
from promtool import Expected, Story, counter, only, tell

from ops.duration import seconds
from ops.recorded import BUDGET_REMAINING, error_ratio
from ops.slo import load

pytestmark = pytest.mark.needs("engine")

SLO = load()
ALERTS = {
    "availability": "SlipwayErrorBudgetBurn",
    "latency": "SlipwayLatencyBudgetBurn",
    "freshness": "SlipwayFreshnessBudgetBurn",
}
each_sli = pytest.mark.parametrize("sli", ALERTS)
# Events a minute.
RATE = 1000

# Minutes, and the share of events that are bad meanwhile.
Phase = tuple[int, float]


def series(sli: str, *phases: Phase, rate: float = RATE, namespace: str = "a") -> dict[str, str]:
    """What a release tells, minute by minute."""
    every = counter(*((minutes, rate) for minutes, _ in phases))
    good = counter(*((minutes, rate * (1 - bad)) for minutes, bad in phases))
    bad = counter(*((minutes, rate * bad) for minutes, bad in phases))
    of = f'namespace="{namespace}", pod="{namespace}-1"'
    match sli:
        case "availability":
            name = "flask_http_request_total"
            return {
                f'{name}{{{of}, method="GET", status="404"}}': good,
                f'{name}{{{of}, method="GET", status="503"}}': bad,
            }
        case "latency":
            name, more = "flask_http_request_duration_seconds", 'method="GET", status="200"'
            of = f'{of}, {more}, route="/ping"'
        case _:
            name, of = "slipway_task_completion_seconds", f'{of}, task="mail", outcome="success"'
    limit = {"latency": "0.25", "freshness": "60.0"}[sli]
    return {f"{name}_count{{{of}}}": every, f'{name}_bucket{{{of}, le="{limit}"}}': good}


def pages(sli: str) -> str:
    """The pairs that page, by their short windows.

    What each tells depends on whether promtool looks at it before or after what it is counted from.
    """
    selector = f'alertname="{ALERTS[sli]}", severity="page", alertstate="firing"'
    return f"count by (short) (ALERTS{{{selector}}})"


PAIRS = sorted({(burn.burn, burn.long, burn.short) for sli in ALERTS for burn in SLO.burns(sli)})


@pytest.mark.parametrize(("burn", "long", "short"), PAIRS)
def test_a_pair_fires_just_above_its_burn_rate_and_for_its_namespace_alone(
    burn: float, long: str, short: str, promtool: Path, tmp_path: Path
) -> None:
    minutes = seconds(long) // 60 + 3
    told: dict[str, str] = {}
    fires: dict[str, float] = {}
    for sli, alert in ALERTS.items():
        for namespace, factor in (("below", 0.9), ("above", 1.1)):
            bad = factor * burn * SLO.slis[sli].budget
            told |= series(sli, (minutes, bad), namespace=namespace)
        if long in {pair.long for pair in SLO.burns(sli)}:
            fires[f'{{alertname="{alert}", long="{long}", namespace="above"}}'] = 1.0
    firing = 'count by (alertname, long, namespace) (ALERTS{alertstate="firing"})'
    story = Story(told, [], samples={(f"{minutes - 1}m", firing): fires})
    tell(promtool, tmp_path, story, only({"1m", "5m", long, short}, tmp_path))


def test_a_new_release_that_fails_is_told_of_within_three_minutes_and_no_longer_than_it_fails(
    promtool: Path, tmp_path: Path
) -> None:
    """Its long windows hold minutes: they must neither wait for an hour nor cry over a month."""
    fires = {'{short="5m"}': 1.0}
    asked = pages("availability")
    story = Story(
        series("availability", (5, 0), (10, 0.2), (30, 0)),
        [],
        samples={
            ("4m", asked): {},
            ("8m", asked): fires,
            ("14m", asked): fires,
            ("22m", asked): {},
            ("40m", asked): {},
        },
    )
    tell(promtool, tmp_path, story)


def test_every_answer_late_is_told_of_within_five_minutes_in_an_old_release_too(
    promtool: Path, tmp_path: Path
) -> None:
    fires = {'{short="2m"}': 1.0}
    asked = pages("latency")
    story = Story(
        series("latency", (300, 0), (10, 1), (20, 0)),
        [],
        samples={
            ("299m", asked): {},
            ("305m", asked): fires,
            ("309m", asked): fires,
            ("314m", asked): {},
        },
    )
    tell(promtool, tmp_path, story)


@each_sli
def test_pages_are_over_half_an_hour_after_two_hours_of_failures_and_tickets_after_six(
    sli: str, promtool: Path, tmp_path: Path
) -> None:
    """By then they took what a short window holds."""
    asked = pages(sli)
    shorts = [burn.short for burn in SLO.burns(sli) if burn.severity == "page"]
    story = Story(
        series(sli, (600, 0), (120, 1), (410, 0)),
        [Expected("599m", ALERTS[sli]), Expected("1090m", ALERTS[sli])],
        samples={
            ("719m", asked): {f'{{short="{short}"}}': 1 for short in shorts},
            ("725m", asked): {'{short="30m"}': 1},
            ("752m", asked): {},
        },
    )
    tell(promtool, tmp_path, story)


@each_sli
def test_a_pair_says_nothing_of_fewer_events_than_the_least(
    sli: str, promtool: Path, tmp_path: Path
) -> None:
    """After 40 minutes too few for any long window; after an hour enough, but not in 5 minutes."""
    promise = SLO.slis[sli]
    rate = promise.least.long / 50
    # An hour is a sixth of the pair's long window.
    shorts = {"30m"} if 6 * promise.budget < 1 / 6 else set()
    story = Story(
        series(sli, (63, 1), rate=rate),
        [Expected("40m", ALERTS[sli])],
        samples={("62m", pages(sli)): {f'{{short="{short}"}}': 1.0 for short in shorts}},
    )
    tell(promtool, tmp_path, story)


def test_no_traffic_spends_no_budget(promtool: Path, tmp_path: Path) -> None:
    story = Story(
        series("availability", (120, 0), rate=0),
        [],
        samples={
            ("1h", BUDGET_REMAINING): {
                f'{BUDGET_REMAINING}{{namespace="a", sli="availability"}}': 1
            },
            ("1h", error_ratio("5m")): {
                f'{error_ratio("5m")}{{namespace="a", sli="availability"}}': 0
            },
        },
    )
    tell(promtool, tmp_path, story)

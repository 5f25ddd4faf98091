"""Are users served? The promises first, then rate, errors and duration, then which route."""

from ops import recorded
from ops.dashboards.parts import PODS, ROUTES, SPACE, Board, Panel
from ops.slo import load

COUNT = "flask_http_request_duration_seconds_count"
BUCKET = "flask_http_request_duration_seconds_bucket"
# What the Collector counts of spans: whole requests, and what they ask of others.
SPANS = "traces_span_metrics_duration_milliseconds_bucket"
WHOLE = f'{SPACE}, span_kind="SPAN_KIND_SERVER"'
PARTS = f'{SPACE}, span_kind=~"SPAN_KIND_(CLIENT|PRODUCER)"'


def rate(selector: str) -> str:
    return f"rate({COUNT}{{{selector}}}[$__rate_interval])"


def failed(by: str) -> str:
    """Answers of 5xx a second; 0 where there were none of them."""
    bad = f'{ROUTES}, status=~"5.."'
    return f"(sum by ({by}) ({rate(bad)}) or 0 * sum by ({by}) ({rate(ROUTES)}))"


def quantile(share: float, by: str = "le", selector: str = ROUTES, bucket: str = BUCKET) -> str:
    inner = f"sum by ({by}) (rate({bucket}{{{selector}}}[$__rate_interval]))"
    return f"histogram_quantile({share}, {inner})"


def error_share() -> tuple[str, str]:
    """Of all answers those of 5xx, by namespace."""
    return f"{failed('namespace')} / sum by (namespace) ({rate(ROUTES)})", "{{namespace}}"


def percentiles() -> list[tuple[str, str]]:
    return [(quantile(0.5), "half"), (quantile(0.95), "95 %"), (quantile(0.99), "99 %")]


def board() -> Board:
    slo = load()
    burns = sorted({pair.burn for pair in slo.burn_rates})
    return Board(
        "slipway-service",
        "Slipway: service",
        "Whether users are served as promised, and which route is to blame.",
        [
            Panel(
                "Error budget left",
                "Of 30 days. Good: above 0 % at the end; below 25 %, rather mend than release.",
                "percentunit",
                [(f"{recorded.BUDGET_REMAINING}{{{SPACE}}}", "{{sli}} {{namespace}}")],
                kind="stat",
                limits=(0.25, 0),
                more_is_better=True,
                runbook="SlipwayErrorBudgetBurn",
            ),
            Panel(
                "Burn rate over an hour",
                "How many times faster than allowed the budget is spent. Good: below 1. "
                f"From {burns[-1]:g} on, somebody is paged.",
                "short",
                [
                    (
                        f'{recorded.error_ratio("1h")}{{{SPACE}, sli="{sli}"}}'
                        f" / {promise.budget:g}",
                        f"{sli} {{{{namespace}}}}",
                    )
                    for sli, promise in slo.slis.items()
                ],
                limits=(burns[0], burns[-1]),
                runbook="SlipwayErrorBudgetBurn",
            ),
            Panel(
                "Bad events, last five minutes",
                "The share of requests that failed or came late, of tasks that did. Good: 0 %.",
                "percentunit",
                [(f"{recorded.error_ratio('5m')}{{{SPACE}}}", "{{sli}} {{namespace}}")],
                limits=(0.001, 0.05),
                runbook="SlipwayErrorBudgetBurn",
            ),
            Panel(
                "Requests",
                "What is asked for, by status. Good: as at this time of other days.",
                "reqps",
                [(f"sum by (status) ({rate(ROUTES)})", "{{status}}")],
            ),
            Panel(
                "Errors",
                "The share of answers that are ours to mend (5xx). Good: 0 %.",
                "percentunit",
                [error_share()],
                limits=(0.001, 0.0144),
                runbook="SlipwayErrorBudgetBurn",
            ),
            Panel(
                "Duration",
                "Of answers, without the time in nginx. Good: 95 % within 250 ms.",
                "s",
                percentiles(),
                limits=(0.25, 1),
                runbook="SlipwayLatencyBudgetBurn",
            ),
            Panel(
                "Requests by route",
                "Where the traffic goes. Good: no route that nobody expects.",
                "reqps",
                [(f"sum by (route) ({rate(ROUTES)})", "{{route}}")],
            ),
            Panel(
                "Errors by route",
                "5xx a second. Good: none; one route alone points at its code or its query.",
                "reqps",
                [
                    (
                        failed("route"),
                        "{{route}}",
                    )
                ],
                limits=(0.01, 1),
            ),
            Panel(
                "Slow routes",
                "The duration that 95 % of a route's answers stay below. Good: 250 ms; /slow and"
                " log-ins take longer on purpose.",
                "s",
                [(quantile(0.95, "le, route", PODS + ', route=~"$route"'), "{{route}}")],
                limits=(0.25, 1),
                runbook="SlipwayLatencyBudgetBurn",
            ),
            Panel(
                "Parts of a request",
                "What 95 % of the calls stay below, by what is called: statements, Valkey's"
                " commands, mails; and the whole request. Good: each far below the whole, and that"
                " below 250 ms; where none is long, the code takes the time, or there are many."
                " Of sampled requests and tasks alone; points lead to their traces.",
                "ms",
                [
                    # Not by name: slow routes are a panel of their own.
                    (quantile(0.95, selector=WHOLE, bucket=SPANS), "whole request"),
                    (f"topk(10, {quantile(0.95, 'le, span_name', PARTS, SPANS)})", "{{span_name}}"),
                ],
                limits=(250, 1000),
                runbook="SlipwayLatencyBudgetBurn",
                width=24,
            ),
        ],
    )

"""Is what was asked for done, and soon?"""

from ops.dashboards.parts import PODS, SPACE, Board, Panel


def quantiles(metric: str, by: str) -> list[tuple[str, str]]:
    return [
        (
            f"histogram_quantile({share}, sum by (le, {by})"
            f" (rate({metric}_bucket{{{PODS}}}[$__rate_interval])))",
            f"{{{{{by}}}}} {name}",
        )
        for share, name in ((0.5, "half"), (0.95, "95 %"))
    ]


def waiting(title: str) -> Panel:
    return Panel(
        title,
        "The queue's length. Good: it comes back to 0 again and again.",
        "short",
        [(f"max by (namespace) (slipway_tasks_queued{{{SPACE}}})", "{{namespace}}")],
        limits=(50, 500),
        runbook="SlipwayQueueStuck",
    )


def board() -> Board:
    return Board(
        "slipway-tasks",
        "Slipway: tasks",
        "Whether tasks are done in time, and what becomes of those that fail.",
        [
            Panel(
                "Tasks",
                "Tries that ended, by outcome. Good: success; retries mean that something is away.",
                "ops",
                [
                    (
                        "sum by (task, outcome) (rate(slipway_task_duration_seconds_count"
                        f"{{{PODS}}}[$__rate_interval]))",
                        "{{task}} {{outcome}}",
                    )
                ],
            ),
            Panel(
                "From asked to done",
                "What users wait, tries and pauses included. Good: 99 % within a minute.",
                "s",
                quantiles("slipway_task_completion_seconds", "task"),
                limits=(30, 60),
                runbook="SlipwayFreshnessBudgetBurn",
            ),
            Panel(
                "One try",
                "How long a try takes. Good: seconds; after 50 it is told to end.",
                "s",
                quantiles("slipway_task_duration_seconds", "task"),
                limits=(10, 50),
            ),
            waiting("Waiting"),
            Panel(
                "The oldest",
                "How long the task that has waited longest has. Good: seconds.",
                "s",
                [
                    (
                        f"max by (namespace) (slipway_tasks_oldest_seconds{{{SPACE}}})",
                        "{{namespace}}",
                    )
                ],
                limits=(60, 120),
                runbook="SlipwayQueueStuck",
            ),
            Panel(
                "Dead letters",
                "What failed for good, and waits for an operator. Good: none.",
                "short",
                [(f"max by (namespace) (slipway_tasks_dead{{{SPACE}}})", "{{namespace}}")],
                kind="stat",
                limits=(1, 10),
                runbook="SlipwayDeadLetters",
            ),
            Panel(
                "Workers that work",
                "Of the processes that there are. Good: below 80 %; else tasks wait.",
                "percentunit",
                [
                    (
                        f"sum by (namespace) (slipway_worker_processes_busy{{{PODS}}})"
                        f" / sum by (namespace) (slipway_worker_processes{{{PODS}}})",
                        "{{namespace}}",
                    )
                ],
                limits=(0.8, 0.95),
                runbook="SlipwayQueueStuck",
            ),
        ],
        variables=("pod",),
    )

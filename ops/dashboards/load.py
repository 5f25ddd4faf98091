"""What a load test does to the service: what is asked for, how it is answered, what runs out."""

from ops.dashboards.parts import PODS, ROUTES, Board, Panel
from ops.dashboards.saturation import CONTAINERS, ratio, slowest
from ops.dashboards.service import error_share, percentiles, rate


def board() -> Board:
    return Board(
        "slipway-load",
        "Slipway: load test",
        "The server's side of a load test: where the knee is, and what makes it.",
        [
            Panel(
                "Asked for",
                "Requests that reach the service. Good: it follows what the test offers.",
                "reqps",
                [(f"sum by (namespace) ({rate(ROUTES)})", "{{namespace}}")],
            ),
            Panel(
                "Answered within",
                "Good: flat while the load grows; where it bends is the knee.",
                "s",
                percentiles(),
                limits=(0.25, 1),
            ),
            Panel(
                "Failed",
                "The share of 5xx. Good: 0 %.",
                "percentunit",
                [error_share()],
                limits=(0.001, 0.01),
            ),
            Panel(
                "What runs out",
                "Threads, connections and workers in use. Good: none at 100 % below the load that"
                " was promised.",
                "percentunit",
                [
                    (ratio("slipway_threads_busy", "slipway_threads"), "threads"),
                    (
                        ratio("slipway_database_connections_busy", "slipway_database_connections"),
                        "connections",
                    ),
                    (ratio("slipway_worker_processes_busy", "slipway_worker_processes"), "workers"),
                ],
                limits=(0.7, 0.9),
            ),
            Panel(
                "Waiting for a thread",
                "95 % of the requests wait less. Good: 10 ms; it grows just before the knee.",
                "s",
                [(slowest("slipway_request_queue_seconds"), "{{namespace}}")],
                limits=(0.05, 0.25),
            ),
            Panel(
                "Processor",
                "Cores in use. Good: the test ends before the limit does.",
                "short",
                [
                    (
                        "sum by (pod) (rate(container_cpu_usage_seconds_total"
                        f"{{{CONTAINERS}}}[$__rate_interval]))",
                        "{{pod}}",
                    )
                ],
            ),
            Panel(
                "Open connections",
                "Clients that nginx holds. Good: as many as the test has.",
                "short",
                [(f"sum by (namespace) (nginx_connections_active{{{PODS}}})", "{{namespace}}")],
            ),
        ],
        since="now-30m",
    )

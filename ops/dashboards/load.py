"""What a load test does to the service: what is asked for, how it is answered, what runs out.

Side by side what users see, by Locust's own figures, and what the service sees of it. Between the
two are nginx, the network, and a Locust that has no processor left.
"""

from ops.dashboards.parts import PODS, ROUTES, SPACE, Board, Panel
from ops.dashboards.saturation import CONTAINERS, ratio, slowest
from ops.dashboards.service import error_share, percentiles, quantile, rate

USERS = f'{SPACE}, route=~"$route"'
DURATION = "locust_request_duration_seconds"


def by_route(metric: str) -> list[tuple[str, str]]:
    """Of each route that users ask for, so many a second."""
    asked = f"sum by (method, route) (rate({metric}{{{USERS}}}[$__rate_interval]))"
    return [(asked, "{{method}} {{route}}")]


def of_namespace(metric: str, legend: str) -> tuple[str, str]:
    return f"sum by (namespace) ({metric}{{{SPACE}}})", f"{legend} {{{{namespace}}}}"


def board() -> Board:
    return Board(
        "slipway-load",
        "Slipway: load test",
        "Where a load test finds the knee, and what makes it: users' side and the server's.",
        [
            Panel(
                "Users",
                "Those that Locust has, in the cluster. Good: they follow the profile's shape.",
                "short",
                [of_namespace("locust_users", "users")],
            ),
            Panel(
                "Sent by users",
                "Requests that Locust has an answer to, or none in time, by route. Good: the sum is"
                " what the server is asked for.",
                "reqps",
                by_route(f"{DURATION}_count"),
            ),
            Panel(
                "Asked for",
                "Requests that reach the service. Good: it follows what the test offers.",
                "reqps",
                [(f"sum by (namespace) ({rate(ROUTES)})", "{{namespace}}")],
            ),
            Panel(
                "Answered to users within",
                "95 % of a route's requests, with network and nginx. Good: close to the server's;"
                " what is between them is waited for elsewhere, or Locust lacks a processor.",
                "s",
                [
                    (
                        quantile(0.95, "le, method, route", USERS, f"{DURATION}_bucket"),
                        "{{method}} {{route}}",
                    )
                ],
                limits=(0.25, 1),
            ),
            Panel(
                "Answered within",
                "Good: flat while the load grows; where it bends is the knee.",
                "s",
                percentiles(),
                limits=(0.25, 1),
            ),
            Panel(
                "Waiting for a thread",
                "95 % of the requests wait less. Good: 10 ms; it grows just before the knee.",
                "s",
                [(slowest("slipway_request_queue_seconds"), "{{namespace}}")],
                limits=(0.05, 0.25),
            ),
            Panel(
                "Failed for users",
                "Answers that they did not want, or none, by route. Good: none.",
                "reqps",
                by_route("locust_request_failures_total"),
                limits=(0.01, 1),
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
                "Locust's workers",
                "Those that make the load. Good: as many as were asked for; a run that lost one did"
                " not make the load that it was meant to.",
                "short",
                [
                    of_namespace("locust_workers", "there"),
                    of_namespace("locust_workers_expected", "asked for"),
                ],
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

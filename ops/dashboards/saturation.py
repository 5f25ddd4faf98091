"""What runs out, of what a request or a task needs: threads, connections, memory, workers."""

from ops.dashboards.parts import PODS, SPACE, Board, Panel
from ops.dashboards.tasks import waiting

# gunicorn is a sidecar, which Kubernetes counts among the init containers.
CONTAINERS = f'{SPACE}, container=~"gunicorn|nginx|worker", pod=~"$pod"'


def ratio(part: str, whole: str, by: str = "namespace") -> str:
    return f"sum by ({by}) ({part}{{{PODS}}}) / sum by ({by}) ({whole}{{{PODS}}})"


def slowest(metric: str) -> str:
    inner = f"sum by (le, namespace) (rate({metric}_bucket{{{PODS}}}[$__rate_interval]))"
    return f"histogram_quantile(0.95, {inner})"


def board() -> Board:
    return Board(
        "slipway-saturation",
        "Slipway: saturation",
        "What is used up first, and what that does to who waits for it.",
        [
            Panel(
                "Threads that serve",
                "Of those that there are. Good: below 70 %; above 90 % requests wait.",
                "percentunit",
                [(ratio("slipway_threads_busy", "slipway_threads", "pod"), "{{pod}}")],
                limits=(0.7, 0.9),
                runbook="SlipwayThreadsSaturated",
            ),
            Panel(
                "Waiting for a thread",
                "From nginx on, 95 % of the requests wait less. Good: 10 ms.",
                "s",
                [(slowest("slipway_request_queue_seconds"), "{{namespace}}")],
                limits=(0.05, 0.25),
                runbook="SlipwayThreadsSaturated",
            ),
            Panel(
                "Database connections in use",
                "Of those that the pools may open. Good: below 70 %.",
                "percentunit",
                [
                    (
                        ratio(
                            "slipway_database_connections_busy",
                            "slipway_database_connections",
                            "pod",
                        ),
                        "{{pod}}",
                    )
                ],
                limits=(0.7, 0.9),
                runbook="SlipwayDatabasePoolSaturated",
            ),
            Panel(
                "Waiting for a connection",
                "95 % of the requests wait less. Good: 10 ms; it gives up after two seconds.",
                "s",
                [(slowest("slipway_database_wait_seconds"), "{{namespace}}")],
                limits=(0.05, 0.5),
                runbook="SlipwayDatabasePoolSaturated",
            ),
            Panel(
                "Kept answers",
                "The share of questions to the cache that had an answer. Good: as ever; a fall"
                " makes the database work. Away: Valkey did not answer.",
                "percentunit",
                [
                    (
                        "sum by (topic, outcome) (rate(slipway_cache_requests_total"
                        f"{{{PODS}}}[$__rate_interval])) / on (topic) group_left sum by (topic)"
                        f" (rate(slipway_cache_requests_total{{{PODS}}}[$__rate_interval]))",
                        "{{topic}} {{outcome}}",
                    )
                ],
                runbook="SlipwayValkeyDown",
            ),
            Panel(
                "Refused by limits",
                "429s by limit. Good: none, or a client who was told to ask less.",
                "reqps",
                [
                    (
                        f"sum by (limit) (rate(slipway_limits_hit_total{{{PODS}}}"
                        "[$__rate_interval]))",
                        "{{limit}}",
                    )
                ],
                limits=(1, 10),
            ),
            Panel(
                "nginx's connections",
                "Open ones, by what they do. Good: far below 4,096 a process; many that write"
                " are clients that read slowly.",
                "short",
                [
                    (f"sum by (namespace) (nginx_connections_{state}{{{PODS}}})", state)
                    for state in ("reading", "writing", "waiting")
                ],
                limits=(2000, 6000),
            ),
            Panel(
                "What it depends on",
                "1 answers, 0 does not. Good: 1.",
                "short",
                [
                    (
                        f"min by (namespace, dependency) (slipway_dependency_up{{{PODS}}})",
                        "{{dependency}}",
                    )
                ],
                kind="stat",
                limits=(1, 0.5),
                more_is_better=True,
                runbook="SlipwayDatabaseDown",
            ),
            waiting("Tasks that wait"),
            Panel(
                "Processor",
                "Cores in use, by container. Good: below its limit, where it is throttled.",
                "short",
                [
                    (
                        "sum by (container) (rate(container_cpu_usage_seconds_total"
                        f"{{{CONTAINERS}}}[$__rate_interval]))",
                        "{{container}}",
                    )
                ],
            ),
            Panel(
                "Memory of its limit",
                "By container, the fullest pod. Good: below 80 %; at 100 % it is killed.",
                "percentunit",
                [
                    (
                        f"max by (container) (container_memory_working_set_bytes{{{CONTAINERS}}}"
                        " / on (namespace, pod, container)"
                        " (kube_pod_container_resource_limits"
                        f'{{{CONTAINERS}, resource="memory"}}'
                        " or kube_pod_init_container_resource_limits"
                        f'{{{CONTAINERS}, resource="memory"}}))',
                        "{{container}}",
                    )
                ],
                limits=(0.8, 0.9),
                runbook="SlipwayMemoryNearLimit",
            ),
            Panel(
                "Restarts",
                "Of containers, in the last hour. Good: none; a rollout makes none.",
                "short",
                [
                    (
                        "sum by (pod, container) (increase(kube_pod_container_status_restarts_total"
                        f"{{{CONTAINERS}}}[1h]) or"
                        " increase(kube_pod_init_container_status_restarts_total"
                        f"{{{CONTAINERS}}}[1h]))",
                        "{{pod}} {{container}}",
                    )
                ],
                limits=(1, 3),
                runbook="SlipwayCrashLooping",
            ),
        ],
        variables=("pod",),
    )

"""Old and new side by side, while one takes the other's place."""

from ops.dashboards.parts import PODS, SPACE, Board, Panel
from ops.dashboards.service import BUCKET, COUNT

# Of the pod that a series is of, by the commit that it runs.
BUILD = f"* on (namespace, pod) group_left (commit) slipway_build_info{{{PODS}}}"
INFO = "kube_pod_container_info"


def by_commit(expression: str, keep: str = "commit") -> str:
    return f"sum by ({keep}) ({expression} {BUILD})"


def requests(selector: str = "") -> str:
    return f"rate({COUNT}{{{PODS}{selector}}}[$__rate_interval])"


def board() -> Board:
    errors = by_commit(requests(', status=~"5.."'))
    everything = by_commit(requests())
    slow = by_commit(f"rate({BUCKET}{{{PODS}}}[$__rate_interval])", "commit, le")
    return Board(
        "slipway-release",
        "Slipway: release",
        "Whether the new version serves as well as the old one, while both do.",
        [
            Panel(
                "Requests by version",
                "Good: the new one takes over what the old one leaves, step by step.",
                "reqps",
                [(everything, "{{commit}}")],
            ),
            Panel(
                "Errors by version",
                "The share of 5xx. Good: no more from the new one than from the old one.",
                "percentunit",
                [(f"({errors} or 0 * {everything}) / {everything}", "{{commit}}")],
                limits=(0.001, 0.0144),
                runbook="SlipwayErrorBudgetBurn",
            ),
            Panel(
                "Duration by version",
                "95 % of the answers take less. Good: 250 ms, and no slower than before.",
                "s",
                [(f"histogram_quantile(0.95, {slow})", "{{commit}}")],
                limits=(0.25, 1),
                runbook="SlipwayLatencyBudgetBurn",
            ),
            Panel(
                "Pods by version",
                "Good: never fewer than are wanted, and in the end of one version alone.",
                "short",
                [(f"count by (commit, job) (slipway_build_info{{{PODS}}})", "{{job}} {{commit}}")],
            ),
            Panel(
                "Pods that serve",
                "Available ones, and those that are wanted. Good: both are the same.",
                "short",
                [
                    (
                        f"kube_deployment_status_replicas_available{{{SPACE}}}",
                        "{{deployment}} available",
                    ),
                    (f"kube_deployment_spec_replicas{{{SPACE}}}", "{{deployment}} wanted"),
                ],
                runbook="SlipwayUnavailable",
            ),
            Panel(
                "Containers that cannot start",
                "Those that wait to be started, and why. Good: none but for a moment.",
                "short",
                [
                    (
                        "sum by (pod, reason)"
                        f" (kube_pod_container_status_waiting_reason{{{SPACE}}}"
                        f" or kube_pod_init_container_status_waiting_reason{{{SPACE}}})"
                        f" or 0 * sum by (pod, reason) (kube_pod_status_ready{{{SPACE}}})",
                        "{{pod}} {{reason}}",
                    )
                ],
                limits=(1, 2),
                runbook="SlipwayCrashLooping",
            ),
            Panel(
                "Images",
                "What each pod runs. Good: one image, once a rollout is over.",
                "short",
                [
                    (
                        f"count by (pod, image) ({INFO}{{{SPACE}}}"
                        f" or kube_pod_init_container_info{{{SPACE}}})",
                        "",
                    )
                ],
                kind="table",
                width=24,
            ),
        ],
        variables=("pod",),
    )

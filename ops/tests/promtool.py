"""promtool of the image that the chart names: alerts over made-up time, as Prometheus sees them."""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ops.generate import ROOT, RULES

VALUES = ROOT / "helm/observability/values.yaml"
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]

Labels = dict[str, str]


def take(folder: Path) -> Path:
    """The program, copied out of the image: a container for each run would take longer."""
    image = yaml.safe_load(VALUES.read_text())["prometheus"]["image"]

    def docker(*arguments: str) -> str:
        command = ["docker", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    container = docker("create", f"{image['repository']}:{image['tag']}")
    try:
        docker("cp", f"{container}:/bin/promtool", str(folder / "promtool"))
    finally:
        docker("rm", container)
    return folder / "promtool"


@dataclass(frozen=True)
class Firing:
    """An alert that is expected: its labels, and the value in its description as people read it."""

    labels: Labels
    value: str


@dataclass(frozen=True)
class Expected:
    """All that fires of a name after so much time; nothing else does."""

    after: str
    alert: str
    firing: tuple[Firing, ...] = ()


@dataclass
class Story:
    """What Prometheus sees, sample by sample, and which alerts follow."""

    series: dict[str, str]
    expected: list[Expected]
    # Between two samples, and between two looks at the rules.
    interval: str = "1m"
    # Samples of an expression, by the time and the expression.
    samples: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)

    def test(self) -> dict[str, Any]:
        return {
            "interval": self.interval,
            "input_series": [{"series": k, "values": v} for k, v in self.series.items()],
            "alert_rule_test": [
                {
                    "eval_time": expected.after,
                    "alertname": expected.alert,
                    "exp_alerts": [_expect(expected.alert, one) for one in expected.firing],
                }
                for expected in self.expected
            ],
            "promql_expr_test": [
                {
                    "eval_time": after,
                    "expr": expression,
                    "exp_samples": [{"labels": k, "value": v} for k, v in samples.items()],
                }
                for (after, expression), samples in self.samples.items()
            ],
        }


def _expect(name: str, firing: Firing) -> dict[str, Any]:
    """With the annotations of the rule, as they read with these labels and this value."""
    (rule,) = (
        rule
        for rule in ALERTS
        if rule["alert"] == name and rule["labels"].items() <= firing.labels.items()
    )
    return {
        "exp_labels": firing.labels,
        "exp_annotations": {
            name: _read(text, firing) for name, text in rule["annotations"].items()
        },
    }


def _read(text: str, firing: Firing) -> str:
    text = re.sub(r"{{ \$labels\.(\w+) }}", lambda found: firing.labels[found[1]], text)
    return re.sub(r"{{ \$value[^}]*}}", firing.value, text)


def only(windows: set[str], folder: Path) -> Path:
    """The rules that count these windows alone: promtool takes a minute for three days of all."""

    def is_meant(rule: dict[str, Any]) -> bool:
        text = f"{rule.get('record')} {rule['expr']}"
        named = set(re.findall(r"slipway:sli_\w+:[a-z_]+(\d+[smhd])", text))
        return bool(named) and named <= windows

    groups = [
        group | {"rules": [rule for rule in group["rules"] if is_meant(rule)]} for group in GROUPS
    ]
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": groups}))
    return file


def tell(promtool: Path, folder: Path, story: Story, rules: Path = RULES) -> None:
    """Fails with what promtool says where an alert does not do what is expected of it."""
    file = folder / "test.yaml"
    # It looks at every group so often, whatever the group says: minutes are recorded each minute.
    content = {"rule_files": [str(rules)], "evaluation_interval": story.interval}
    file.write_text(yaml.safe_dump(content | {"tests": [story.test()]}))
    done = subprocess.run(
        [promtool, "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def counter(*phases: tuple[int, float]) -> str:
    """Samples that rise: so many, each by so much."""
    told, start = [], 0.0
    for samples, step in phases:
        told.append(f"{start:g}+{step:g}x{samples - 1}")
        start += samples * step
    return " ".join(told)


def gauge(*phases: tuple[int, float | None]) -> str:
    """Samples that stay: so many of each; None where the target tells nothing."""
    return " ".join(
        f"_x{samples}" if value is None else f"{value:g}x{samples - 1}" for samples, value in phases
    )

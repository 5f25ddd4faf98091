"""Write what follows from slo.yaml: `make slo`.

The charts' rules and dashboards, and the gate of the load tests. A test fails while one of them is
not what this writes.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from ops import dashboards, rules
from ops.slo import SLO, SLOError, load

ROOT = Path(__file__).parents[1]
RULES = ROOT / "helm/slipway/files/rules.yaml"
DASHBOARDS = ROOT / "helm/slipway/files/dashboards"
GATE = ROOT / "loadtests/slo.json"
MADE = "Made by `make slo` from ops/slo.yaml. Edit that."


class Dumper(yaml.SafeDumper):
    """YAML as people write it: sequences indented, texts of several lines as blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, _text)


def _rules(slo: SLO) -> str:
    content = {"groups": rules.groups(slo)}
    body = yaml.dump(content, Dumper=Dumper, sort_keys=False, width=10_000, allow_unicode=True)
    return f"# {MADE}\n{body}"


def _gate(slo: SLO) -> str:
    """Milliseconds and percent, by route; `default` for those that are not named."""
    routes = {route: slo.load.of(route).model_dump() for route in slo.load.routes}
    content = {"made": MADE, "default": slo.load.default.model_dump(), "routes": routes}
    return json.dumps(content, indent=2) + "\n"


def files(slo: SLO) -> dict[Path, str]:
    """Everything that is generated, and what has to stand in it."""
    made = {RULES: _rules(slo), GATE: _gate(slo)}
    for uid, dashboard in dashboards.build().items():
        made[DASHBOARDS / f"{uid}.json"] = json.dumps(dashboard, indent=2) + "\n"
    return made


def main() -> None:
    try:
        made = files(load())
    except SLOError as error:
        sys.exit("\n".join(f"slo: {line}" for line in str(error).splitlines()))
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for former in set(DASHBOARDS.glob("*.json")) - made.keys():
        former.unlink()


if __name__ == "__main__":
    main()

"""Writes the table of values in each chart's README from the comments of its values.yaml.

A line `# -- …` describes the value below it, or all that is below that. With `--check`, nothing is
written: the exit status is 1 when the table is stale or a value has no such line.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHARTS = sorted(path.parent for path in Path(__file__).parent.glob("*/values.yaml"))
BEGIN, END = "<!-- values: written by helm/values_table.py -->", "<!-- /values -->"

Described = dict[tuple[str, ...], str]


def described(text: str) -> Described:
    """The description of each path that has one, in the file's order."""
    found: Described = {}
    path: list[tuple[int, str]] = []
    description = None
    for line in text.splitlines():
        if comment := re.match(r"\s*# -- (.+)", line):
            description = comment[1]
        elif key := re.match(r"( *)([A-Za-z]+):", line):
            indent = len(key[1])
            path = [(i, name) for i, name in path if i < indent] + [(indent, key[2])]
            if description:
                found[tuple(name for _, name in path)] = description
                description = None
    return found


def leaves(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of each value that is not a mapping with something in it."""
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from leaves(value, (*path, key))
    else:
        yield path


def undescribed(values: Any, found: Described) -> list[str]:
    def known(path: tuple[str, ...]) -> bool:
        return any(path[:length] in found for length in range(1, len(path) + 1))

    return [".".join(path) for path in leaves(values) if not known(path)]


def table(values: Any, found: Described) -> str:
    rows = ["| Value | Default | Why one would change it |", "|---|---|---|"]
    for path, description in found.items():
        default = values
        for key in path:
            default = default[key]
        shown = json.dumps(default, ensure_ascii=False)
        cells = (f"`{'.'.join(path)}`", f"`{shown}`", description)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def main() -> str | None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, say what is stale")
    parser.add_argument("chart", type=Path, nargs="*", default=CHARTS, help="a chart's folder")
    arguments = parser.parse_args()
    wrong = (write(chart, arguments.check) for chart in arguments.chart)
    return "\n".join(filter(None, wrong)) or None


def write(chart: Path, check: bool) -> str | None:
    """What is wrong with a chart's table, if anything is."""
    text = (chart / "values.yaml").read_text()
    values, found = yaml.safe_load(text), described(text)
    if missing := undescribed(values, found):
        return f"values_table: {chart}: no `# --` line in values.yaml for {', '.join(missing)}"
    page = chart / "README.md"
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    fresh = f"{before}{BEGIN}\n{table(values, found)}\n{END}{after}"
    if fresh == page.read_text():
        return None
    if check:
        return f"values_table: {page} is stale: run python helm/values_table.py"
    page.write_text(fresh)
    return None


if __name__ == "__main__":
    sys.exit(main())

"""A pytest plugin: what is cheap runs first, and each file's time is told at the end."""

from collections import defaultdict

import pytest

DEAR = ["engine", "cluster"]


def _cost(item: pytest.Item) -> int:
    needs = {need for marker in item.iter_markers("needs") for need in marker.args}
    return max((rank for rank, need in enumerate(DEAR, 1) if need in needs), default=0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_cost)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seconds: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.split("::")[0]] += report.duration
    terminalreporter.section("time of each part")
    for part, spent in seconds.items():
        terminalreporter.write_line(f"time: {part} {spent:.0f} s")

"""A pytest plugin: what is cheap runs first, and each file's time is told at the end.

With `-n 2 --dist loadgroup --no-loadscope-reorder`, two processes share the tests. Then what waits
for a cluster most of its time begins first, beside all the others, and what is marked `alone`
comes last, when nothing else runs: it counts lost requests.
"""

import fcntl
from collections import defaultdict
from collections.abc import Iterator
from typing import TextIO

import pytest

DEAR = ["engine", "cluster"]
ALONE = "alone"
# The lock that all processes of a run share.
_turn = pytest.StashKey[TextIO]()


def _needs(item: pytest.Item) -> set[str]:
    return {need for marker in item.iter_markers("needs") for need in marker.args}


def _cost(item: pytest.Item) -> int:
    return max((rank for rank, need in enumerate(DEAR, 1) if need in _needs(item)), default=0)


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker(ALONE) is not None


def _group(item: pytest.Item) -> str | None:
    """The name of those that one process runs, one after the other."""
    if "cluster" in _needs(item):
        return ALONE if _is_alone(item) else "cluster"
    assert isinstance(item, pytest.Function)
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    if any(one.scope in {"class", "module"} for found in fixtures for one in found):
        return f"{item.path.stem}-{_cost(item)}"
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (_is_alone(item), _cost(item)))
    if hasattr(config, "workerinput"):
        for item in items:
            if group := _group(item):
                item.add_marker(pytest.mark.xdist_group(group))
        items.sort(key=lambda item: _group(item) != "cluster")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if not hasattr(item.config, "workerinput"):
        return (yield)
    if _turn not in item.config.stash:
        folder = item.config._tmp_path_factory.getbasetemp().parent  # type: ignore[attr-defined]
        item.config.stash[_turn] = (folder / "turn").open("w")
    turn = item.config.stash[_turn]
    fcntl.flock(turn, fcntl.LOCK_EX if _is_alone(item) else fcntl.LOCK_SH)
    try:
        return (yield)
    finally:
        # Who is alone stays so: they come last.
        if not _is_alone(item):
            fcntl.flock(turn, fcntl.LOCK_UN)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seconds: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.split("::")[0]] += report.duration
    terminalreporter.section("time of each part")
    for part, spent in seconds.items():
        terminalreporter.write_line(f"time: {part} {spent:.0f} s")

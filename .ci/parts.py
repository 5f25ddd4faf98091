"""A pytest plugin: what is cheap runs first, and each file's time is told at the end.

With `-n 3 --dist loadfile --no-loadscope-reorder`, three processes share the files. Then what waits
for a cluster most of its time begins first, beside all the others, and what is marked `alone`
comes last, when nothing else runs: it counts lost requests, or needs the cluster to itself.
"""

import fcntl
from collections import defaultdict
from collections.abc import Iterator
from typing import TextIO

import pytest

DEAR = ["databases", "engine", "cluster"]
# The lock that all processes of a run share.
_turn = pytest.StashKey[TextIO]()


def _cost(item: pytest.Item) -> int:
    needs = {need for marker in item.iter_markers("needs") for need in marker.args}
    return max((rank for rank, need in enumerate(DEAR, 1) if need in needs), default=0)


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (_is_alone(item), _cost(item)))
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _is_alone(item) or _cost(item) < len(DEAR))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
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
        # Who is alone stays so until the end of its file, whose fixtures are gone by then.
        if not _is_alone(item) or nextitem is None or nextitem.path != item.path:
            fcntl.flock(turn, fcntl.LOCK_UN)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if turn := session.config.stash.get(_turn, None):
        turn.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seconds: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.split("::")[0]] += report.duration
    terminalreporter.section("time of each part")
    for part, spent in seconds.items():
        terminalreporter.write_line(f"time: {part} {spent:.0f} s")

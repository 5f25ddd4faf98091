"""What several tests of releases take."""

from collections.abc import Iterator

import pytest


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """Lines that stand in the output of a passing run too: what was measured."""
    lines: list[str] = []
    yield lines
    with capsys.disabled():
        print("".join(f"\n  {line}" for line in lines))

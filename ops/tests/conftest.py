"""What several tests of ops take."""

from pathlib import Path

import promtool as tool
import pytest


@pytest.fixture(scope="session")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tool.take(tmp_path_factory.mktemp("promtool"))

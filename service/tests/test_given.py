"""Tests on databases that are there already, as a workflow's services are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.needs("engine")
def test_given_databases_no_engine_is_needed(postgres: str, valkey: str) -> None:
    given = {
        "TEST_POSTGRES_URL": postgres,
        "TEST_VALKEY_URL": valkey,
        "DOCKER_HOST": "unix:///nonexistent",
        "REQUIRE_CLUSTER": "1",
    }
    where = ["service/tests/test_users.py", "-k", "overwritten and postgresql"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *where],
        cwd=ROOT, env=os.environ | given, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout

"""Which tests this machine can run: `@pytest.mark.needs("engine")` and its like.

What needs databases takes a PostgreSQL and a Valkey from TEST_POSTGRES_URL (without a database's
name) and TEST_VALKEY_URL, and where these are not set, starts its own on the engine.

A test whose need is missing is skipped in one line that says what is missing; with
REQUIRE_CLUSTER=1 it fails instead, so that a gate cannot pass by skipping.
"""

import functools
import os
import shutil
import subprocess
import urllib.request

import pytest

# Never required: a machine without a mirror that reaches no registry cannot help it.
OPTIONAL = {"aws-provider"}


def _answers(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _registry_answers() -> bool:
    try:
        with urllib.request.urlopen(
            "https://registry.terraform.io/.well-known/terraform.json", timeout=5
        ):
            return True
    except OSError:
        return False


@functools.cache
def missing(need: str) -> str | None:
    """What is missing for `need`, in words, or None when it is there."""
    match need:
        case "databases" if os.environ.keys() >= {"TEST_POSTGRES_URL", "TEST_VALKEY_URL"}:
            there, what = True, ""
        case "engine" | "databases":
            there, what = _answers("docker", "version"), "a Docker engine that answers"
        case "cluster":
            there = _answers("kubectl", "--request-timeout=10s", "get", "--raw", "/readyz")
            what = "a Kubernetes cluster in the current kube context"
        case "aws-provider":
            # A mirror that is named has to be right: Terraform says what is wrong with it.
            there = bool(os.environ.get("TF_PLUGIN_MIRROR")) or _registry_answers()
            what = "provider of AWS: no TF_PLUGIN_MIRROR, and Terraform's registry is silent"
        case tool:
            there, what = shutil.which(tool) is not None, f"{tool} on the PATH"
    return None if there else what


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*what): databases, engine, cluster, or a tool's name")
    config.addinivalue_line("markers", "alone: nothing else may run beside it; see parts.py")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for need in marker.args:
            if what := missing(need):
                if os.environ.get("REQUIRE_CLUSTER") == "1" and need not in OPTIONAL:
                    pytest.fail(f"REQUIRE_CLUSTER=1, and there is no {what}", pytrace=False)
                pytest.skip(f"needs {what}")

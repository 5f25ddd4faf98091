"""openapi.json says what the service does, and the service does what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from serving import migrate, serving

TESTS = Path(__file__).parent


def test_every_operation_says_who_may_call_it_and_what_it_answers(anonymous: FlaskClient) -> None:
    document = anonymous.get("/openapi.json").get_json()
    assert document["openapi"].startswith("3.1")
    names = []
    for path, operations in document["paths"].items():
        for method in operations.keys() & {"get", "post", "put", "patch", "delete"}:
            operation = operations[method]
            names.append(operation["operationId"])
            assert operation["summary"], path
            assert "default" in operation["responses"]
            answer = anonymous.open(re.sub("{.*}", "1", path), method=method)
            if answer.status_code == 401:
                assert operation["security"] == [{"bearer": []}], path
    assert len(names) == len(set(names))
    assert {"401", "403"} <= document["paths"]["/api/users"]["get"]["responses"].keys()


@pytest.mark.needs("engine")
def test_schemathesis_finds_nothing(tmp_path: Path, postgres_url: str, shared_valkey: str) -> None:
    """All its checks in all its phases, links from one operation to the next included."""
    migrate(postgres_url)
    unlimited = dict.fromkeys(("RATE_LIMIT", "LOGIN_LIMIT", "SIGNUP_LIMIT"), "100000 per second")
    with serving(tmp_path, postgres_url, REDIS_URL=shared_valkey, **unlimited) as server:
        asked = [
            *("run", f"http://127.0.0.1:{server.port}/openapi.json", "--checks=all"),
            *("--phases=coverage,fuzzing,stateful", "--mode=all", "--max-examples=30"),
            *("--continue-on-failure", "--suppress-health-check=all", "--request-timeout=20"),
            "--no-color",
        ]
        done = subprocess.run(
            [str(Path(sys.executable).with_name("schemathesis")), *asked],
            cwd=tmp_path,
            env={
                **os.environ,
                "ENVIRONMENT": "development",
                "DATABASE_URL": postgres_url,
                "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
                "PYTHONPATH": str(TESTS),
            },
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "Stateful" in done.stdout

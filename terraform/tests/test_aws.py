"""terraform/aws: its logic against a mocked provider, and its whole life with the real one.

The real provider meets moto's server (cloud.py) on 127.0.0.1. What moto has not: EKS's add-ons
and access entries, subscribers of a budget, nodes of Valkey; these are mocked only.
"""

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import charts
import kubernetes_validate
import psycopg
import pytest
import yaml

from test_make import free_port

AWS = Path(__file__).parents[1] / "aws"
PYTHON = Path(__file__).parents[1] / ".venv/bin/python"
pytestmark = pytest.mark.needs("terraform", "aws-provider")

Terraform = Callable[..., subprocess.CompletedProcess[str]]
ACCOUNT = {
    "region": "eu-central-1",
    "state_bucket": "slipway-states",
    "github_repository": "you/slipway",
    "monthly_budget_usd": None,
}
ENVIRONMENT: dict[str, Any] = {
    "region": "eu-central-1",
    "public_access_cidrs": ["203.0.113.7/32"],
    "alarm_emails": ["oncall@example.org"],
    "addons": {},
    "valkey": None,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Terraform keeps what it makes, so that nothing is left beside the code."""
    return tmp_path_factory.mktemp("terraform")


@pytest.fixture(scope="module")
def terraform(home: Path) -> Terraform:
    """`terraform COMMAND...` in the folder `at`, with one copy of the provider for all."""
    cache = home / "plugins"
    cache.mkdir()
    given = {"TF_PLUGIN_CACHE_DIR": str(cache), "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
    if mirror := os.environ.get("TF_PLUGIN_MIRROR"):
        config = home / "mirror.tfrc"
        place = f"filesystem_mirror {{\n path = {json.dumps(mirror)}\n }}"
        config.write_text(f"provider_installation {{\n {place}\n}}\n")
        given["TF_CLI_CONFIG_FILE"] = str(config)
    else:
        given["TF_CLI_CONFIG_FILE"] = os.devnull

    def run(
        *command: str, at: Path = AWS, expect: int = 0, **more: str
    ) -> subprocess.CompletedProcess[str]:
        data = {"TF_DATA_DIR": str(home / f"data-{at.name}-{more.pop('data', 'mock')}")}
        done = subprocess.run(
            ["terraform", f"-chdir={at}", *command],
            env=os.environ | given | data | more,
            capture_output=True, text=True, check=False, timeout=420,
        )  # fmt: skip
        assert done.returncode == expect, done.stdout[-3000:] + done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def cloud(home: Path) -> Iterator[dict[str, str]]:
    """What makes the provider and the state's backend find the stand-in for AWS."""
    port = free_port()
    with (home / "cloud.log").open("w") as log:
        process = subprocess.Popen(
            [PYTHON, Path(__file__).with_name("cloud.py"), str(port)], stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not _answers(f"{url}/moto-api/"):
            assert process.poll() is None, "moto ended"
            assert time.monotonic() < deadline, "moto did not come up"
            time.sleep(0.2)
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
        }
    finally:
        process.terminate()
        process.wait(timeout=20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - it is ours
            return bool(answer.status == 200)
    except OSError:
        return False


def _live(terraform: Terraform, cloud: dict[str, str], home: Path) -> dict[str, str]:
    """Make an account and an environment, plan again, take it away; what it told meanwhile."""
    account = AWS / "account"
    more = cloud | {"data": "live"}
    given = home / "account.tfvars.json"
    given.write_text(json.dumps(ACCOUNT))
    # Its own state is a file: the bucket is only about to be.
    kept = (f"-state={home / 'account.tfstate'}",)
    known = (*kept, f"-var-file={given}")
    terraform("init", "-lockfile=readonly", at=account, **more)
    terraform("apply", "-auto-approve", "-input=false", *known, at=account, **more)
    terraform("plan", "-detailed-exitcode", "-input=false", *known, at=account, **more)
    backend = home / "backend.hcl"
    backend.write_text(terraform("output", "-raw", *kept, "backend", at=account, **more).stdout)

    given = home / "environment.tfvars.json"
    given.write_text(json.dumps(ENVIRONMENT))
    chosen = ("-input=false", "-var-file=dev.tfvars", f"-var-file={given}")
    to_bucket = (f"-backend-config={backend}", "-backend-config=key=dev.tfstate")
    terraform("init", "-lockfile=readonly", *to_bucket, **more)
    terraform("apply", "-auto-approve", *chosen, **more)
    terraform("plan", "-detailed-exitcode", *chosen, **more)
    told = {
        name: terraform("output", "-raw", name, **more).stdout for name in ("values", "secrets")
    }
    terraform("destroy", "-auto-approve", *chosen, **more)
    told["left"] = terraform("state", "list", **more).stdout
    return told


@pytest.fixture(scope="module", autouse=True)
def life(
    terraform: Terraform, cloud: dict[str, str], home: Path
) -> Iterator[Future[dict[str, str]]]:
    """It mostly waits, so the other tests run meanwhile."""
    terraform("init", "-backend=false", "-lockfile=readonly")
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(_live, terraform, cloud, home)


@pytest.mark.parametrize("folder", [AWS, AWS / "account"], ids=["environment", "account"])
def test_what_is_written_is_valid(terraform: Terraform, folder: Path) -> None:
    terraform("init", "-backend=false", "-lockfile=readonly", at=folder)
    terraform("validate", at=folder)


def test_modules_do_what_their_inputs_say_and_refuse_wrong_ones(terraform: Terraform) -> None:
    said = terraform("test", "-no-color").stdout
    assert "0 failed" in said
    tried = {
        word
        for file in (AWS / "tests").glob("*.tftest.hcl")
        for word in file.read_text().replace('"./modules/', '"').split('"')
    }
    assert {folder.name for folder in (AWS / "modules").iterdir()} <= tried


@pytest.mark.parametrize("size", ["dev", "prod"])
def test_a_size_contradicts_no_rule(terraform: Terraform, size: str) -> None:
    terraform("test", "-test-directory=tests/sizes", f"-var-file={size}.tfvars")


def test_applied_twice_it_changes_nothing_and_destroyed_it_leaves_nothing(
    life: Future[dict[str, str]],
) -> None:
    assert life.result()["left"] == ""


@pytest.mark.needs("helm")
def test_the_chart_takes_the_values_of_an_environment(
    life: Future[dict[str, str]], tmp_path: Path
) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(life.result()["values"])
    rendered = charts.render({}, file)
    for item in rendered.values():
        kubernetes_validate.validate(item, "1.34", strict=True)
    web = rendered["Deployment/slipway"]["spec"]["template"]["spec"]
    gunicorn = next(each for each in web["initContainers"] if each["name"] == "gunicorn")
    assert gunicorn["image"].startswith("123456789012.dkr.ecr.eu-central-1.amazonaws.com/slipway:")
    environment = {each["name"]: each for each in gunicorn["env"]}
    url = environment["DATABASE_URL"]["valueFrom"]["secretKeyRef"]
    assert url == {"name": "slipway-database", "key": "DATABASE_URL"}
    mounted = {each["name"]: each["mountPath"] for each in gunicorn["volumeMounts"]}
    assert environment["PGSERVICEFILE"]["value"] == f"{mounted['database']}/pg_service.conf"
    assert rendered["Service/slipway"]["spec"]["type"] == "LoadBalancer"


def test_libpq_reads_the_password_that_rds_makes_from_the_service_file(
    life: Future[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that may be in one: RDS takes printable ASCII but for / @ " and the space."""
    password = "".join(map(chr, range(33, 127))).translate({ord(each): "" for each in '/@"'})
    secrets: dict[str, Any] = {
        f"{item['kind']}/{item['metadata']['name']}": item
        for item in yaml.safe_load_all(life.result()["secrets"])
    }
    data = secrets["ExternalSecret/slipway-database"]["spec"]["target"]["template"]["data"]
    file = tmp_path / "pg_service.conf"
    text = data["pg_service.conf"]
    file.write_text(text.replace("{{ .username }}", "slipway").replace("{{ .password }}", password))
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    monkeypatch.setenv("PGSERVICE", data["DATABASE_URL"].partition("?service=")[2])
    read = {each.keyword: each.val for each in psycopg.pq.Conninfo.get_defaults()}
    assert read[b"password"] == password.encode()
    assert read[b"user"] == read[b"dbname"] == b"slipway"
    assert (read[b"host"] or b"").endswith(b".rds.amazonaws.com")
    assert read[b"sslmode"] == b"require"

"""terraform/local: what it refuses and plans, and a release that it brings and takes away.

A stub stands for kind, which brings machines of its own; all else is real.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import EVALUATION, NEEDS, Release, on_spare_cluster, run

FOLDER = Path(__file__).parents[1] / "local"
NAMESPACE = "slipway-terraform"
# As little as shows it, and no ports of the nodes, which another test's release may have.
SMALL = """
service: {type: ClusterIP, nodePorts: {http: null, https: null}}
tls: {selfSigned: false}
replicaCount: 1
drain: {preStopSeconds: 0, gunicornSeconds: 1}
worker: {enabled: false}
valkey: {enabled: false}
"""
UNCHANGED = "0 added, 0 changed, 0 destroyed"

pytestmark = pytest.mark.needs("terraform")


class Terraform:
    """It runs where the configuration is, and keeps what it knows elsewhere."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.variables = {f"TF_VAR_{name}": text for name, text in variables.items()}
        self("init", f"-backend-config=path={folder}/terraform.tfstate")

    def attempt(
        self, verb: str, *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        program = shutil.which("terraform")
        assert program
        known = {key: value for key, value in os.environ.items() if key != "MAKEFLAGS"}
        own = {"TF_DATA_DIR": str(self.folder / "data"), "TF_INPUT": "0"}
        return subprocess.run(
            [program, f"-chdir={FOLDER}", verb, "-no-color", *arguments],
            env=known | own | self.variables | environment,
            capture_output=True, text=True, check=False, timeout=900,
        )  # fmt: skip

    def __call__(self, verb: str, *arguments: str, **environment: str) -> str:
        done = self.attempt(verb, *arguments, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def test_it_is_formatted_and_plans_what_its_variables_say(tmp_path: Path) -> None:
    terraform = Terraform(tmp_path)
    assert terraform("fmt", "-check", "-recursive") == ""
    terraform("validate")
    assert ", 0 failed." in terraform("test")


# ── The kind cluster ────────────────────────────────────────────────────────────────────────────

ONLY_CLUSTER = "-target=terraform_data.cluster"


def test_the_kind_cluster_that_it_makes_is_the_one_that_it_takes_away(tmp_path: Path) -> None:
    terraform = Terraform(tmp_path, cluster_name="dev")
    kind = tmp_path / "kind"
    kind.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    kind.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    terraform("apply", "-auto-approve", ONLY_CLUSTER, PATH=path)
    # What it is called by then is in the state, not in a variable.
    terraform.variables["TF_VAR_cluster_name"] = "other"
    terraform("destroy", "-auto-approve", ONLY_CLUSTER, PATH=path)
    assert (tmp_path / "calls").read_text().splitlines() == [
        "create cluster --name dev --config helm/kind.yaml --wait 180s",
        "delete cluster --name dev",
    ]


def test_a_cluster_that_could_not_be_made_is_not_taken_away(tmp_path: Path) -> None:
    """It may be somebody else's, of the same name."""
    terraform = Terraform(tmp_path)
    kind = tmp_path / "kind"
    kind.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\necho taken >&2\nexit 1\n')
    kind.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    failed = terraform.attempt("apply", "-auto-approve", ONLY_CLUSTER, PATH=path)
    assert failed.returncode == 1
    assert "taken" in failed.stderr
    terraform("destroy", "-auto-approve", ONLY_CLUSTER, PATH=path)
    assert "delete" not in (tmp_path / "calls").read_text()


def test_without_kind_it_says_how_to_go_on(tmp_path: Path) -> None:
    terraform = Terraform(tmp_path)
    failed = terraform.attempt("apply", "-auto-approve", ONLY_CLUSTER, PATH=str(tmp_path))
    assert failed.returncode == 1
    # Not what is run, which has the words in it, but what it says.
    assert "(local-exec): terraform/local: kind is not on the PATH. Install it" in failed.stdout


# ── A cluster that is there already ─────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    with on_spare_cluster(NAMESPACE, tmp_path_factory.mktemp("values")) as release:
        (release.folder / "small.yaml").write_text(SMALL)
        yield release


@pytest.fixture(scope="module")
def terraform(release: Release) -> Terraform:
    return Terraform(
        release.folder,
        kube_context=run("kubectl", "config", "current-context").strip(),
        namespace=NAMESPACE,
        values=f'["{EVALUATION}", "{release.folder}/small.yaml"]',
        observability="false",
    )


def volume(release: Release) -> str:
    return release.kubectl("get", "pvc", "--output=jsonpath={.items[*].metadata.uid}")


@NEEDS
def test_apply_releases(release: Release, terraform: Terraform) -> None:
    terraform("apply", "-auto-approve")
    assert release.revision() == 1
    assert terraform("output", "-raw", "namespace") == NAMESPACE


@NEEDS
def test_a_second_apply_changes_nothing(release: Release, terraform: Terraform) -> None:
    assert "No changes." in terraform("plan", "-detailed-exitcode")
    assert UNCHANGED in terraform("apply", "-auto-approve")
    assert release.revision() == 1


@NEEDS
def test_another_input_is_released_without_taking_the_former_away(
    release: Release, terraform: Terraform
) -> None:
    before = volume(release)
    (release.folder / "small.yaml").write_text(
        SMALL.replace("{type:", "{annotations: {a: b}, type:")
    )
    assert "1 added, 0 changed, 1 destroyed" in terraform("apply", "-auto-approve")
    assert release.revision() == 2
    assert volume(release) == before != ""


@NEEDS
def test_a_deploy_that_fails_fails_the_apply_with_its_own_words(
    release: Release, terraform: Terraform
) -> None:
    failed = terraform.attempt("apply", "-auto-approve", "-var=image=slipway:none")
    assert failed.returncode == 1
    assert "deploy: there is no image 'slipway:none' in the Docker engine" in failed.stderr
    assert release.revision() == 2


@NEEDS
def test_destroy_takes_the_release_away_even_then(release: Release, terraform: Terraform) -> None:
    said = terraform("destroy", "-auto-approve", PURGE="1")
    assert f"deleted namespace {NAMESPACE}" in said
    assert "No resources" in terraform("show")
    gone = subprocess.run(
        ["kubectl", "get", "namespace", NAMESPACE], capture_output=True, check=False
    )
    assert gone.returncode != 0

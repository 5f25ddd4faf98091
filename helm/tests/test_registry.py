"""Image and chart in a registry of this machine: pushed, signed, tampered with, deployed."""

import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import live
import pytest
from charts import HELM
from deploy import image
from deploy.image import Image

ROOT = HELM.parent
PASSWORD = {"COSIGN_PASSWORD": "a test's"}
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
pytestmark = pytest.mark.needs("engine", "registry", "cosign")


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "MAKEFLAGS"}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment | PASSWORD, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


@dataclass(frozen=True)
class Registry:
    host: str
    folder: Path

    def ask(self, path: str, put: bytes | None = None, media: str = "") -> Any:
        """The answer to a GET, or to a PUT of that body."""
        headers = {"Content-Type": media} if media else {"Accept": ", ".join(MANIFESTS)}
        method = "GET" if put is None else "PUT"
        request = urllib.request.Request(
            f"http://{self.host}/v2/{path}", data=put, headers=headers, method=method
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.read()

    def answers(self) -> bool:
        try:
            self.ask("")
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    settings = {
        "version": 0.1,
        "log": {"accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": host, "secret": "a test's"},
    }
    (folder / "config.yml").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        serving = subprocess.Popen(
            ["registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log
        )
    found = Registry(host, folder)
    try:
        live.until(found.answers, (folder / "log").read_text, seconds=20)
        yield found
    finally:
        serving.terminate()
        serving.wait()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def pushed(registry: Registry) -> Iterator[Image]:
    """What `make push` has pushed, for the engine's own platform: it may know no other.

    An image of its own, and another one at each run. An engine asks for no manifest that it has
    had; and an image that a kubelet has pulled is from then on for those alone who may pull it, no
    more for those who handed the same one to the node under another name.
    """
    platform = subprocess.run(
        ["docker", "version", "--format={{.Server.Os}}/{{.Server.Arch}}"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    to = f"IMAGE={registry.host}/slipway"
    label = f"BUILD_ARGS={os.environ.get('BUILD_ARGS', '')} --label=test={secrets.token_hex(8)}"
    done = make("push", to, f"PLATFORMS={platform}", "ATTESTATIONS=0", label)
    assert done.returncode == 0, done.stderr
    named = image.by_digest((ROOT / "dist/image").read_text().strip())
    assert named
    assert str(named) in done.stdout
    yield named
    names = [str(named), str(named).partition("@")[0]]
    subprocess.run(["docker", "rmi", *names], capture_output=True, check=False)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pairs `ours` and `theirs`."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        subprocess.run(
            ["cosign", "generate-key-pair", f"--output-key-prefix={name}"],
            cwd=folder, env=os.environ | PASSWORD, check=True, capture_output=True,
        )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def signed(pushed: Image, keys: Path) -> Image:
    done = make("sign", f"IMAGE={pushed}", f"COSIGN_KEY={keys / 'ours.key'}")
    assert done.returncode == 0, done.stderr
    return pushed


def verify(reference: object, key: Path) -> subprocess.CompletedProcess[str]:
    return make("verify", f"IMAGE={reference}", f"COSIGN_PUB={key}")


def digest(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def test_the_digest_names_what_lies_in_the_registry(registry: Registry, pushed: Image) -> None:
    version, of_manifest = pushed.tag.split("@")
    by_tag = registry.ask(f"slipway/manifests/{version}")
    assert digest(by_tag) == of_manifest


def test_a_signature_is_verified_by_its_key_alone(signed: Image, keys: Path) -> None:
    ours = verify(signed, keys / "ours.pub")
    assert ours.returncode == 0, ours.stderr
    assert f"{signed} is signed by" in ours.stdout
    theirs = verify(signed, keys / "theirs.pub")
    assert theirs.returncode != 0
    assert "could not verify" in theirs.stderr.splitlines()[0]


def test_a_signature_put_beside_another_image_is_refused(
    registry: Registry, signed: Image, keys: Path
) -> None:
    """The image's manifest, changed; then with the signature of the true one beside it."""
    version, true = signed.tag.split("@")
    manifest = json.loads(registry.ask(f"slipway/manifests/{true}"))
    changed = json.dumps(manifest | {"annotations": {"changed": "yes"}}).encode()
    false = digest(changed)
    registry.ask(f"slipway/manifests/{false}", changed, manifest["mediaType"])
    other = Image(signed.repository, f"{version}@{false}")
    unsigned = verify(other, keys / "ours.pub")
    assert unsigned.returncode != 0
    signatures = registry.ask(f"slipway/manifests/{true.replace(':', '-')}")
    media = json.loads(signatures)["mediaType"]
    registry.ask(f"slipway/manifests/{false.replace(':', '-')}", signatures, media)
    forged = verify(other, keys / "ours.pub")
    assert forged.returncode != 0
    assert "digest" in forged.stderr.splitlines()[0]
    assert unsigned.stderr != forged.stderr


def test_a_manifest_changed_where_it_lies_is_not_pulled(registry: Registry, pushed: Image) -> None:
    def pull() -> subprocess.CompletedProcess[str]:
        command = ["docker", "pull", "--quiet", str(pushed)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    ident = pushed.tag.rpartition(":")[2]
    blob = registry.folder / f"data/docker/registry/v2/blobs/sha256/{ident[:2]}/{ident}/data"
    true = blob.read_bytes()
    blob.write_bytes(true.replace(b'"config"', b'"Config"', 1))
    try:
        changed = pull()
    finally:
        blob.write_bytes(true)
    assert changed.returncode != 0
    assert "digest" in changed.stderr
    assert pull().returncode == 0


@pytest.mark.needs("syft")
def test_the_sbom_of_what_was_pushed_lists_the_service_and_its_libraries(pushed: Image) -> None:
    done = make("sbom", f"IMAGE={pushed}")
    assert done.returncode == 0, done.stderr
    document = json.loads((ROOT / "dist/sbom.spdx.json").read_text())
    assert document["spdxVersion"].startswith("SPDX-2")
    versions = {package["name"]: package.get("versionInfo") for package in document["packages"]}
    assert versions["slipway"] == pushed.tag.split("@")[0]
    assert {"flask", "gunicorn", "libc6"} <= versions.keys()


@pytest.mark.needs("helm")
def test_chart_and_image_of_a_release_are_deployed_by_digest(
    registry: Registry, pushed: Image
) -> None:
    done = make("push-chart", f"CHARTS=oci://{registry.host}/charts")
    assert done.returncode == 0, done.stderr
    chart = image.by_digest((ROOT / "dist/chart").read_text().strip())
    assert chart
    version = pushed.tag.split("@")[0]
    assert chart.repository == f"{registry.host}/charts/slipway"
    assert chart.tag.startswith(f"{version}@sha256:")
    rendered = subprocess.run(
        [
            *("helm", "template", "slipway", f"oci://{chart}", "--plain-http"),
            *(f"--set=image.repository={pushed.repository}", f"--set=image.tag={pushed.tag}"),
            "--set=database.existingSecret=urls",
        ],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert f'image: "{pushed}"' in rendered
    assert f"helm.sh/chart: slipway-{version}" in rendered


def in_containers() -> bool:
    """Whether nodes have a loopback of their own, where this machine's registry is not."""
    context = live.run("kubectl", "config", "current-context")
    return context.startswith(("kind-", "k3d-", "minikube"))


@pytest.mark.needs("cluster", "helm")
def test_nodes_pull_what_the_digest_names(pushed: Image) -> None:
    if in_containers():
        pytest.skip("needs nodes that reach a registry on this machine's loopback")
    namespace = "slipway-pull"
    command = ["python", "-c", "import slipway.application; print('begun')"]
    pod = live.restricted("pull", str(pushed), imagePullPolicy="Always", command=command)
    pod["spec"]["restartPolicy"] = "Never"
    kubectl = ("kubectl", f"--namespace={namespace}")
    live.run("kubectl", "create", "namespace", namespace)
    try:
        live.run(*kubectl, "create", "--filename=-", stdin=json.dumps(pod))
        done = "--for=jsonpath={.status.phase}=Succeeded"
        live.run(*kubectl, "wait", done, "pod/pull", "--timeout=120s")
        assert live.run(*kubectl, "logs", "pull") == "begun\n"
        status = "--output=jsonpath={.status.containerStatuses[0].imageID}"
        ran = live.run(*kubectl, "get", "pod", "pull", status)
        assert ran == f"{pushed.repository}@{pushed.tag.partition('@')[2]}"
    finally:
        live.run("kubectl", "delete", "namespace", namespace)

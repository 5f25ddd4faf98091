"""What `make deploy` decides and says, where no cluster is needed to know it.

Stubs stand for tools in two places alone: where the tool must be seen to fail, and for kind,
minikube and k3d, which bring machines of their own.
"""

import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy import __main__ as actions
from deploy import cause, context, image, observability, release, url
from deploy.context import Context
from deploy.image import Image
from deploy.shell import Failure

HELM = Path(__file__).parents[1]
HELM_4 = '[ "$1" = version ] && echo v4.1'
Deploy = Callable[..., subprocess.CompletedProcess[str]]
VERSION = '{"serverVersion": {"gitVersion": "v1.35.0"}}'
ANSWERING = f"""case "$*" in
*current-context*) echo elsewhere ;;
*version*) echo '{VERSION}' ;;
*view*) echo ;;
*) exit 1 ;;
esac"""


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH that holds nothing but what a test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


@pytest.fixture
def deploy(tools: Path, tmp_path: Path) -> Deploy:
    def run(action: str = "deploy", **settings: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": str(tools),
            "PYTHONPATH": str(HELM),
            "HOME": str(tmp_path),
            "KUBECONFIG": str(tmp_path / "kubeconfig"),
            **settings,
        }
        return subprocess.run(
            [sys.executable, "-m", "deploy", *action.split()],
            env=environment, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    return run


def stub(tools: Path, name: str, script: str) -> None:
    path = tools / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def real(tools: Path, name: str) -> None:
    found = shutil.which(name)
    assert found
    (tools / name).symlink_to(found)


def assert_told(done: subprocess.CompletedProcess[str], *needles: str) -> None:
    """One line, on stderr, with all of it; and no success."""
    assert done.returncode == 1, done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for needle in needles:
        assert needle in done.stderr


def test_the_help_names_every_setting(deploy: Deploy) -> None:
    text = deploy("--help").stdout
    source = "".join(path.read_text() for path in (HELM / "deploy").glob("*.py"))
    for line in source.splitlines():
        if 'setting("' in line:
            assert line.split('setting("')[1].split('"')[0] in text


def test_a_missing_tool_is_named_with_its_home(deploy: Deploy, tools: Path) -> None:
    assert_told(deploy(), "not on the PATH: kubectl", "https://kubernetes.io")
    stub(tools, "kubectl", ANSWERING)
    assert_told(deploy(), "not on the PATH: helm", "https://helm.sh")
    stub(tools, "helm", HELM_4)
    assert_told(deploy(), "not on the PATH: docker", "https://docs.docker.com")


def test_helm_3_is_refused(deploy: Deploy, tools: Path) -> None:
    stub(tools, "kubectl", ANSWERING)
    stub(tools, "helm", "echo v3.19.0")
    assert_told(deploy(), "Helm 4 is needed", "v3.19.0")


def test_without_a_context_and_kind_it_says_how_to_get_one(deploy: Deploy, tools: Path) -> None:
    stub(tools, "kubectl", "exit 1")
    assert_told(
        deploy(), "no kube context is set", "kubectl config use-context", "kind.sigs.k8s.io"
    )


def test_without_a_context_kind_makes_a_cluster_with_mapped_ports(
    deploy: Deploy, tools: Path, tmp_path: Path
) -> None:
    stub(tools, "kubectl", "exit 1")
    stub(tools, "docker", "exit 0")
    stub(tools, "helm", HELM_4)
    stub(tools, "kind", f'echo "$@" >> {tmp_path}/calls')
    done = deploy()
    assert "creating the kind cluster 'slipway'" in done.stdout
    calls = (tmp_path / "calls").read_text()
    assert f"create cluster --name slipway --config {HELM}/kind.yaml" in calls
    assert "kind-slipway" in done.stderr


def test_the_cluster_that_kind_has_already_is_taken_up_again(
    deploy: Deploy, tools: Path, tmp_path: Path
) -> None:
    stub(tools, "kubectl", "exit 1")
    stub(tools, "docker", "exit 0")
    stub(tools, "helm", HELM_4)
    stub(tools, "kind", f'echo "$@" >> {tmp_path}/calls; echo slipway')
    deploy()
    calls = (tmp_path / "calls").read_text()
    assert "export kubeconfig --name slipway" in calls
    assert "create cluster" not in calls


def test_kind_maps_the_ports_that_evaluation_asks_for() -> None:
    yaml = pytest.importorskip("yaml")
    mapped = {
        port["containerPort"]: (port["listenAddress"], port["hostPort"])
        for node in yaml.safe_load((HELM / "kind.yaml").read_text())["nodes"]
        for port in node.get("extraPortMappings", [])
    }
    for name in ("evaluation.yaml", "evaluation-observability.yaml"):
        asked = yaml.safe_load((HELM / name).read_text())["service"]["nodePorts"]
        for port in asked.values():
            assert mapped[port] == ("127.0.0.1", port)


@pytest.mark.needs("kubectl")
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("kind-dev", "kind get clusters"),
        ("k3d-dev", "k3d cluster start dev"),
        ("minikube", "minikube start --profile minikube"),
        ("elsewhere", "kubectl cluster-info"),
    ],
)
def test_a_cluster_that_is_away_is_told_before_anything_is_built(
    deploy: Deploy, tools: Path, tmp_path: Path, name: str, hint: str
) -> None:
    real(tools, "kubectl")
    stub(tools, "helm", HELM_4)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": name, "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "current-context": name,
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    assert_told(deploy(), f"cluster {name!r} does not answer", "refused", hint)


@pytest.mark.needs("kubectl")
def test_another_context_than_the_current_one_is_deployed_to_and_nothing_of_it_stays(
    deploy: Deploy, tools: Path, tmp_path: Path
) -> None:
    real(tools, "kubectl")
    stub(tools, "helm", HELM_4)
    cluster = {"server": "https://127.0.0.1:1"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "contexts": [{"name": name, "context": {"cluster": "c"}} for name in ("one", "kind-b")],
        "current-context": "one",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    chosen = deploy(CONTEXT="kind-b", TMPDIR=str(temporary))
    assert_told(chosen, "cluster 'kind-b' does not answer", "kind get clusters")
    assert list(temporary.iterdir()) == []
    assert json.loads((tmp_path / "kubeconfig").read_text()) == config
    assert_told(deploy(CONTEXT="c"), "no kube context 'c', which CONTEXT names", "get-contexts")


def test_an_engine_that_is_away_is_told(deploy: Deploy, tools: Path) -> None:
    stub(tools, "docker", "exit 1")
    assert_told(deploy("image"), "image: the Docker engine does not answer", "docker version")


def test_a_missing_buildx_is_told(deploy: Deploy, tools: Path) -> None:
    stub(tools, "docker", '[ "$1" = version ]')
    assert_told(deploy("image"), "no buildx plugin")


def test_a_context_of_an_unknown_kind_needs_a_way_for_the_image(
    deploy: Deploy, tools: Path
) -> None:
    stub(tools, "kubectl", ANSWERING)
    stub(tools, "helm", HELM_4)
    stub(tools, "docker", "exit 0")
    assert_told(deploy(), "'elsewhere' is not of kind", "IMAGE_REPOSITORY=", "IMAGE_LOAD=")


@pytest.mark.parametrize(
    ("settings", "needles"),
    [
        ({"VALUES": "/none.yaml"}, ["VALUES", "'/none.yaml'", "not a file"]),
        ({"TIMEOUT": "soon"}, ["TIMEOUT='soon'", "5m"]),
        ({"OBSERVABILITY": "no"}, ["OBSERVABILITY='no'", "neither 0 nor 1"]),
        ({"OBSERVABILITY_VALUES": "/none.yaml"}, ["OBSERVABILITY_VALUES", "'/none.yaml'"]),
    ],
)
def test_a_wrong_setting_is_named(
    deploy: Deploy, tools: Path, settings: dict[str, str], needles: list[str]
) -> None:
    stub(tools, "kubectl", ANSWERING)
    stub(tools, "helm", HELM_4)
    assert_told(deploy(**settings), *needles)


@pytest.mark.parametrize(
    ("past", "way"),
    [
        (
            [("1", "deployed"), ("2", "pending-upgrade")],
            "helm rollback slipway 1 --namespace=slipway",
        ),
        ([("1", "pending-install")], "helm uninstall slipway --namespace=slipway"),
    ],
)
def test_a_locked_release_is_told_with_the_way_out(
    deploy: Deploy, tools: Path, past: list[tuple[str, str]], way: str
) -> None:
    history = json.dumps([{"revision": int(n), "status": status} for n, status in past])
    stub(tools, "kubectl", ANSWERING)
    stub(tools, "helm", f"[ $1 = version ] && echo v4.1 || echo '{history}'")
    assert_told(deploy(), past[-1][1], way)


def test_a_locked_release_of_the_watchers_is_told_too(deploy: Deploy, tools: Path) -> None:
    history = json.dumps([{"revision": 1, "status": "pending-install"}])
    stub(tools, "kubectl", ANSWERING)
    stub(
        tools,
        "helm",
        f"[ $1 = version ] && echo v4.1 || [ $2 = observability ] && echo '{history}'",
    )
    way = "helm uninstall observability --namespace=monitoring"
    assert_told(deploy(), "'observability' is pending-install", way)


WITH_OPERATOR = f"[ $2 = customresourcedefinition/{observability.OPERATOR} ] && echo there"
WITHOUT_OPERATOR = "exit 1"


@pytest.mark.parametrize(
    ("settings", "kubectl", "reason"),
    [
        ({}, WITHOUT_OPERATOR, ""),
        ({"VALUES": f"{HELM}/tests/../evaluation.yaml {HELM}/kind.yaml"}, WITHOUT_OPERATOR, ""),
        ({"VALUES": f"{HELM}/kind.yaml"}, WITHOUT_OPERATOR, "without helm/evaluation.yaml"),
        ({}, WITH_OPERATOR, "has a Prometheus Operator"),
        ({"OBSERVABILITY": "0"}, WITHOUT_OPERATOR, "OBSERVABILITY=0"),
        ({"OBSERVABILITY": "1", "VALUES": f"{HELM}/kind.yaml"}, WITH_OPERATOR, ""),
    ],
)
def test_watchers_come_with_an_evaluation_of_a_cluster_that_has_none(
    monkeypatch: pytest.MonkeyPatch,
    tools: Path,
    settings: dict[str, str],
    kubectl: str,
    reason: str,
) -> None:
    stub(tools, "kubectl", kubectl)
    monkeypatch.setenv("PATH", str(tools))
    for name in ("OBSERVABILITY", "VALUES"):
        monkeypatch.setenv(name, settings.get(name, ""))
    found = observability.reason_against(release.from_environment())
    assert reason in found
    assert bool(found) == bool(reason)


def test_the_watchers_get_node_ports_and_then_what_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OBSERVABILITY_VALUES", str(HELM / "kind.yaml"))
    found = observability.release()
    assert (found.name, found.namespace, found.chart) == (
        "observability",
        "monitoring",
        "observability",
    )
    assert found.values == (str(HELM / "evaluation-observability.yaml"), str(HELM / "kind.yaml"))


@pytest.mark.parametrize(
    ("listed", "elsewhere"),
    [
        ("observability", []),
        ("observability", ["other"]),
        # A person's own is not marked, so it is not listed.
        ("", []),
    ],
)
def test_undeploy_takes_the_watchers_that_deploy_brought_unless_they_watch_another(
    deploy: Deploy, tools: Path, tmp_path: Path, listed: str, elsewhere: list[str]
) -> None:
    items = json.dumps({"items": [{"metadata": {"namespace": name}} for name in elsewhere]})
    stub(
        tools,
        "kubectl",
        f"""case "$*" in
*deployments*) echo '{items}' ;;
*current-context*) echo elsewhere ;;
*version*) echo '{VERSION}' ;;
*view*) ;;
*) exit 1 ;;
esac""",
    )
    stub(
        tools,
        "helm",
        f"""echo "$@" >> {tmp_path}/calls
case $1 in
version) echo v4.1 ;;
history) echo '[{{"revision": 1, "status": "deployed"}}]' ;;
list) case "$*" in *{release.MADE_HERE}=true*) echo {listed} ;; esac ;;
esac""",
    )
    done = deploy("undeploy")
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "calls").read_text()
    assert "uninstall slipway" in calls
    assert ("uninstall observability" in calls) is (bool(listed) and not elsewhere)
    assert ("it watches slipway in other" in done.stdout) is bool(elsewhere)


@pytest.mark.parametrize(
    ("name", "config", "known"),
    [
        ("kind-dev", "", Context("kind-dev", "kind", "dev")),
        ("k3d-a-b", "", Context("k3d-a-b", "k3d", "a-b")),
        ("minikube", "", Context("minikube", "minikube", "minikube")),
        ("work", f"provider: {context.MINIKUBE}", Context("work", "minikube", "work")),
        ("production", "", Context("production")),
    ],
)
def test_a_context_tells_its_tool(name: str, config: str, known: Context) -> None:
    assert context.identify(name, config) == known


@pytest.mark.parametrize(
    ("where", "settings", "command"),
    [
        (("kind", "dev"), {}, "kind load docker-image slipway:1 --name dev"),
        (("k3d", "dev"), {}, "k3d image import slipway:1 --cluster dev"),
        (("minikube", "dev"), {}, "minikube --profile dev image load slipway:1"),
        (("", ""), {"IMAGE_REPOSITORY": "r/s"}, "docker push --quiet slipway:1"),
        (("", ""), {"IMAGE_LOAD": "my 'own loader'"}, "my|own loader|slipway:1"),
        # What a person says comes before what a name suggests.
        (("kind", "dev"), {"IMAGE_LOAD": "load"}, "load slipway:1"),
    ],
)
def test_the_image_goes_where_the_cluster_finds_it(
    monkeypatch: pytest.MonkeyPatch,
    where: tuple[str, str],
    settings: dict[str, str],
    command: str,
) -> None:
    for name in ("IMAGE_LOAD", "IMAGE_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    found = image.hand_over_command(Context("c", *where), Image("slipway", "1"))
    assert found == command.split("|" if "|" in command else " ")


@pytest.mark.needs("engine")
def test_the_tag_follows_what_is_in_the_image_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("IMAGE_REPOSITORY", raising=False)

    def tag(label: str, name: str) -> str:
        dockerfile = f"FROM scratch\nLABEL content={label}\n"
        command = ["docker", "buildx", "build", "--load", "--quiet", f"--tag={name}", "-"]
        subprocess.run(command, input=dockerfile, text=True, check=True, capture_output=True)
        return str(image.by_content(name))

    names = ["slipway-test:a", "slipway-test:b"]
    tags = [tag("one", names[0]), tag("one", names[1]), tag("two", names[0])]
    subprocess.run(["docker", "rmi", *names, *set(tags)], check=True, capture_output=True)
    assert tags[0] == tags[1] != tags[2]


def test_an_image_that_names_its_digest_is_left_to_the_nodes(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No engine is asked: there is none on the PATH."""
    reference = f"registry.example.org:5000/slipway:1.2.3@sha256:{'0' * 64}"
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("IMAGE", reference)
    pulled, bring = actions.image_for(Context("production"))
    bring()
    assert (pulled.repository, str(pulled)) == ("registry.example.org:5000/slipway", reference)


@pytest.mark.needs("engine")
def test_an_image_that_is_not_there_is_told() -> None:
    with pytest.raises(Failure, match=r"no image 'slipway-test:none'.*make image"):
        image.by_content("slipway-test:none")


@pytest.mark.needs("git")
def test_the_image_bears_the_last_commit_of_its_own_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=T", "-c", "user.email=t@example.com")
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit() -> str:
        return next(a for a in image.build_args(service) if "COMMIT" in a).split("=")[-1]

    service = tmp_path / "service"
    service.mkdir()
    (service / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert image.build_args(service) == [
        "--build-arg=VERSION=1.2.3",
        "--build-arg=COMMIT=unknown",
        "--build-arg=SOURCE_DATE_EPOCH=0",
    ]
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message=service")
    of_service = git("rev-parse", "HEAD")
    assert commit() == of_service
    (tmp_path / "README.md").write_text("elsewhere")
    git("add", ".")
    git("commit", "--quiet", "--message=elsewhere")
    assert commit() == of_service
    (service / "new.py").write_text("")
    assert commit() == f"{of_service}-dirty"


def pod(name: str, *containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": more.get("made", "2026-01-01T00:00:00Z"),
            "labels": {"app.kubernetes.io/component": more.get("component", "web")},
        },
        "spec": {"restartPolicy": more.get("restarts", "Always")},
        "status": {
            "phase": more.get("phase", "Running"),
            "conditions": more.get("conditions", []),
            "containerStatuses": [{"name": "main", "ready": False, **item} for item in containers],
        },
    }


READY = [{"type": "Ready", "status": "True"}]
BACK_OFF = {
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
    "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}},
}


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (pod("p", BACK_OFF), "CrashLoopBackOff: exited with status 3"),
        (
            pod("p", {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}),
            "ErrImagePull: not found",
        ),
        (
            pod("p", {"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}),
            "exited with status 137 (OOMKilled)",
        ),
        (pod("p", {"state": {"running": {}}}), "runs, but is not ready"),
        (
            pod(
                "p",
                conditions=[
                    {"type": "PodScheduled", "status": "False", "message": "Insufficient cpu"}
                ],
            ),
            "not scheduled: Insufficient cpu",
        ),
    ],
)
def test_the_cause_is_read_from_the_pod(seen: dict[str, Any], told: str) -> None:
    trouble = cause.worst([seen])
    assert trouble
    assert trouble.seen == told


def test_a_pod_on_its_way_or_done_is_no_cause() -> None:
    starting = pod("p", {"state": {"waiting": {"reason": "PodInitializing"}}})
    done = pod("p", {"state": {"terminated": {"exitCode": 0}}}, phase="Succeeded")
    once_restarted = pod("p", {**BACK_OFF, "state": {"running": {}}}, conditions=READY)
    assert cause.worst([starting, done, once_restarted]) is None


def test_a_crash_explains_more_than_what_waits_for_it_and_the_youngest_most() -> None:
    waiting = pod("waiting", {"state": {"running": {}}}, made="2026-01-03T00:00:00Z")
    old = pod("old", BACK_OFF, made="2026-01-01T00:00:00Z")
    young = pod("young", BACK_OFF, made="2026-01-02T00:00:00Z")
    trouble = cause.worst([waiting, old, young])
    assert trouble
    assert trouble.pod == "young"


def test_progress_counts_a_migration_only_when_it_is_done() -> None:
    running = pod("m", component="migrate", restarts="Never", conditions=READY)
    done = pod("m", component="migrate", restarts="Never", phase="Succeeded")
    web = pod("w", conditions=READY)
    assert cause.progress([web, pod("v"), running]) == "migrate 0/1, web 1/2"
    assert cause.progress([done]) == "migrate 1/1"


@pytest.fixture
def answering() -> Iterator[Callable[[int, bytes], str]]:
    """A server that gives one answer to everything."""
    servers = []

    def serve(status: int, body: bytes) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_only_the_service_itself_counts_as_an_answer(
    answering: Callable[[int, bytes], str],
) -> None:
    ours = answering(200, b'{"name": "slipway", "version": "1"}')
    found = url.ask(ours)
    assert found
    assert (found.url, found.status) == (f"{ours}/version", 200)
    assert url.ask(answering(200, b"<h1>It works!</h1>")) is None
    assert url.ask(answering(503, b'{"version": "1"}')) is None
    assert url.ask(answering(308, b"")) is None
    assert url.ask("http://127.0.0.1:1") is None


def test_a_service_is_sought_at_its_load_balancer_then_at_its_node_ports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(url, "_node_addresses", lambda: ["10.0.0.1"])
    ports = [
        {"name": "http", "port": 80, "nodePort": 3},
        {"name": "https", "port": 443, "nodePort": 4},
    ]
    balancer = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    assert list(url.addresses({"spec": {"ports": ports}, "status": balancer})) == [
        "http://192.0.2.1:80",
        "https://192.0.2.1:443",
        "http://127.0.0.1:3",
        "https://127.0.0.1:4",
        "http://10.0.0.1:3",
        "https://10.0.0.1:4",
    ]
    assert list(url.addresses({"spec": {"ports": [{"name": "http", "port": 80}]}})) == []


def test_the_environment_names_the_release(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RELEASE", "NAMESPACE", "VALUES", "TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    assert release.from_environment() == release.Release(
        "slipway", "slipway", "slipway", (str(HELM / "evaluation.yaml"),), "5m"
    )
    monkeypatch.setenv("VALUES", f"{HELM}/evaluation.yaml {HELM}/kind.yaml")
    monkeypatch.setenv("RELEASE", "other")
    found = release.from_environment()
    assert (found.name, found.namespace, len(found.values)) == ("other", "slipway", 2)

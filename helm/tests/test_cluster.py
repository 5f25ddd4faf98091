"""The release on a real cluster, from `make deploy` to `make undeploy`, one after the other.

Whatever happens to it, clients that are sent nowhere else and never retry lose no request.
"""

import base64
import http.client
import json
import re
import ssl
import subprocess
from collections.abc import Iterator

import pytest
from clients import Load
from live import HTTP_PORT, HTTPS_PORT, NAME, Release, is_spare, run, with_label

pytestmark = [
    pytest.mark.needs("engine"),
    pytest.mark.needs("cluster"),
    pytest.mark.needs("helm"),
]

# Fewer would be no load: about four a second.
ENOUGH = 100
NAMESPACE = "slipway-test"
NEIGHBOUR = "slipway-test-neighbour"

KILL_WORKERS = """
import os, pathlib, signal
for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
    parent = status.read_text().rsplit(")", 1)[1].split()[1]
    if parent == "1":
        os.kill(int(status.parent.name), signal.SIGKILL)
        print("killed", status.parent.name)
"""

REACHES = """
import socket, sys
for target in sys.argv[1:]:
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
        print(target, "open")
    except OSError:
        print(target, "closed")
"""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    if not is_spare():
        pytest.skip("needs a cluster that tests may disturb; REQUIRE_CLUSTER=1 says so")
    release = Release(NAMESPACE, tmp_path_factory.mktemp("values"))
    release.deleted()
    yield release
    release.make("undeploy", "PURGE=1")
    release.deleted()
    run("kubectl", "delete", "namespace", NEIGHBOUR, "--ignore-not-found")


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """Lines that stand in the output of a passing run too: what was measured."""
    lines: list[str] = []
    yield lines
    with capsys.disabled():
        print("".join(f"\n  {line}" for line in lines))


def assert_none_failed(what: str, load: Load, told: list[str]) -> None:
    told.append(f"{what}: {load}")
    assert load.failures == [], "\n".join(str(failure) for failure in load.failures[:20])
    assert load.requests > ENOUGH


def request(method: str, path: str, body: object = None) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", HTTP_PORT, timeout=10)
    text = None if body is None else json.dumps(body)
    connection.request(method, path, text, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return answer


def test_make_deploy_installs_and_ends_with_a_request_that_it_made(release: Release) -> None:
    output = release.deploy()
    assert f"GET http://127.0.0.1:{HTTP_PORT}/version answered 200" in output
    assert release.revision() == 1


def test_the_namespace_refuses_pods_that_are_not_restricted(release: Release) -> None:
    root = {"name": "root", "image": release.image()}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "root"},
        "spec": {"containers": [root]},
    }
    with pytest.raises(AssertionError, match='violates PodSecurity "restricted'):
        release.kubectl("create", "--filename=-", "--dry-run=server", stdin=json.dumps(pod))


def test_a_user_is_created_listed_and_deleted_through_nginx() -> None:
    ada = {"name": "Ada", "email": "ada@example.com"}
    status, headers, body = request("POST", "/api/users", ada)
    assert status == 201
    path = headers["Location"].removeprefix(f"http://127.0.0.1:{HTTP_PORT}")
    assert path == f"/api/users/{json.loads(body)['id']}"
    assert b"ada@example.com" in request("GET", "/api/users")[2]
    assert request("DELETE", path)[0] == 204
    assert request("GET", path)[0] == 404
    assert b"ada@example.com" not in request("GET", "/api/users")[2]


def test_https_answers_beside_http_with_the_certificate_that_the_chart_made(
    release: Release,
) -> None:
    secret = json.loads(release.kubectl("get", "secret", f"{NAME}-tls", "--output=json"))
    authority = base64.b64decode(secret["data"]["tls.crt"]).decode()
    trusting = ssl.create_default_context(cadata=authority)
    connection = http.client.HTTPSConnection("127.0.0.1", HTTPS_PORT, timeout=10, context=trusting)
    connection.request("GET", "/ping")
    assert connection.getresponse().status == 200
    connection.close()


def test_probes_and_metrics_are_not_public() -> None:
    for path in ("/livez", "/readyz", "/startupz", "/metrics"):
        assert request("GET", path)[0] == 404, path


def test_deploying_twice_changes_nothing(release: Release) -> None:
    before = release.revision(), sorted(release.pods())
    assert "unchanged: revision 1 serves" in release.deploy()
    assert (release.revision(), sorted(release.pods())) == before


def test_helm_test_passes(release: Release) -> None:
    assert "Phase:          Succeeded" in release.helm("test", NAME, "--timeout=120s")


def test_another_namespace_reaches_nginx_but_neither_database_nor_operations(
    release: Release, told: list[str]
) -> None:
    addresses = {
        component: str(release.items("pods", component)[0]["status"]["podIP"])
        for component in ("web", "postgresql", "valkey")
    }
    web = addresses["web"]
    closed = [f"{addresses['postgresql']}:5432", f"{addresses['valkey']}:6379", f"{web}:8001"]
    neighbour = ("kubectl", f"--namespace={NEIGHBOUR}")
    run("kubectl", "create", "namespace", NEIGHBOUR)
    run(
        *(*neighbour, "run", "neighbour", f"--image={release.image()}", "--restart=Never"),
        *("--command", "--", "python", "-c", REACHES, f"{web}:8080", *closed),
    )
    ended = "--for=jsonpath={.status.phase}=Succeeded"
    run(*neighbour, "wait", ended, "pod/neighbour", "--timeout=60s")
    output = run(*neighbour, "logs", "neighbour")
    told.append("from another namespace: " + ", ".join(output.splitlines()))
    assert f"{web}:8080 open" in output
    for target in closed:
        assert f"{target} closed" in output


def test_an_upgrade_loses_no_request(release: Release, told: list[str]) -> None:
    first = release.image()
    second = with_label(first, "second")
    with Load(HTTP_PORT) as load:
        release.deploy(f"IMAGE={second}")
        release.settled()
    assert release.image() != first
    assert release.revision() == 2
    assert_none_failed("upgrade", load, told)


def test_a_rollback_loses_no_request(release: Release, told: list[str]) -> None:
    second = release.image()
    with Load(HTTP_PORT) as load:
        release.helm("rollback", NAME, "1", "--wait", "--timeout=180s")
        release.settled()
    assert release.image() != second
    assert_none_failed("rollback", load, told)


def test_a_drained_node_loses_no_request(release: Release, told: list[str]) -> None:
    data = [*release.pods("postgresql"), *release.pods("valkey")]
    with_data = {release.node_of(pod) for pod in data}
    candidates = {release.node_of(pod) for pod in release.pods()} - with_data
    assert candidates, f"every node with a web pod holds data too: {sorted(with_data)}"
    node = min(candidates)
    try:
        with Load(HTTP_PORT) as load:
            release.kubectl(
                *("drain", node, "--ignore-daemonsets", "--delete-emptydir-data"),
                *(f"--pod-selector=app.kubernetes.io/instance={NAME}", "--timeout=240s"),
            )
            release.settled()
            assert node not in {release.node_of(pod) for pod in release.pods()}
    finally:
        release.kubectl("uncordon", node)
    assert_none_failed("drain", load, told)


def test_a_deleted_pod_loses_no_request(release: Release, told: list[str]) -> None:
    with Load(HTTP_PORT) as load:
        release.kubectl("delete", "pod", release.pods()[0])
        release.settled()
    assert_none_failed("pod deleted", load, told)


def test_killed_gunicorn_workers_lose_no_read(release: Release, told: list[str]) -> None:
    """Reads alone: what was being written when a process died must not be sent again."""
    with Load(HTTP_PORT, writes=False) as load:
        for pod in release.pods():
            killed = release.kubectl(
                *("exec", pod, "--container=gunicorn", "--", "python", "-c", KILL_WORKERS)
            )
            assert "killed" in killed
        release.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout=60s")
    restarts = [
        status["restartCount"]
        for pod in release.items("pods", "web")
        for status in pod["status"]["initContainerStatuses"]
    ]
    assert set(restarts) == {0}, "gunicorn itself starts its workers again"
    assert_none_failed("gunicorn's workers killed", load, told)


def test_a_gunicorn_that_ends_loses_no_request(release: Release, told: list[str]) -> None:
    """The kubelet starts it again; meanwhile nginx lets requests wait."""
    pod = release.pods()[0]
    end = "import os, signal; os.kill(1, signal.SIGTERM)"
    restarted = "--for=jsonpath={.status.initContainerStatuses[0].restartCount}=1"
    with Load(HTTP_PORT) as load:
        release.kubectl("exec", pod, "--container=gunicorn", "--", "python", "-c", end)
        release.kubectl("wait", restarted, f"pod/{pod}", "--timeout=60s")
        release.settled()
    assert_none_failed("gunicorn ended", load, told)


def test_a_failed_upgrade_says_why_and_the_former_release_serves_on(
    release: Release, told: list[str]
) -> None:
    serving = release.image()
    broken = with_label(
        serving, "broken", """ENTRYPOINT ["sh", "-c", "echo no such planet; exit 3"]"""
    )
    with Load(HTTP_PORT) as load:
        done = release.make("deploy", f"IMAGE={broken}", "TIMEOUT=40s")
        release.settled()
    assert done.status != 0
    for needle in ("failed; revision 3 serves on", "exited with status 3", "no such planet"):
        assert needle in done.output, done.output
    assert release.image() == serving
    assert_none_failed("failed upgrade", load, told)


def test_what_was_scaled_by_hand_does_not_stop_the_next_upgrade(release: Release) -> None:
    release.kubectl("scale", f"deployment/{NAME}", "--replicas=3")
    release.deploy(f"IMAGE={release.image()}", values=("drain: {preStopSeconds: 0}",))
    release.settled()
    assert len(release.pods()) == 2


def test_without_the_wait_before_its_end_a_pod_loses_requests(
    release: Release, told: list[str]
) -> None:
    """The control: were nothing seen here, the tests above would prove nothing."""
    for attempt in range(1, 6):
        with Load(HTTP_PORT) as load:
            release.kubectl("rollout", "restart", f"deployment/{NAME}")
            release.settled()
        told.append(f"control, without preStop ({attempt}): {load}")
        if load.failures:
            break
    assert load.failures, "the clients see no failure where there must be some"


def test_a_first_install_that_fails_leaves_nothing_but_the_cause(release: Release) -> None:
    other = Release(f"{NAMESPACE}-first", release.folder)
    other.values = ["service: {type: ClusterIP, nodePorts: {http: null, https: null}}"]
    broken = with_label(release.image(), "broken", 'ENTRYPOINT ["false"]')
    done = other.make("deploy", f"IMAGE={broken}", "TIMEOUT=30s")
    assert done.status != 0
    assert "nothing of it is left" in done.output, done.output
    assert "exited with status 1" in done.output, done.output
    left = subprocess.run(
        ["kubectl", "get", "namespace", other.namespace], capture_output=True, check=False
    )
    assert left.returncode != 0


def test_undeploy_leaves_only_what_it_says(release: Release) -> None:
    request("POST", "/api/users", {"name": "Grace", "email": "grace@example.com"})
    output = release.make("undeploy").output
    kinds = "all,ingress,networkpolicy,configmap,secret,serviceaccount,pvc,pdb,hpa"
    found = release.kubectl("get", kinds, "--output=name").split()
    everywhere = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
    said = set(re.findall(r"^deploy:   (\S+)$", output, re.MULTILINE))
    assert set(found) - everywhere == said
    assert {name.split("/")[0] for name in said} == {"persistentvolumeclaim", "secret"}


def test_an_install_after_it_finds_the_data_again(release: Release) -> None:
    release.deploy("IMAGE=slipway:latest")
    assert b"grace@example.com" in request("GET", "/api/users")[2]


def test_purge_leaves_nothing(release: Release) -> None:
    output = release.make("undeploy", "PURGE=1").output
    assert f"deleted namespace {NAMESPACE}" in output
    gone = subprocess.run(
        ["kubectl", "get", "namespace", NAMESPACE], capture_output=True, check=False
    )
    assert gone.returncode != 0

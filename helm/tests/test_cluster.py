"""The release on a real cluster, from `make deploy` to `make undeploy`, one after the other.

Whatever happens to it, clients that are sent nowhere else and never retry lose no request.
"""

import base64
import json
import re
import secrets
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from clients import Load
from live import (
    HTTP_PORT,
    NAME,
    NEEDS,
    Release,
    on_spare_cluster,
    request,
    restricted,
    run,
    until,
    with_label,
)
from post import MAILPIT

from slipway.headers import DEFAULTS, TRANSPORT_SECURITY

pytestmark = [NEEDS, pytest.mark.alone]

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

KEYS = ("SECRET_KEY", "JWT_SECRET_KEY")

# A mail server: first its name alone, then what answers there.
MAIL, MAILS = "mail", 5
MAIL_PORTS = {"smtp": 1025, "api": 8025}
MAIL_SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": MAIL},
    "spec": {
        "selector": {"app": MAIL},
        "ports": [{"name": name, "port": port} for name, port in MAIL_PORTS.items()],
    },
}
MAIL_SERVER = restricted(MAIL, MAILPIT)
READ = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=10).read().decode())"

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


# Logs in and out at the first of the pods at argv, and asks all of them who one is.
LOG_IN_AND_OUT = """
import http.client, json, sys
def ask(pod, method, path, body=None, token=""):
    connection = http.client.HTTPConnection(pod, 8080, timeout=10)
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = "Bearer " + token
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, response.read()
pods = sys.argv[1:]
token = json.loads(ask(pods[0], "POST", "/login", sys.stdin.read())[1])["access_token"]
log_in = [ask(pod, "GET", "/me", token=token)[0] for pod in pods]
ask(pods[0], "POST", "/logout", token=token)
log_out = [ask(pod, "GET", "/me", token=token)[0] for pod in pods]
print(json.dumps({"log-in": log_in, "log-out": log_out}))
"""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    with on_spare_cluster(NAMESPACE, tmp_path_factory.mktemp("values")) as release:
        # Whatever follows gets by with it.
        release.values.append("admissionPolicy: {enabled: true}")
        yield release
    run("kubectl", "delete", "namespace", NEIGHBOUR, "--ignore-not-found")


def assert_none_failed(what: str, load: Load, told: list[str]) -> None:
    told.append(f"{what}: {load}")
    assert load.failures == [], "\n".join(str(failure) for failure in load.failures[:20])
    assert load.requests > ENOUGH


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


def test_a_user_is_created_listed_and_deleted_through_nginx(release: Release) -> None:
    ada = {"name": "Ada", "email": "ada@example.com"}
    token = release.token()
    status, headers, body = request("POST", "/api/users", ada, token=token)
    assert status == 201
    path = headers["Location"].removeprefix(f"http://127.0.0.1:{HTTP_PORT}")
    assert path == f"/api/users/{json.loads(body)['id']}"
    assert b"ada@example.com" in request("GET", "/api/users", token=token)[2]
    assert request("DELETE", path, token=token)[0] == 204
    assert request("GET", path, token=token)[0] == 404
    assert b"ada@example.com" not in request("GET", "/api/users", token=token)[2]


def test_a_log_in_at_one_pod_and_its_end_count_at_every_other(release: Release) -> None:
    release.settled()
    addresses = [pod["status"]["podIP"] for pod in release.items("pods", "web")]
    assert len(addresses) > 1
    seen = release.python(LOG_IN_AND_OUT, *addresses, stdin=json.dumps(release.admin))
    assert json.loads(seen) == {
        "log-in": [200] * len(addresses),
        "log-out": [401] * len(addresses),
    }


@pytest.fixture
def trusting(release: Release) -> ssl.SSLContext:
    """Trusts the certificate that the chart made, and no other."""
    authority = base64.b64decode(release.secret(f"{NAME}-tls")["tls.crt"]).decode()
    return ssl.create_default_context(cadata=authority)


def test_https_answers_beside_http_with_the_certificate_that_the_chart_made(
    trusting: ssl.SSLContext,
) -> None:
    assert request("GET", "/ping", trusting=trusting)[0] == 200


@pytest.mark.parametrize(
    ("path", "status"), [("/", 200), ("/docs", 200), ("/api/users", 401), ("/metrics", 404)]
)
def test_security_headers_are_there_once_whoever_answers(
    path: str, status: int, trusting: ssl.SSLContext
) -> None:
    """A page, the documentation, an error of the application's and one of nginx's."""
    plain = request("GET", path, accept="text/html")
    secure = request("GET", path, accept="text/html", trusting=trusting)
    assert (plain[0], secure[0]) == (status, status)
    for headers in (plain[1], secure[1]):
        assert {name: len(headers.get_all(name, [])) for name in DEFAULTS} == dict.fromkeys(
            DEFAULTS, 1
        )
    assert secure[1].get_all("Strict-Transport-Security") == [TRANSPORT_SECURITY]
    assert plain[1].get_all("Strict-Transport-Security") is None


def test_the_front_page_is_html_for_a_browser_and_json_for_a_program() -> None:
    _, headers, page = request("GET", "/", accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert headers.get_content_type() == "text/html"
    assert b"<!doctype html>" in page
    _, headers, body = request("GET", "/")
    assert headers.get_content_type() == "application/json"
    assert "links" in json.loads(body)


def test_the_documentation_comes_with_all_that_it_loads() -> None:
    _, headers, page = request("GET", "/docs", accept="text/html")
    assert headers.get_content_type() == "text/html"
    loaded = re.findall(r"""(?:src|href)="(/[^"]+\.(?:js|css)\?[^"]+)""", page.decode())
    assert {re.split("[.?]", path)[-2] for path in loaded} == {"js", "css"}
    for path in loaded:
        status, headers, _ = request("GET", path)
        assert status == 200, path
        assert "immutable" in headers["Cache-Control"], path


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


def test_a_worker_tells_the_length_of_the_queue_to_who_finds_it_by_its_service(
    release: Release,
) -> None:
    slices = json.loads(
        release.kubectl(
            *("get", "endpointslices", "--output=json"),
            f"--selector=kubernetes.io/service-name={NAME}-worker-ops",
        )
    )["items"]
    found = {address for s in slices for e in s["endpoints"] for address in e["addresses"]}
    assert found == {pod["status"]["podIP"] for pod in release.items("pods", "worker")}
    read = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8001/metrics').read())"
    metrics = release.kubectl("exec", release.pods("worker")[0], "--", "python", "-c", read)
    assert "slipway_tasks_queued 0.0" in metrics


def test_an_upgrade_loses_no_request(release: Release, told: list[str]) -> None:
    first = release.image()
    second = with_label(first, "second")
    with Load(HTTP_PORT, release.token()) as load:
        release.deploy(f"IMAGE={second}")
        release.settled()
    assert release.image() != first
    assert release.revision() == 2
    assert_none_failed("upgrade", load, told)


def test_a_rollback_loses_no_request(release: Release, told: list[str]) -> None:
    second = release.image()
    with Load(HTTP_PORT, release.token()) as load:
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
        with Load(HTTP_PORT, release.token()) as load:
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
    with Load(HTTP_PORT, release.token()) as load:
        release.kubectl("delete", "pod", release.pods()[0])
        release.settled()
    assert_none_failed("pod deleted", load, told)


def test_killed_gunicorn_workers_lose_no_read(release: Release, told: list[str]) -> None:
    """Reads alone: what was being written when a process died must not be sent again."""
    with Load(HTTP_PORT, release.token(), writes=False) as load:
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
    with Load(HTTP_PORT, release.token()) as load:
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
    with Load(HTTP_PORT, release.token()) as load:
        done = release.make("deploy", f"IMAGE={broken}", "TIMEOUT=40s")
        release.settled()
    assert done.status != 0
    for needle in ("failed; revision 3 serves on", "exited with status 3", "no such planet"):
        assert needle in done.output, done.output
    assert release.image() == serving
    assert_none_failed("failed upgrade", load, told)


def test_keys_rotate_without_logging_anybody_out(release: Release, told: list[str]) -> None:
    """As the chart's README has it: the new key is accepted everywhere before it signs."""
    secret = release.secret(NAME)
    new = {name: base64.b64encode(secrets.token_hex(24).encode()).decode() for name in KEYS}
    old = {name: secret[name] for name in KEYS}
    with Load(HTTP_PORT, release.token()) as load:
        for current, previous in ((old, new), (new, old)):
            both = current | {f"{name}_PREVIOUS": key for name, key in previous.items()}
            release.change_secret(NAME, both)
            release.kubectl("rollout", "restart", f"deployment/{NAME}")
            release.settled()
    assert_none_failed("both keys rotated", load, told)


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
        with Load(HTTP_PORT, release.token()) as load:
            release.kubectl("rollout", "restart", f"deployment/{NAME}")
            release.settled()
        told.append(f"control, without preStop ({attempt}): {load}")
        if load.failures:
            break
    assert load.failures, "the clients see no failure where there must be some"


@pytest.fixture
def mail_server(release: Release) -> Iterator[Callable[[], None]]:
    """Starts the mail server, of which there is the name alone until then."""
    url = f"--from-literal=SMTP_URL=smtp://{MAIL}:1025"
    release.kubectl("create", "secret", "generic", MAIL, url)
    release.kubectl("apply", "--filename=-", stdin=json.dumps(MAIL_SERVICE))

    def start() -> None:
        release.kubectl("apply", "--filename=-", stdin=json.dumps(MAIL_SERVER))

    yield start
    release.kubectl(
        "delete", f"pod/{MAIL}", f"service/{MAIL}", f"secret/{MAIL}", "--ignore-not-found"
    )


def test_a_worker_that_is_killed_neither_loses_a_mail_nor_sends_it_twice(
    release: Release, mail_server: Callable[[], None], told: list[str]
) -> None:
    """It has tried while there was no mail server, and holds the mails until it would try again."""
    release.deploy(f"IMAGE={release.image()}", values=(f"smtp: {{existingSecret: {MAIL}}}",))
    token = release.token()

    def status(path: str) -> str:
        return str(json.loads(request("GET", path, token=token)[2])["status"])

    paths = []
    for number in range(MAILS):
        mail = {"subject": f"Mail {number}", "text": "Ahoy"}
        answer, headers, body = request("POST", "/api/tasks/email", mail, token=token)
        assert answer == 202, body
        paths.append(urlsplit(headers["Location"]).path)
    until(
        lambda: {status(path) for path in paths} == {"RETRY"},
        lambda: f"not all were tried: {[status(path) for path in paths]}",
    )
    killed = release.pods("worker")
    release.kubectl("delete", "pod", *killed, "--grace-period=0", "--force")
    mail_server()
    began = time.monotonic()
    until(
        lambda: {status(path) for path in paths} == {"SUCCESS"},
        lambda: f"not all were sent: {[status(path) for path in paths]}",
    )
    told.append(f"mails of a killed worker: {MAILS} after {time.monotonic() - began:.0f} s")
    messages = json.loads(release.python(READ, f"http://{MAIL}:8025/api/v1/messages"))["messages"]
    assert sorted(message["Subject"] for message in messages) == [
        f"Mail {number}" for number in range(MAILS)
    ]
    assert not set(killed) & set(release.pods("worker"))


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
    grace = {"name": "Grace", "email": "grace@example.com"}
    assert request("POST", "/api/users", grace, token=release.token())[0] == 201
    output = release.make("undeploy").output
    kinds = "all,ingress,networkpolicy,configmap,secret,serviceaccount,pvc,pdb,hpa"
    found = release.kubectl("get", kinds, "--output=name").split()
    everywhere = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
    said = set(re.findall(r"^deploy:   (\S+)$", output, re.MULTILINE))
    assert set(found) - everywhere == said
    assert {name.split("/")[0] for name in said} == {"persistentvolumeclaim", "secret"}
    kinds = "validatingadmissionpolicies,validatingadmissionpolicybindings"
    assert NAMESPACE not in run("kubectl", "get", kinds, "--output=name")


def test_an_install_after_it_finds_the_data_again(release: Release) -> None:
    release.deploy("IMAGE=slipway:latest")
    assert b"grace@example.com" in request("GET", "/api/users", token=release.token())[2]


def test_purge_leaves_nothing(release: Release) -> None:
    output = release.make("undeploy", "PURGE=1").output
    assert f"deleted namespace {NAMESPACE}" in output
    gone = subprocess.run(
        ["kubectl", "get", "namespace", NAMESPACE], capture_output=True, check=False
    )
    assert gone.returncode != 0

"""Where the release answers, found by asking it."""

import http.client
import json
import re
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .shell import Failure, attempt, items, say

PATH = "/version"
PATIENCE = 15
Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    url: str
    status: int
    body: str


def ask(base: str, timeout: float = 5) -> Answer | None:
    """The service's answer under `base`; nothing where something else or nobody answers."""
    answer = get(base, PATH, timeout)
    return answer if answer and _is_ours(answer.status, answer.body) else None


def get(base: str, path: str, timeout: float) -> Answer | None:
    """Whatever answers; nothing where nobody does."""
    target = urlsplit(base)
    host, port = target.hostname or "", target.port
    connection: http.client.HTTPConnection
    if target.scheme == "https":
        # An evaluation's certificate is its own; what is asked here is no secret.
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=trusting)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", target.path.rstrip("/") + path)
        response = connection.getresponse()
        body = response.read(10_000).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return Answer(base + path, response.status, body)


def _is_ours(status: int, body: str) -> bool:
    try:
        return status == 200 and "version" in json.loads(body)
    except (ValueError, TypeError):
        return False


def routes(namespace: str, release: str) -> list[str]:
    """What an Ingress or a Gateway is told to serve."""
    selector = (f"--namespace={namespace}", f"--selector=app.kubernetes.io/instance={release}")
    found = []
    for ingress in items("ingress", *selector):
        scheme = "https" if ingress["spec"].get("tls") else "http"
        hosts = (rule.get("host") for rule in ingress["spec"].get("rules", []))
        found += [f"{scheme}://{host}" for host in hosts if host]
    for route in items("httproutes.gateway.networking.k8s.io", *selector):
        hosts = route["spec"].get("hostnames", [])
        found += [f"{scheme}://{host}" for host in hosts for scheme in ("https", "http")]
    return found


def prefix(namespace: str, release: str) -> str:
    scope = (release, f"--namespace={namespace}")
    values = attempt("helm", "get", "values", *scope, "--all", "--output=json")
    return str(json.loads(values or "{}").get("prefix", "")).rstrip("/")


def web_service(namespace: str, release: str) -> Json:
    found = items(
        "services",
        f"--namespace={namespace}",
        f"--selector=app.kubernetes.io/instance={release},app.kubernetes.io/component=web",
    )
    for service in found:
        if any(port.get("name") == "http" for port in service["spec"]["ports"]):
            return service
    raise Failure(f"release {release!r} has no Service with a port named http in {namespace!r}")


def addresses(service: Json) -> Iterator[str]:
    """A load balancer's addresses, then node ports: here (kind maps them) and on the nodes."""
    ports = {port["name"]: port for port in service["spec"]["ports"]}
    schemes = [name for name in ("http", "https") if name in ports]
    for entry in service.get("status", {}).get("loadBalancer", {}).get("ingress", []):
        host = entry.get("ip") or entry["hostname"]
        yield from (f"{name}://{host}:{ports[name]['port']}" for name in schemes)
    if not any("nodePort" in port for port in ports.values()):
        return
    for host in ("127.0.0.1", *_node_addresses()):
        yield from (f"{name}://{host}:{ports[name]['nodePort']}" for name in schemes)


def _node_addresses() -> list[str]:
    return [
        address["address"]
        for node in items("nodes")
        for address in node["status"].get("addresses", [])
        if address["type"] == "InternalIP" and ":" not in address["address"]
    ]


@contextmanager
def port_forward(namespace: str, name: str) -> Iterator[str]:
    """A way through the API server, for as long as it is needed."""
    command = ["kubectl", "port-forward", f"--namespace={namespace}", f"service/{name}", ":http"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        port = re.search(r"127\.0\.0\.1:(\d+)", line)
        if not port:
            raise Failure(f"cannot reach the release: `{' '.join(command)}` said: {line.strip()}")
        # It tells of each connection; nobody listening, it would stand still.
        threading.Thread(target=process.communicate, daemon=True).start()
        yield f"http://127.0.0.1:{port[1]}"
    finally:
        process.terminate()
        process.wait()


def report(namespace: str, release: str) -> None:
    """End a deployment with its URL and a request made to it."""
    service = web_service(namespace, release)
    path = prefix(namespace, release)
    asked = [base + path for base in (*routes(namespace, release), *addresses(service))]
    if answer := _first_answer(asked):
        say(f"GET {answer.url} answered {answer.status}: {answer.body}")
        print(f"\n  {answer.url.removesuffix(PATH)}\n")
        return
    if asked:
        say(f"nothing answers from here at {', '.join(asked)}")
    name = service["metadata"]["name"]
    with port_forward(namespace, name) as base:
        answer = _first_answer([base + path])
    if not answer:
        raise Failure(f"released, but {PATH} does not answer through a port-forward to {name!r}")
    say(f"GET {PATH} through a port-forward answered {answer.status}: {answer.body}")
    print(
        f"\n  kubectl port-forward --namespace={namespace} service/{name} 8080:http"
        f"\n  http://127.0.0.1:8080{path}\n"
    )


def _first_answer(bases: list[str]) -> Answer | None:
    """The first that answers; nodes learn of new endpoints a moment after they are ready."""
    deadline = time.monotonic() + (PATIENCE if bases else 0)
    while bases:
        for base in bases:
            if answer := ask(base, timeout=2):
                return answer
        if time.monotonic() > deadline:
            break
        time.sleep(1)
    return None

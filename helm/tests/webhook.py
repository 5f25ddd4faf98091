"""Whoever Alertmanager calls: a pod that tells what it was sent."""

import json
from datetime import datetime

from live import Json, Release, restricted

NAME, PORT = "webhook", 8080

# A line of its log for each message.
PROGRAM = f"""
import http.server
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        print(body.decode().strip(), flush=True)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("", {PORT}), Receiver).serve_forever()
"""
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": NAME},
    "spec": {"selector": {"app": NAME}, "ports": [{"port": PORT}]},
}


def receive(release: Release) -> None:
    """Bring it to the release's namespace; Alertmanager reaches it at http://NAME.NAMESPACE:PORT."""
    pod = restricted(NAME, release.image(), command=["python", "-c", PROGRAM])
    for made in (SERVICE, pod):
        release.kubectl("apply", "--filename=-", stdin=json.dumps(made))
    release.kubectl("wait", "--for=condition=Ready", f"pod/{NAME}", "--timeout=120s")


def messages(release: Release, alert: str, status: str) -> list[tuple[float, Json]]:
    """When the webhook was sent something about an alert of the release, and what."""
    lines = release.kubectl("logs", NAME, "--timestamps").splitlines()
    stamped = (line.split(" ", 1) for line in lines)
    sent = ((datetime.fromisoformat(at).timestamp(), json.loads(body)) for at, body in stamped)
    wanted = {"alertname": alert, "namespace": release.namespace}
    return [
        (at, message)
        for at, message in sent
        if message["groupLabels"] == wanted and message["status"] == status
    ]

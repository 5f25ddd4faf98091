"""What nginx in front tells: its connections, and until when its certificate is good.

It is asked at each scrape, in the same pod, and briefly: an nginx that is away is told of, too.
"""

import socket
import ssl
import urllib.request
from collections.abc import Iterator

from cryptography import x509
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from slipway.settings import Settings

ANSWER_SECONDS = 0.2

# As stub_status says it: https://nginx.org/en/docs/http/ngx_http_stub_status_module.html
_COUNTERS = {
    "nginx_connections_accepted": "Client connections that were accepted",
    "nginx_connections_handled": "Client connections that were handled",
    "nginx_http_requests": "Client requests",
}
_GAUGES = {
    "nginx_connections_active": "Client connections that are open",
    "nginx_connections_reading": "Connections on which nginx reads a request",
    "nginx_connections_writing": "Connections on which nginx writes an answer",
    "nginx_connections_waiting": "Connections without a request",
}


class Edge(Collector):
    """The nginx that the settings name; nothing of what they do not."""

    def __init__(self, settings: Settings) -> None:
        self._status_url, self._tls = settings.edge_status_url, settings.edge_tls

    def collect(self) -> Iterator[Metric]:
        if self._status_url:
            try:
                with urllib.request.urlopen(  # noqa: S310 - the operator's own
                    self._status_url, timeout=ANSWER_SECONDS
                ) as answer:
                    yield from _status(answer.read(1000).decode())
                up = 1
            except (OSError, ValueError):
                up = 0
            yield GaugeMetricFamily("nginx_up", "Whether nginx tells its status", value=up)
        if self._tls:
            try:
                expires = _not_after(self._tls)
            except (OSError, ValueError):
                return
            yield GaugeMetricFamily(
                "slipway_certificate_expires_timestamp_seconds",
                "When the certificate that nginx serves ends",
                value=expires,
            )


def _status(text: str) -> Iterator[Metric]:
    """`Active connections: 1`, a heading, `7 7 9`, `Reading: 0 Writing: 1 Waiting: 0`."""
    active, _, counted, states = text.strip().splitlines()
    gauges = [active.split()[-1], *states.split()[1::2]]
    for (name, about), value in zip(_COUNTERS.items(), counted.split(), strict=True):
        yield CounterMetricFamily(name, about, value=float(value))
    for (name, about), value in zip(_GAUGES.items(), gauges, strict=True):
        yield GaugeMetricFamily(name, about, value=float(value))


def _not_after(address: str) -> float:
    """The end of the certificate that is served there, whoever signed it; seconds since 1970."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS) as connection,
        context.wrap_socket(connection) as secured,
    ):
        certificate = secured.getpeercert(binary_form=True) or b""
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()

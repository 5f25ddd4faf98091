"""What Locust counts, as Prometheus reads it during a run: figures to lay beside the service's.

Counted from a run's first request on. `route` is the name that a journey gives to what it asks for.
"""

from collections.abc import Iterator

from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING, MasterRunner
from locust.stats import StatsEntry
from prometheus_client import CollectorRegistry, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from load.workers import there

BUCKETS = Histogram.DEFAULT_BUCKETS
ROUTE = ("method", "route")


def serve(environment: Environment, profile: str, host: str, port: int) -> None:
    """Answer at `http://host:port/metrics`, in a greenlet, until the process ends."""
    registry = CollectorRegistry()
    registry.register(Figures(environment, profile))
    start_http_server(port, host, registry)


class Figures(Collector):
    """Read anew from Locust's own statistics whenever somebody asks."""

    def __init__(self, environment: Environment, profile: str) -> None:
        self.environment, self.profile = environment, profile

    def describe(self) -> list[Metric]:
        """None: there is no runner yet when it is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        runner = self.environment.runner
        if runner is None:
            return
        active = GaugeMetricFamily(
            "locust_run_active", "1 from a run's start to its end.", labels=["profile"]
        )
        active.add_metric([self.profile], runner.state in {STATE_SPAWNING, STATE_RUNNING})
        yield active
        yield GaugeMetricFamily("locust_users", "Users that there are.", runner.user_count)
        if isinstance(runner, MasterRunner) and self.environment.parsed_options:
            wanted = self.environment.parsed_options.expect_workers
            yield GaugeMetricFamily("locust_workers", "Workers that there are.", len(there(runner)))
            yield GaugeMetricFamily("locust_workers_expected", "Workers asked for.", wanted)
        durations = HistogramMetricFamily(
            "locust_request_duration_seconds", "From sent to answered.", labels=ROUTE
        )
        failures = CounterMetricFamily(
            "locust_request_failures", "Answers that no user wants, or none.", labels=ROUTE
        )
        for entry in list(runner.stats.entries.values()):
            labels = [entry.method, entry.name]
            durations.add_metric(labels, buckets(entry), entry.total_response_time / 1000)
            failures.add_metric(labels, entry.num_failures)
        yield durations
        yield failures


def buckets(entry: StatsEntry) -> list[tuple[str, float]]:
    """How many answers came within so many seconds; Locust counts them by milliseconds."""
    times = list(entry.response_times.items())
    return [
        (
            floatToGoString(bound),
            sum(n for milliseconds, n in times if milliseconds / 1000 <= bound),
        )
        for bound in BUCKETS
    ]

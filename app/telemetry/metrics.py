"""Metrics for Prometheus.

A single worker keeps its metrics in memory. Several workers keep them in shared files (`app.server.workers`),
so that each of them can return the metrics of all.

Label values come from bounded sets, such as the routes of the OpenAPI document, the loaded models and the
codes of problems. They never come from what a client sends, so the number of time series is bounded.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import product
from typing import Final, Literal, get_args

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from starlette.types import Scope

from ..capacity import Places, Threads
from ..digits.catalogue import Catalogue
from ..digits.contract import CLASSES
from ..digits.errors import UnknownModel
from ..digits.numbers import NumberCaution
from ..digits.working_picture import Caution
from ..version import VERSION
from ..wire.problems import TITLES
from .stages import StageName
from .tallies import CounterTally, HistogramTally

METRICS: Final = "metrics"  # key in the lifespan state
HASH_DIGITS: Final = 12  # of a model's hash: enough to tell files apart
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # others are "other"
UNKNOWN_ROUTE: Final = "unknown"  # of requests that match no route
# Bucket bounds in seconds. A small picture takes 0.4 ms in total, a phone's photograph 10 to 30 ms; 0.1 s is
# the latency objective of deploy/observability/rules.yml.
DURATION_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5, 10)
STAGE_BUCKETS: Final = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1)
CONFIDENCE_BUCKETS: Final = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
CAUTIONS: Final = dict.fromkeys((*get_args(Caution), *get_args(NumberCaution)))
OUTCOMES: Final = {True: "right", False: "wrong"}
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64)

Aggregation = Literal["livesum", "livemin"]  # of the gauges of several workers


class Metrics:
    """The metrics of a worker, which only the event loop's thread changes; `update` makes them current."""

    def __init__(
        self,
        catalogue: Catalogue,
        places: Places,
        threads: Threads,
        *,
        has_feedback: bool,
        shared_registry: CollectorRegistry | None = None,
    ) -> None:
        """Create all metrics.

        Args:
            catalogue: the loaded models.
            places: the places for pictures in flight.
            threads: the threads for work that is too long for the event loop.
            has_feedback: whether the service stores feedback; only then is there a metric for it.
            shared_registry: the registry that collects the metrics of several workers, if there are several.
        """
        self._registry = CollectorRegistry() if shared_registry is None else shared_registry
        self._registry.register(_InfoCollector(catalogue))
        # a shared registry collects from files; metrics that were also registered would be reported twice
        factory = _Factory(None if shared_registry else self._registry)
        self._requests = factory.create_counter(
            "digits_requests", "Requests answered", "method", "route", "status"
        )
        self._durations = factory.create_histogram(
            "digits_request_duration_seconds",
            "Time from a request's head to the last byte of its response",
            "route",
            buckets=DURATION_BUCKETS,
        )
        self._stages = factory.create_histogram(
            "digits_stage_duration_seconds",
            "Time of a request in each stage, summed over the pictures of a batch",
            "stage",
            buckets=STAGE_BUCKETS,
        )
        self._predictions = factory.create_counter("digits_predictions", "Digits read", "model", "digit")
        self._confidences = factory.create_histogram(
            "digits_confidence", "Confidence of each digit read", "model", buckets=CONFIDENCE_BUCKETS
        )
        self._negatives = factory.create_counter(
            "digits_not_a_digit", "Pictures that probably show no digit", "model"
        )
        self._warnings = factory.create_counter("digits_warnings", "Warnings returned", "code")
        self._refusals = factory.create_counter(
            "digits_refusals", "Refused requests, and refused pictures within batches", "code"
        )
        self._batches = factory.create_histogram(
            "digits_batch_pictures", "Pictures in a batch", "model", buckets=BATCH_BUCKETS
        )
        self._feedback = None
        if has_feedback:
            self._feedback = factory.create_counter(
                "digits_feedback",
                "Predictions for which feedback was sent, by whether they were right",
                "model",
                "outcome",
            )
        gauges: list[tuple[str, str, Callable[[], float]]] = [
            ("digits_workers", "Number of workers", lambda: 1),
            ("digits_pictures_in_flight", "Pictures being processed", lambda: places.taken),
            ("digits_places", "Maximum number of pictures in flight", lambda: places.count),
            (
                "digits_threads",
                "Threads for work that is too long for the event loop",
                lambda: threads.count,
            ),
            ("digits_threads_busy", "Busy threads", lambda: threads.busy),
            (
                "digits_threads_waiting",
                "Requests waiting for a thread",
                lambda: threads.waiting,
            ),
        ]
        self._gauges = [(factory.create_gauge(name, text), measure) for name, text, measure in gauges]
        self._process = _ProcessMetrics(factory)
        self._initialise_series(catalogue)
        self._tallies = factory.tallies
        self.update()

    def _initialise_series(self, catalogue: Catalogue) -> None:
        """Create time series that start at 0: Prometheus can't compute the increase of a new series."""
        for code in TITLES:
            self._refusals.add(code, amount=0)
        for caution in CAUTIONS:
            self._warnings.add(caution, amount=0)
        model = catalogue.get().name
        models = [model]
        with suppress(UnknownModel):  # numbers can't be read
            models.append(catalogue.get_line_reader().name)
        for name, digit in product(models, range(CLASSES)):
            self._predictions.add(name, digit, amount=0)
        self._negatives.add(model, amount=0)
        if self._feedback is not None:
            for outcome in OUTCOMES.values():
                self._feedback.add(model, outcome, amount=0)

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request, and observe its duration."""
        self._requests.add(method if method in METHODS else "other", route, status)
        self._durations.observe(seconds, route)

    def observe_stages(self, seconds: Mapping[StageName, float]) -> None:
        """Observe the seconds that a request spent in each stage that it reached."""
        for stage, duration in seconds.items():
            if duration:
                self._stages.observe(duration, stage)

    def count_digits(self, model: str, digits: Iterable[tuple[int, float]]) -> None:
        """Count digits and observe their confidences, given as pairs."""
        for digit, confidence in digits:
            self._predictions.add(model, digit)
            self._confidences.observe(confidence, model)

    def count_negatives(self, model: str, pictures: int) -> None:
        """Count pictures that probably show no digit."""
        if pictures:
            self._negatives.add(model, amount=pictures)

    def count_cautions(self, codes: Iterable[str]) -> None:
        """Count warnings by their codes."""
        for code in codes:
            self._warnings.add(code)

    def count_refusal(self, code: str) -> None:
        """Count a refusal by its code: that of a problem, or the outcome of a client that disconnected."""
        self._refusals.add(code)

    def observe_batch(self, model: str, pictures: int) -> None:
        """Observe the number of pictures in a batch."""
        self._batches.observe(pictures, model)

    def count_feedback(self, model: str, *, right: bool) -> None:
        """Count a prediction for which feedback was sent."""
        if self._feedback is not None:
            self._feedback.add(model, OUTCOMES[right])

    def update(self) -> None:
        """Add what has been counted to the metrics; measure what changes between requests."""
        for gauge, measure in self._gauges:
            gauge.set(measure())
        self._process.update()
        for tally in self._tallies:
            tally.publish()

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics of the last update, and their media type: OpenMetrics if `accept` names it."""
        if "application/openmetrics-text" in accept:
            return openmetrics.generate_latest(self._registry), openmetrics.CONTENT_TYPE_LATEST  # type: ignore[no-untyped-call]
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4


def get_metrics(scope: Scope) -> Metrics:
    """Return the metrics of the worker that serves a request."""
    metrics: Metrics = scope["state"][METRICS]
    return metrics


class _Factory:
    """Creates metrics, and registers them if there is a registry."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._registry = registry
        self.tallies: list[CounterTally | HistogramTally] = []
        # otherwise each time series has a second one with its creation time
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

    def create_counter(self, name: str, documentation: str, *labels: str) -> CounterTally:
        tally = CounterTally(name, documentation, labels, self._registry)
        self.tallies.append(tally)
        return tally

    def create_histogram(
        self, name: str, documentation: str, *labels: str, buckets: Sequence[float]
    ) -> HistogramTally:
        tally = HistogramTally(name, documentation, labels, self._registry, buckets=buckets)
        self.tallies.append(tally)
        return tally

    def create_gauge(self, name: str, documentation: str, *, aggregation: Aggregation = "livesum") -> Gauge:
        return Gauge(name, documentation, registry=self._registry, multiprocess_mode=aggregation)


class _InfoCollector(Collector):
    """The version of the service and its models, which are the same in every worker."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def collect(self) -> Iterable[Metric]:
        """Return time series whose value is 1."""
        build = GaugeMetricFamily("digits_build_info", "Version of the service", labels=["version", "python"])
        build.add_metric([VERSION, platform.python_version()], 1)
        models = GaugeMetricFamily(
            "digits_model_info",
            "Loaded models",
            labels=["model", "version", "sha256", "default"],
        )
        default = self._catalogue.get().name
        for model in self._catalogue:
            network, is_default = model.network, str(model.name == default).lower()
            models.add_metric(
                [model.name, network.recipe_version, network.sha256[:HASH_DIGITS], is_default], 1
            )
        return [build, models]


class _ProcessMetrics:
    """Memory, processor time and file descriptors, under the names that Prometheus' libraries use.

    prometheus_client's collector reads them, but would not add them up for several workers.
    """

    def __init__(self, factory: _Factory) -> None:
        self._collector = ProcessCollector(registry=None)
        families = list(self._collector.collect())  # empty without /proc
        self._gauges = {
            family.name: factory.create_gauge(
                family.name,
                family.documentation,
                aggregation="livemin" if family.name == "process_start_time_seconds" else "livesum",
            )
            for family in families
            if family.type == "gauge"
        }
        self._counters = {
            family.name: factory.create_counter(family.name, family.documentation)
            for family in families
            if family.type == "counter"
        }
        self._last_values = dict.fromkeys(self._counters, 0.0)

    def update(self) -> None:
        """Read the current values."""
        for family in self._collector.collect():
            value = family.samples[0].value
            if family.name in self._gauges:
                self._gauges[family.name].set(value)
            elif family.name in self._counters:
                increase = max(value - self._last_values[family.name], 0)
                self._counters[family.name].add(amount=increase)
                self._last_values[family.name] = value

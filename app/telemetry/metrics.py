"""What the service counts, for Prometheus.

A single worker keeps its numbers in memory. Several keep them in files that `app.server.workers` shares among
them, so that whichever is asked shows all together.

A label's values come from a set that we know, as routes of the OpenAPI document, models that are loaded and
problems' codes do. Never from what a client sends.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Generic, Literal, TypeVar, get_args

import prometheus_client
from anyio import CapacityLimiter
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from starlette.types import Scope

from app import __version__
from app.capacity import Places
from app.digits.catalogue import Catalogue
from app.digits.contract import CLASSES
from app.digits.numbers import NumberCaution
from app.digits.sheet import Caution
from app.telemetry.stages import StageName
from app.wire.problems import TITLES

METRICS: Final = "metrics"  # in the lifespan's state
HASH_DIGITS: Final = 12  # digits of a model's hash: enough to tell files apart
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # else "other"
UNKNOWN_ROUTE: Final = "unknown"  # the route of a request that no route has
# Seconds. A small picture takes 0.4 ms in all, a phone's photograph 10 to 30; 0.1 is the latency objective of
# deploy/observability/rules.yml. Few bounds: prometheus_client looks through them in turn.
DURATION_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5, 10)
STAGE_BUCKETS: Final = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1)
CONFIDENCE_BUCKETS: Final = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
CAUTIONS: Final = dict.fromkeys((*get_args(Caution), *get_args(NumberCaution)))
OUTCOMES: Final = {True: "right", False: "wrong"}
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64)

Child = TypeVar("Child", Counter, Histogram)
Aggregation = Literal["livesum", "livemin"]  # what one gauge makes of those of all workers


class Metrics:
    """All of a worker's numbers; they are changed on the event loop alone."""

    def __init__(
        self,
        catalogue: Catalogue,
        places: Places,
        threads: CapacityLimiter,
        *,
        feedback: bool,
        of_all_workers: CollectorRegistry | None = None,
    ) -> None:
        """Count from 0.

        Args:
            catalogue: the models.
            places: for pictures in flight.
            threads: for large pictures.
            feedback: whether pictures are kept; where they are not, nothing is said of it.
            of_all_workers: the registry that shows the numbers of several workers, this one's among them.
        """
        self._registry = CollectorRegistry() if of_all_workers is None else of_all_workers
        self._registry.register(_InfoCollector(catalogue))
        # what all workers show together need not be shown a second time
        factory = _Factory(None if of_all_workers else self._registry)
        self._requests = factory.create_counter(
            "digits_requests", "Requests answered", "method", "route", "status"
        )
        self._durations = factory.create_histogram(
            "digits_request_duration_seconds",
            "From a request's head to the last byte of its answer",
            "route",
            buckets=DURATION_BUCKETS,
        )
        self._stages = factory.create_histogram(
            "digits_stage_duration_seconds",
            "A request's work on its pictures, those of a batch together",
            "stage",
            buckets=STAGE_BUCKETS,
        )
        self._predictions = factory.create_counter("digits_predictions", "Digits read", "model", "digit")
        self._confidences = factory.create_histogram(
            "digits_confidence", "Of each digit read", "model", buckets=CONFIDENCE_BUCKETS
        )
        self._negatives = factory.create_counter(
            "digits_not_a_digit", "Pictures that seem to show no digit", "model"
        )
        self._warnings = factory.create_counter("digits_warnings", "Warnings about pictures", "code")
        self._refusals = factory.create_counter(
            "digits_refusals", "Requests, and pictures of batches, that were refused", "code"
        )
        self._batches = factory.create_histogram(
            "digits_batch_pictures", "How many pictures a batch has", "model", buckets=BATCH_BUCKETS
        )
        self._feedback = None
        if feedback:
            self._feedback = factory.create_counter(
                "digits_feedback", "Pictures for which somebody has given the right digit", "model", "outcome"
            )
        gauges: list[tuple[str, str, Callable[[], float]]] = [
            ("digits_workers", "Processes that serve", lambda: 1),
            ("digits_pictures_in_flight", "Pictures accepted", lambda: places.taken),
            ("digits_places", "Most pictures accepted at a time", lambda: places.count),
            ("digits_threads", "Threads for large pictures", lambda: threads.total_tokens),
            ("digits_threads_busy", "Those that are busy", lambda: threads.borrowed_tokens),
            (
                "digits_threads_waiting",
                "Requests that wait for one",
                lambda: threads.statistics().tasks_waiting,
            ),
        ]
        self._gauges = [(factory.create_gauge(name, meaning), read) for name, meaning, read in gauges]
        self._process = _ProcessMetrics(factory)
        self._initialise_series(catalogue)
        self.update_gauges()

    def _initialise_series(self, catalogue: Catalogue) -> None:
        """Show what may happen as 0 until it does: Prometheus can't tell how far a new series has risen."""
        for code in TITLES:
            self._refusals[code,].inc(0)
        for caution in CAUTIONS:
            self._warnings[caution,].inc(0)
        model = catalogue.get().name
        self._negatives[model,].inc(0)
        for digit in range(CLASSES):
            self._predictions[model, digit].inc(0)
        if self._feedback is not None:
            for outcome in OUTCOMES.values():
                self._feedback[catalogue.default, outcome].inc(0)

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request, and the seconds that it took."""
        self._requests[method if method in METHODS else "other", route, status].inc()
        self._durations[route,].observe(seconds)

    def observe_stages(self, seconds: Mapping[StageName, float]) -> None:
        """Count the seconds that each stage of a request's work took; 0.0 if it was not reached."""
        for stage, seconds_by_stage in seconds.items():
            if seconds_by_stage:
                self._stages[stage,].observe(seconds_by_stage)

    def count_digits(self, model: str, digits: Iterable[tuple[int, float]]) -> None:
        """Count digits, each given with its confidence."""
        for digit, confidence in digits:
            self._predictions[model, digit].inc()
            self._confidences[model,].observe(confidence)

    def count_negatives(self, model: str, pictures: int) -> None:
        """Count pictures that seem to hold no digit."""
        if pictures:
            self._negatives[model,].inc(pictures)

    def count_cautions(self, codes: Iterable[str]) -> None:
        """Count the warnings about a picture."""
        for code in codes:
            self._warnings[code,].inc()

    def count_refusal(self, code: str) -> None:
        """Count a problem's code."""
        self._refusals[code,].inc()

    def observe_batch(self, model: str, pictures: int) -> None:
        """Count a batch."""
        self._batches[model,].observe(pictures)

    def count_feedback(self, model: str, *, right: bool) -> None:
        """Count a prediction that somebody has judged, where pictures are kept."""
        if self._feedback is not None:
            self._feedback[model, OUTCOMES[right]].inc()

    def update_gauges(self) -> None:
        """Look at what changes without a request."""
        for gauge, measure in self._gauges:
            gauge.set(measure())
        self._process.update()

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return all numbers, and their media type: OpenMetrics if that is asked for."""
        if "application/openmetrics-text" in accept:
            return openmetrics.generate_latest(self._registry), openmetrics.CONTENT_TYPE_LATEST  # type: ignore[no-untyped-call]
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4


def metrics_of(scope: Scope) -> Metrics:
    """Return the metrics of the worker that serves a request."""
    metrics: Metrics = scope["state"][METRICS]
    return metrics


class _Children(dict[tuple[str | int, ...], Child], Generic[Child]):
    """A metric's children by their labels' values, kept: `labels` takes longer than counting does."""

    def __init__(self, parent: Child) -> None:
        super().__init__()
        self._parent: Child = parent

    def __missing__(self, labels: tuple[str | int, ...]) -> Child:
        child: Child = self._parent.labels(*labels) if labels else self._parent
        self[labels] = child
        return child


class _Factory:
    """Makes metrics, and registers them if they are to be shown."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._registry = registry
        # or each series brings a second one, which tells when it began
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

    def create_counter(self, name: str, meaning: str, *labels: str) -> _Children[Counter]:
        return _Children(Counter(name, meaning, labels, registry=self._registry))

    def create_histogram(
        self, name: str, meaning: str, *labels: str, buckets: Sequence[float]
    ) -> _Children[Histogram]:
        return _Children(Histogram(name, meaning, labels, buckets=buckets, registry=self._registry))

    def create_gauge(self, name: str, meaning: str, *, aggregation: Aggregation = "livesum") -> Gauge:
        return Gauge(name, meaning, registry=self._registry, multiprocess_mode=aggregation)


class _InfoCollector(Collector):
    """What is the same in every worker: which program, which models."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def collect(self) -> Iterable[Metric]:
        """Return the facts as series whose value is 1."""
        build = GaugeMetricFamily("digits_build_info", "What serves", labels=["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        models = GaugeMetricFamily(
            "digits_model_info",
            "Models that are loaded",
            labels=["model", "version", "sha256", "default"],
        )
        default = self._catalogue.get().name
        for model in self._catalogue:
            classifier, is_default = model.classifier, str(model.name == default).lower()
            models.add_metric(
                [model.name, classifier.version, classifier.sha256[:HASH_DIGITS], is_default], 1
            )
        return [build, models]


class _ProcessMetrics:
    """Memory, processor and descriptors of this process, under the names that Prometheus' libraries use.

    Read by prometheus_client's own collector, which in its multiprocess mode would tell of one worker alone.
    """

    def __init__(self, factory: _Factory) -> None:
        self._collector = ProcessCollector(registry=None)
        families = list(self._collector.collect())  # none where there is no /proc
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
        """Read them."""
        for family in self._collector.collect():
            value = family.samples[0].value
            if family.name in self._gauges:
                self._gauges[family.name].set(value)
            elif family.name in self._counters:
                self._counters[family.name][()].inc(max(value - self._last_values[family.name], 0))
                self._last_values[family.name] = value

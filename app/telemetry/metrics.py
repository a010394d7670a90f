"""What the service counts, for Prometheus.

A single worker keeps its metrics in memory. Several keep them in shared files (`app.server.workers`), so that
any of them can report the sum.

The values of a label come from a known set, such as the routes of the OpenAPI document, the loaded models and
the codes of problems. They never come from what a client sends.
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
from app.digits.working_picture import Caution
from app.telemetry.stages import StageName
from app.wire.problems import TITLES

METRICS: Final = "metrics"  # in the lifespan's state
HASH_DIGITS: Final = 12  # digits of a model's hash: enough to distinguish files
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # else "other"
UNKNOWN_ROUTE: Final = "unknown"  # of a request that matches no route
# Seconds. A small picture takes 0.4 ms in all, a phone's photograph 10 to 30; 0.1 is the latency objective of
# deploy/observability/rules.yml. Few bounds: prometheus_client checks them one by one.
DURATION_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5, 10)
STAGE_BUCKETS: Final = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1)
CONFIDENCE_BUCKETS: Final = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
CAUTIONS: Final = dict.fromkeys((*get_args(Caution), *get_args(NumberCaution)))
OUTCOMES: Final = {True: "right", False: "wrong"}
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64)

Child = TypeVar("Child", Counter, Histogram)
Aggregation = Literal["livesum", "livemin"]  # what one gauge makes of those of all workers


class Metrics:
    """All metrics of a worker; they change only on the event loop."""

    def __init__(
        self,
        catalogue: Catalogue,
        places: Places,
        threads: CapacityLimiter,
        *,
        feedback: bool,
        of_all_workers: CollectorRegistry | None = None,
    ) -> None:
        """Start from 0.

        `feedback` says whether pictures are stored; `of_all_workers` is the registry that adds up several
        workers, including this one.
        """
        self._registry = CollectorRegistry() if of_all_workers is None else of_all_workers
        self._registry.register(_InfoCollector(catalogue))
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each
        # the registry of all workers already shows what each of them keeps
        factory = _Factory(None if of_all_workers else self._registry)
        self._requests = factory.create_counter(
            "digits_requests", "Requests answered", "method", "route", "status"
        )
        text = "From a request's head to the last byte of its answer"
        self._durations = factory.create_histogram(
            "digits_request_duration_seconds", text, "route", DURATION_BUCKETS
        )
        text = "A request's work on its pictures, those of a batch together"
        self._stages = factory.create_histogram("digits_stage_duration_seconds", text, "stage", STAGE_BUCKETS)
        self._predictions = factory.create_counter("digits_predictions", "Digits read", "model", "digit")
        self._confidences = factory.create_histogram(
            "digits_confidence", "Of each digit read", "model", CONFIDENCE_BUCKETS
        )
        self._negatives = factory.create_counter(
            "digits_not_a_digit", "Pictures that seem to show no digit", "model"
        )
        self._warnings = factory.create_counter("digits_warnings", "Warnings about pictures", "code")
        text = "Requests, and pictures of batches, that were refused"
        self._refusals = factory.create_counter("digits_refusals", text, "code")
        self._batches = factory.create_histogram(
            "digits_batch_pictures", "How many pictures a batch has", "model", BATCH_BUCKETS
        )
        self._feedback = None
        if feedback:
            text = "Pictures for which somebody has given the right digit"
            self._feedback = factory.create_counter("digits_feedback", text, "model", "outcome")
        self._gauges = _create_gauges(factory, places, threads)
        self._process = _ProcessMetrics(factory)
        self._initialise_series(catalogue)
        self.update_gauges()

    def _initialise_series(self, catalogue: Catalogue) -> None:
        """Report 0 for what has not happened yet: Prometheus can't tell how far a new series has risen."""
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
        """Count digits, from pairs of a digit and its confidence."""
        for digit, confidence in digits:
            self._predictions[model, digit].inc()
            self._confidences[model,].observe(confidence)

    def count_negatives(self, model: str, pictures: int) -> None:
        """Count pictures that seem to show no digit."""
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
        """Count a prediction that somebody has judged, if pictures are stored."""
        if self._feedback is not None:
            self._feedback[model, OUTCOMES[right]].inc()

    def update_gauges(self) -> None:
        """Update what changes without a request."""
        for gauge, measure in self._gauges:
            gauge.set(measure())
        self._process.update()

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics and their media type, which is OpenMetrics if `accept` asks for it."""
        if "application/openmetrics-text" in accept:
            return openmetrics.generate_latest(self._registry), openmetrics.CONTENT_TYPE_LATEST  # type: ignore[no-untyped-call]
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4


def metrics_of(scope: Scope) -> Metrics:
    """Return the metrics of the worker that serves a request."""
    metrics: Metrics = scope["state"][METRICS]
    return metrics


class _Children(dict[tuple[str | int, ...], Child], Generic[Child]):
    """Caches a metric's children by label values: `labels` takes longer than counting does."""

    def __init__(self, parent: Child) -> None:
        super().__init__()
        self._parent: Child = parent

    def __missing__(self, labels: tuple[str | int, ...]) -> Child:
        child: Child = self._parent.labels(*labels) if labels else self._parent
        self[labels] = child
        return child


class _Factory:
    """Creates metrics, and registers them unless the registry is None."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._registry = registry

    def create_counter(self, name: str, text: str, *labels: str) -> _Children[Counter]:
        return _Children(Counter(name, text, labels, registry=self._registry))

    def create_histogram(
        self, name: str, text: str, label: str, buckets: Sequence[float]
    ) -> _Children[Histogram]:
        return _Children(Histogram(name, text, [label], buckets=buckets, registry=self._registry))

    def create_gauge(self, name: str, text: str, aggregation: Aggregation = "livesum") -> Gauge:
        return Gauge(name, text, registry=self._registry, multiprocess_mode=aggregation)


def _create_gauges(
    factory: _Factory, places: Places, threads: CapacityLimiter
) -> list[tuple[Gauge, Callable[[], float]]]:
    """Create the gauges, each with what measures its value."""
    gauges: list[tuple[str, str, Callable[[], float]]] = [
        ("digits_workers", "Processes that serve", lambda: 1),
        ("digits_pictures_in_flight", "Pictures accepted", lambda: places.taken),
        ("digits_places", "Most pictures accepted at a time", lambda: places.count),
        ("digits_threads", "Threads for large pictures", lambda: threads.total_tokens),
        ("digits_threads_busy", "Those that are busy", lambda: threads.borrowed_tokens),
        ("digits_threads_waiting", "Requests that wait for one", lambda: threads.statistics().tasks_waiting),
    ]
    return [(factory.create_gauge(name, text), measure) for name, text, measure in gauges]


class _InfoCollector(Collector):
    """Reports what is the same in every worker: the program and the models."""

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

    Read by prometheus_client's own collector, which in its multiprocess mode would show one worker alone.
    """

    def __init__(self, factory: _Factory) -> None:
        self._collector = ProcessCollector(registry=None)  # which has nothing to say where there is no /proc
        self._gauges: dict[str, Gauge] = {}
        self._counters: dict[str, tuple[Counter, float]] = {}  # and their last values
        for family in self._collector.collect():
            name, text = family.name, family.documentation
            if family.type == "counter":
                self._counters[name] = factory.create_counter(name, text)[()], 0.0
            else:
                start = name == "process_start_time_seconds"
                self._gauges[name] = factory.create_gauge(name, text, "livemin" if start else "livesum")

    def update(self) -> None:
        for family in self._collector.collect():
            name, value = family.name, family.samples[0].value
            if name in self._gauges:
                self._gauges[name].set(value)
            elif name in self._counters:
                counter, last = self._counters[name]
                counter.inc(max(value - last, 0))
                self._counters[name] = counter, value

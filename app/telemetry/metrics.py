"""What the service counts, for Prometheus.

A single worker keeps its numbers in memory. Several keep them in files, in prometheus_client's multiprocess
mode, so that whichever is asked tells of all together; what changes without a request, they write down every
second.

A label's values come from a set that we know, as routes of the OpenAPI document, models that are loaded and
problems' codes do. Never from what a client sends.
"""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Generic, Literal, TypeVar, get_args

import prometheus_client
from anyio import CapacityLimiter
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, values
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from app import __version__
from app.api.problems import TITLES
from app.digits.catalogue import Catalogue
from app.digits.contract import CLASSES
from app.digits.numbers import NumberCaution
from app.digits.sheet import Caution
from app.guard.places import Places
from app.telemetry.workers import FOLDER, Seat

PERIOD: Final = 1.0  # seconds between two looks at what changes without a request
SHORT: Final = 12  # digits of a model's hash: enough to tell files apart
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # else "other"
NOWHERE: Final = "unknown"  # the route of a request that no route has
# Seconds. A small picture takes 0.4 ms in all, a phone's photograph 10 to 30; 0.1 is the latency objective of
# deploy/observability/rules.yml. Few bounds: prometheus_client looks through them in turn.
DURATIONS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5, 10)
STAGES: Final = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1)
CONFIDENCES: Final = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
CAUTIONS: Final = dict.fromkeys((*get_args(Caution), *get_args(NumberCaution)))
OUTCOMES: Final = {True: "right", False: "wrong"}
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)

Child = TypeVar("Child", Counter, Histogram)
OfAll = Literal["livesum", "livemin"]  # what one gauge makes of those of all workers


class Metrics:
    """All of a worker's numbers; they are changed on the event loop alone."""

    def __init__(
        self, catalogue: Catalogue, places: Places, threads: CapacityLimiter, *, feedback: bool = False
    ) -> None:
        folder = os.environ.get(FOLDER)
        self._seat = Seat(Path(folder)) if folder else None
        self._shown = CollectorRegistry()
        self._shown.register(_Facts(catalogue))
        if self._seat:
            _share(self._seat)
            MultiProcessCollector(self._shown, folder)  # type: ignore[no-untyped-call]
        # what is in the files, too, need not be shown a second time
        new = _Maker(None if self._seat else self._shown)

        self._requests = new.counter("digits_requests", "Requests answered", "method", "route", "status")
        told = "From a request's head to the last byte of its answer"
        self._durations = new.histogram("digits_request_duration_seconds", told, "route", buckets=DURATIONS)
        told = "A request's work on its pictures, those of a batch together"
        self._stages = new.histogram("digits_stage_duration_seconds", told, "stage", buckets=STAGES)
        self._predictions = new.counter("digits_predictions", "Digits read", "model", "digit")
        told = "Of each digit read"
        self._confidences = new.histogram("digits_confidence", told, "model", buckets=CONFIDENCES)
        self._strangers = new.counter("digits_not_a_digit", "Pictures that seem to hold none", "model")
        self._warnings = new.counter("digits_warnings", "Warnings about pictures", "code")
        told = "Requests, and pictures of batches, that were refused"
        self._refusals = new.counter("digits_refusals", told, "code")
        told = "How many pictures a batch has"
        self._batches = new.histogram("digits_batch_pictures", told, "model", buckets=BATCHES)

        if feedback:  # where it is not, nothing tells of it
            told = "Pictures that somebody has told the right digit of"
            self._judgements = new.counter("digits_feedback", told, "model", "outcome")
            for outcome in OUTCOMES.values():
                self._judgements[catalogue.default, outcome].inc(0)
        self._gauges: list[tuple[Gauge, Callable[[], float]]] = [
            (new.gauge("digits_workers", "Processes that serve"), lambda: 1),
            (new.gauge("digits_pictures_in_flight", "Pictures taken on"), lambda: places.taken),
            (new.gauge("digits_places", "Most pictures taken on at a time"), lambda: places.count),
            (new.gauge("digits_threads", "Threads for large pictures"), lambda: threads.total_tokens),
            (new.gauge("digits_threads_busy", "Those that work"), lambda: threads.borrowed_tokens),
            (
                new.gauge("digits_threads_waiting", "Requests that wait for one"),
                lambda: threads.statistics().tasks_waiting,
            ),
        ]
        self._process = _Process(new)
        self._begin(catalogue.get().name)
        self.look()

    def _begin(self, model: str) -> None:
        """Show what may happen as 0 until it does: Prometheus can't tell how far a new series has risen."""
        for code in TITLES:
            self._refusals[code,].inc(0)
        for caution in CAUTIONS:
            self._warnings[caution,].inc(0)
        self._strangers[model,].inc(0)
        for digit in range(CLASSES):
            self._predictions[model, digit].inc(0)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests[method if method in METHODS else "other", route, status].inc()
        self._durations[route,].observe(seconds)

    def worked(self, spent: Mapping[str, float]) -> None:
        """Count the seconds that each stage of a request's work took; 0.0 if it was not reached."""
        for stage, seconds in spent.items():
            if seconds:
                self._stages[stage,].observe(seconds)

    def predicted(self, model: str, digits: Iterable[tuple[int, float]]) -> None:
        """Count digits, each given with its confidence."""
        for digit, confidence in digits:
            self._predictions[model, digit].inc()
            self._confidences[model,].observe(confidence)

    def doubted(self, model: str) -> None:
        """Count a picture that seems to hold no digit."""
        self._strangers[model,].inc()

    def warned(self, codes: Iterable[str]) -> None:
        """Count the warnings about a picture."""
        for code in codes:
            self._warnings[code,].inc()

    def refused(self, code: str) -> None:
        """Count a problem's code."""
        self._refusals[code,].inc()

    def batched(self, model: str, pictures: int) -> None:
        """Count a batch."""
        self._batches[model,].observe(pictures)

    def judged(self, model: str, *, right: bool) -> None:
        """Count a prediction that somebody has judged."""
        self._judgements[model, OUTCOMES[right]].inc()

    def look(self) -> None:
        """See to what changes without a request."""
        for gauge, read in self._gauges:
            gauge.set(read())
        self._process.look()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Let other workers know, for as long as this one serves, what changes without a request."""
        if self._seat is None:  # whoever asks for the numbers looks
            yield
            return
        looking = asyncio.create_task(self._look_again_and_again())
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
            self._seat.leave()

    async def _look_again_and_again(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(PERIOD)

    def text(self, accept: str) -> tuple[bytes, str]:
        """Return all numbers, and their media type: OpenMetrics if that is asked for."""
        if "application/openmetrics-text" in accept:
            return openmetrics.generate_latest(self._shown), openmetrics.CONTENT_TYPE_LATEST  # type: ignore[no-untyped-call]
        return generate_latest(self._shown), CONTENT_TYPE_PLAIN_0_0_4


class _Children(dict[tuple[str | int, ...], Child], Generic[Child]):
    """A metric's children by their labels' values, kept: `labels` takes longer than counting does."""

    def __init__(self, parent: Child) -> None:
        super().__init__()
        self._parent: Child = parent

    def __missing__(self, labels: tuple[str | int, ...]) -> Child:
        child: Child = self._parent.labels(*labels) if labels else self._parent
        self[labels] = child
        return child


class _Maker:
    """Makes metrics, and registers them if they are to be shown."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._registry = registry
        # or each series brings a second one, which tells when it began
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

    def counter(self, name: str, told: str, *labels: str) -> _Children[Counter]:
        return _Children(Counter(name, told, labels, registry=self._registry))

    def histogram(self, name: str, told: str, *labels: str, buckets: Sequence[float]) -> _Children[Histogram]:
        return _Children(Histogram(name, told, labels, buckets=buckets, registry=self._registry))

    def gauge(self, name: str, told: str, *, of_all: OfAll = "livesum") -> Gauge:
        return Gauge(name, told, registry=self._registry, multiprocess_mode=of_all)


def _share(seat: Seat) -> None:
    """Have values made from now on kept in the seat's files."""
    number = seat.number
    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]


class _Facts(Collector):
    """What is the same in every worker: which program, which models."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def collect(self) -> Iterable[Metric]:
        """Tell it, as series whose value is 1."""
        build = GaugeMetricFamily("digits_build_info", "What serves", labels=["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        models = GaugeMetricFamily(
            "digits_model_info",
            "Models that can be asked for",
            labels=["model", "version", "sha256", "default"],
        )
        default = self._catalogue.get().name
        for model in self._catalogue:
            one, answers = model.classifier, str(model.name == default).lower()
            models.add_metric([model.name, one.version, one.sha256[:SHORT], answers], 1)
        return [build, models]


class _Process:
    """Memory, processor and descriptors of this process, under the names that Prometheus' libraries use.

    Read by prometheus_client's own collector, which in its multiprocess mode would tell of one worker alone.
    """

    def __init__(self, new: _Maker) -> None:
        self._collector = ProcessCollector(registry=None)
        families = list(self._collector.collect())  # none where there is no /proc
        self._gauges = {
            family.name: new.gauge(
                family.name,
                family.documentation,
                of_all="livemin" if family.name == "process_start_time_seconds" else "livesum",
            )
            for family in families
            if family.type == "gauge"
        }
        self._counters = {
            family.name: new.counter(family.name, family.documentation)
            for family in families
            if family.type == "counter"
        }
        self._counted = dict.fromkeys(self._counters, 0.0)

    def look(self) -> None:
        """Read them."""
        for family in self._collector.collect():
            value = family.samples[0].value
            if family.name in self._gauges:
                self._gauges[family.name].set(value)
            elif family.name in self._counters:
                self._counters[family.name][()].inc(max(value - self._counted[family.name], 0))
                self._counted[family.name] = value

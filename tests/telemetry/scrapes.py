"""Responses of /metrics, parsed by prometheus_client."""

from __future__ import annotations

import httpx
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.serving import PATIENCE

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Scrape(list[Sample]):
    """The samples of a scrape."""

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples with this name and, among others, these labels."""
        return sum(sample.value for sample in self.find(name, **labels))

    def find(self, name: str, **labels: str) -> list[Sample]:
        """Return the samples with this name and, among others, these labels."""
        return [sample for sample in self if sample.name == name and labels.items() <= sample.labels.items()]


def scrape(client: httpx.Client) -> Scrape:
    """Scrape over a new connection, which may reach another of several workers."""
    answer = httpx.get(f"{client.base_url}/metrics", timeout=PATIENCE)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scrape(
        sample for family in text_string_to_metric_families(answer.text) for sample in family.samples
    )


def scrape_openmetrics(client: httpx.Client) -> Scrape:
    """Scrape as Prometheus does."""
    answer = client.get(
        "/metrics", headers={"Accept": f"{OPENMETRICS},text/plain;version=0.0.4;q=0.5,*/*;q=0.1"}
    )
    assert answer.headers["content-type"] == OPENMETRICS
    families = openmetrics_families(answer.text)  # type: ignore[no-untyped-call]
    return Scrape(sample for family in families for sample in family.samples)

"""deploy/observability: rules, dashboard and compose profile match the service and each other."""

from __future__ import annotations

import json
import math
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from app.settings import Settings
from tests.compose import compose
from tests.conftest import ROOT
from tests.serving import PATIENCE, serve, wait_until
from tests.telemetry.pictures import BLANK, NUMBER, PNG, THREE, TINY
from tests.telemetry.scrapes import Scrape, scrape

FOLDER = ROOT / "deploy" / "observability"
RULES = FOLDER / "rules.yml"
DASHBOARD = FOLDER / "grafana" / "dashboards" / "digits.json"
JOB = {"job": "digits", "instance": "digits:8000"}  # labels that Prometheus adds to every sample
# a metric and its label matchers
SELECTOR = re.compile(r"\b((?:digits|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|=|!=)\s*"([^"]*)"')
GROUPING = re.compile(r"(?:by|on|ignoring|group_left)\s*\(([^)]*)\)")
COMPARISON = re.compile(r"(?:==|>=?) [\d.]+(?: \* [\d.]+)?")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels() -> dict[str, list[str]]:
    """Return the expressions of each of the dashboard's panels."""
    entries = [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]
    return {panel["title"]: [target["expr"] for target in panel["targets"]] for panel in entries}


def expressions() -> list[str]:
    return [rule["expr"] for rule in rules()] + [
        target for targets in panels().values() for target in targets
    ]


def send_all_kinds_of_requests(client: httpx.Client) -> None:
    """Send requests that change every metric."""
    for picture in (THREE, TINY, BLANK):
        client.post("/predict", content=picture, headers=PNG)
    client.post("/predict/number", content=NUMBER, headers=PNG)
    client.post("/predict/batch", files=[("files", picture) for picture in (THREE, BLANK)])


def find_unknown(expression: str, samples: Scrape) -> list[str]:
    """Return the metrics and labels of an expression that no sample of a scrape has."""
    names = {sample.name for sample in samples}
    missing = []
    for name, selector in SELECTOR.findall(
        expression.replace("model_digit:digits", ":").replace(":digits", ":")
    ):
        matchers = MATCHER.findall(selector)
        if name not in names:
            missing.append(name)
        elif not any(satisfies(sample.labels | JOB, matchers) for sample in samples if sample.name == name):
            missing.append(f"{name}{{{selector}}}")
    labels = {label for sample in samples for label in (*sample.labels, *JOB)}
    grouped = [label.strip() for group in GROUPING.findall(expression) for label in group.split(",")]
    return missing + [label for label in grouped if label not in labels]


def satisfies(labels: dict[str, str], matchers: list[tuple[str, str, str]]) -> bool:
    """Tell whether labels satisfy all matchers."""

    def matches(label: str, operator: str, value: str) -> bool:
        equal = re.fullmatch(value, labels[label]) is not None if "~" in operator else labels[label] == value
        return equal != operator.startswith("!")

    return all(label in labels and matches(label, operator, value) for label, operator, value in matchers)


@pytest.fixture(scope="module")
def service() -> Iterator[httpx.Client]:
    with serve(Settings()) as client:
        send_all_kinds_of_requests(client)
        yield client


def test_every_metric_and_label_in_an_expression_exists(service: httpx.Client) -> None:
    samples = scrape(service)
    assert len(expressions()) > 40
    assert {
        expression: missing for expression in expressions() if (missing := find_unknown(expression, samples))
    } == {}


@pytest.mark.parametrize(
    ("expression", "missing"),
    [
        ("rate(digits_request_total[5m])", ["digits_request_total"]),
        ('digits_refusals_total{code="no_paper"}', ['digits_refusals_total{code="no_paper"}']),
        ('digits_refusals_total{reason="no_ink"}', ['digits_refusals_total{reason="no_ink"}']),
        ("sum by (model, colour) (digits_predictions_total)", ["colour"]),
        ('digits_confidence_bucket{le="0.85"}', ['digits_confidence_bucket{le="0.85"}']),
    ],
)
def test_the_test_above_can_fail(service: httpx.Client, expression: str, missing: list[str]) -> None:
    assert find_unknown(expression, scrape(service)) == missing


def test_every_recording_rule_is_used_and_exists() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    used = {name for expression in expressions() for name in re.findall(r"\b\w+:digits_\w+:\w+", expression)}
    assert used == recorded


def test_every_alert_has_annotations_and_documentation() -> None:
    documented = (ROOT / "docs" / "observe.md").read_text()
    for name, alert in alerts().items():
        assert alert["annotations"].keys() == {"summary", "description", "action"}
        assert alert["labels"]["severity"] in {"page", "ticket"}
        assert f"`{name}`" in documented


def test_every_alert_is_tested_to_fire_and_not_to_fire() -> None:
    tests = yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"]
    fires = {
        re.findall(r'alertname="(\w+)"', case["expr"])[0]
        for test in tests
        for case in test.get("promql_expr_test", ())
        if case["exp_samples"]
    }
    rests = {
        case["alertname"] for test in tests for case in test["alert_rule_test"] if "exp_alerts" not in case
    }
    assert fires == rests == alerts().keys()


@pytest.mark.needs("prometheus")
@pytest.mark.parametrize(
    "command",
    [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "rules.yml"],
        ["test", "rules", "rules_test.yml"],
    ],
)
def test_promtool_agrees(command: list[str]) -> None:
    result = subprocess.run(["promtool", *command], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "SUCCESS" in result.stdout


def test_the_documentation_lists_exactly_the_metrics_that_exist(service: httpx.Client) -> None:
    page = (ROOT / "docs" / "observe.md").read_text()
    rows = re.findall(r"^\| (`digits_.*?) \|(.*?)\|", page, re.MULTILINE)
    documented = {
        name: set(re.findall(r"`(\w+)`", labels))
        for names, labels in rows
        for name in re.findall(r"`(\w+)`", names)
    }
    exported: dict[str, set[str]] = {}
    for sample in scrape(service):
        if not sample.name.startswith("process_"):
            name = re.sub("_(bucket|sum|count)$", "", sample.name)
            exported.setdefault(name, set()).update(sample.labels.keys() - {"le"})
    assert documented == exported


@pytest.mark.needs("prometheus")
def test_promtool_reports_an_alert_that_does_not_fire(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES.read_text().replace("> 0.8", "> 0.99"))
    tests = yaml.safe_load((FOLDER / "rules_test.yml").read_text())
    tests["tests"] = [test for test in tests["tests"] if "saturated" in test["name"]]
    (tmp_path / "rules_test.yml").write_text(yaml.safe_dump(tests))
    command = ["promtool", "test", "rules", "rules_test.yml"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "DigitsSaturated" in result.stderr + result.stdout


class Prometheus:
    """A Prometheus process that scrapes a service every second."""

    def __init__(self, folder: Path, target: str) -> None:
        config = (FOLDER / "prometheus.yml").read_text()
        config = config.replace("15s", "1s").replace("digits:8000", target)
        (folder / "prometheus.yml").write_text(config)
        (folder / "rules.yml").write_text(RULES.read_text().replace("interval: 1m", "interval: 1s"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.popen = subprocess.Popen(
            [
                "prometheus",
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=data",  # Debian's default folder is not writable
                f"--web.listen-address={self.address}",
            ],
            cwd=folder,
            stderr=subprocess.DEVNULL,
        )

    def get(self, path: str, **query: str) -> dict[str, Any]:
        answer = httpx.get(f"http://{self.address}/api/v1/{path}", params=query, timeout=PATIENCE)
        body: dict[str, Any] = answer.json()
        assert body["status"] == "success", body
        return body

    def ready(self) -> bool:
        assert self.popen.poll() is None, "prometheus has ended"
        try:
            return httpx.get(f"http://{self.address}/-/ready", timeout=PATIENCE).status_code == 200
        except httpx.TransportError:
            return False

    def values(self, expression: str) -> list[float]:
        """Evaluate an expression of the rules or the dashboard."""
        query = expression.replace("$__rate_interval", "10s")
        return [float(series["value"][1]) for series in self.get("query", query=query)["data"]["result"]]


@contextmanager
def run_prometheus(client: httpx.Client, folder: Path) -> Iterator[Prometheus]:
    prometheus = Prometheus(folder, f"{client.base_url.host}:{client.base_url.port}")
    try:
        wait_until(prometheus.ready)
        yield prometheus
    finally:
        prometheus.popen.terminate()
        prometheus.popen.wait(PATIENCE)


@pytest.mark.needs("prometheus")
def test_a_real_prometheus_has_data_for_every_panel_and_every_alert(
    service: httpx.Client, tmp_path: Path
) -> None:
    with run_prometheus(service, tmp_path) as prometheus:
        queries = {f"{title}: {target}": target for title, targets in panels().items() for target in targets}
        # alerts return nothing unless they fire, so compare with a bound that everything exceeds
        queries |= {name: COMPARISON.sub(">= -1", alert["expr"]) for name, alert in alerts().items()}

        def empty() -> list[str]:
            time.sleep(1)  # wait for a scrape
            send_all_kinds_of_requests(service)
            return [
                name
                for name, query in queries.items()
                if not any(map(math.isfinite, prometheus.values(query)))
            ]

        for _ in range(30):
            if not (missing := empty()):
                break
        assert missing == []
        groups = prometheus.get("rules")["data"]["groups"]
        assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
        assert prometheus.values("digits_places") == [Settings().max_in_flight]


def test_compose_starts_only_the_service_by_default() -> None:
    assert compose().keys() == {"digits"}


def test_the_profile_adds_prometheus_and_grafana_with_existing_files() -> None:
    services = compose("--profile", "observability")
    assert services.keys() == {"digits", "prometheus", "grafana"}
    for name in ("prometheus", "grafana"):
        image = services[name]["image"]
        assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+@sha256:[0-9a-f]{64}", image), image
        assert all(str(port).startswith("127.0.0.1:") for port in services[name]["ports"])
        mounts = [str(mount).split(":")[0] for mount in services[name]["volumes"]]
        assert all((ROOT / mount).exists() for mount in mounts if "/" in mount)


def test_grafana_finds_the_dashboard_and_its_data() -> None:
    provisioning = FOLDER / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "digits.yml").read_text())["providers"]
    dashboard = json.loads(DASHBOARD.read_text())
    sources = [panel["datasource"]["uid"] for panel in dashboard["panels"] if panel["type"] != "row"]
    assert set(sources) == {source["uid"]}
    mounts = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]["volumes"]
    assert f"./deploy/observability/grafana/dashboards:{provider['options']['path']}:ro" in mounts
    panel_ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(panel_ids) == len(set(panel_ids))

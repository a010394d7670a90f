"""deploy/observability: rules, dashboard and compose profile fit the service, and each other."""

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
# a metric, and what is asked of its labels
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
    found = [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]
    return {panel["title"]: [target["expr"] for target in panel["targets"]] for panel in found}


def expressions() -> list[str]:
    return [rule["expr"] for rule in rules()] + [one for several in panels().values() for one in several]


def ask_for_everything(client: httpx.Client) -> None:
    """Let every metric have something to tell."""
    for picture in (THREE, TINY, BLANK):
        client.post("/predict", content=picture, headers=PNG)
    client.post("/predict/number", content=NUMBER, headers=PNG)
    client.post("/predict/batch", files=[("files", picture) for picture in (THREE, BLANK)])


def unknown(expression: str, found: Scrape) -> list[str]:
    """Return what an expression asks for that no sample of a scrape has."""
    names = {sample.name for sample in found}
    missing = []
    for name, matchers in SELECTOR.findall(
        expression.replace("model_digit:digits", ":").replace(":digits", ":")
    ):
        wanted = MATCHER.findall(matchers)
        if name not in names:
            missing.append(name)
        elif not any(fits(sample.labels | JOB, wanted) for sample in found if sample.name == name):
            missing.append(f"{name}{{{matchers}}}")
    labels = {label for sample in found for label in (*sample.labels, *JOB)}
    grouped = [label.strip() for labels_ in GROUPING.findall(expression) for label in labels_.split(",")]
    return missing + [label for label in grouped if label not in labels]


def fits(labels: dict[str, str], wanted: list[tuple[str, str, str]]) -> bool:
    """Tell whether a sample has what matchers ask for."""

    def one(label: str, operator: str, value: str) -> bool:
        same = re.fullmatch(value, labels[label]) is not None if "~" in operator else labels[label] == value
        return same != operator.startswith("!")

    return all(label in labels and one(label, operator, value) for label, operator, value in wanted)


@pytest.fixture(scope="module")
def service() -> Iterator[httpx.Client]:
    with serve(Settings()) as client:
        ask_for_everything(client)
        yield client


def test_every_metric_and_label_that_is_asked_for_exists(service: httpx.Client) -> None:
    found = scrape(service)
    assert len(expressions()) > 40
    assert {
        expression: missing for expression in expressions() if (missing := unknown(expression, found))
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
    assert unknown(expression, scrape(service)) == missing


def test_every_recorded_series_that_is_asked_for_is_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = {name for expression in expressions() for name in re.findall(r"\b\w+:digits_\w+:\w+", expression)}
    assert asked == recorded


def test_every_alert_says_what_happens_and_what_to_do() -> None:
    documented = (ROOT / "docs" / "observe.md").read_text()
    for name, alert in alerts().items():
        assert alert["annotations"].keys() == {"summary", "description", "action"}
        assert alert["labels"]["severity"] in {"page", "ticket"}
        assert f"`{name}`" in documented


def test_every_alert_is_shown_to_fire_and_not_to_fire() -> None:
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
    done = subprocess.run(["promtool", *command], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def test_the_page_tells_of_every_metric_and_of_none_that_there_is_not(service: httpx.Client) -> None:
    page = (ROOT / "docs" / "observe.md").read_text()
    rows = re.findall(r"^\| (`digits_.*?) \| (.*?) \|", page, re.MULTILINE)
    told = {
        name: set(re.findall(r"`(\w+)`", labels))
        for names, labels in rows
        for name in re.findall(r"`(\w+)`", names)
    }
    there: dict[str, set[str]] = {}
    for sample in scrape(service):
        if not sample.name.startswith("process_"):
            name = re.sub("_(bucket|sum|count)$", "", sample.name)
            there.setdefault(name, set()).update(sample.labels.keys() - {"le"})
    assert told == there


@pytest.mark.needs("prometheus")
def test_promtool_would_tell_of_an_alert_that_does_not_fire(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES.read_text().replace("> 0.8", "> 0.99"))
    tests = yaml.safe_load((FOLDER / "rules_test.yml").read_text())
    tests["tests"] = [test for test in tests["tests"] if "saturated" in test["name"]]
    (tmp_path / "rules_test.yml").write_text(yaml.safe_dump(tests))
    command = ["promtool", "test", "rules", "rules_test.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "DigitsSaturated" in done.stderr + done.stdout


class Prometheus:
    """A real one that scrapes a service every second."""

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
                "--storage.tsdb.path=data",  # Debian's has one folder for all
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
        """Evaluate an expression of rules or dashboard."""
        asked = expression.replace("$__rate_interval", "10s")
        return [float(series["value"][1]) for series in self.get("query", query=asked)["data"]["result"]]


@contextmanager
def watched(client: httpx.Client, folder: Path) -> Iterator[Prometheus]:
    prometheus = Prometheus(folder, f"{client.base_url.host}:{client.base_url.port}")
    try:
        wait_until(prometheus.ready)
        yield prometheus
    finally:
        prometheus.popen.terminate()
        prometheus.popen.wait(PATIENCE)


@pytest.mark.needs("prometheus")
def test_a_real_prometheus_finds_something_for_every_panel_and_every_alert(
    service: httpx.Client, tmp_path: Path
) -> None:
    with watched(service, tmp_path) as prometheus:
        asked = {f"{title}: {one}": one for title, several in panels().items() for one in several}
        # whether there is anything that an alert compares; none of them fires
        asked |= {name: COMPARISON.sub(">= -1", alert["expr"]) for name, alert in alerts().items()}

        def empty() -> list[str]:
            time.sleep(1)  # a scrape
            ask_for_everything(service)
            return [
                name for name, one in asked.items() if not any(map(math.isfinite, prometheus.values(one)))
            ]

        for _ in range(30):
            if not (missing := empty()):
                break
        assert missing == []
        told = prometheus.get("rules")["data"]["groups"]
        assert {rule["health"] for group in told for rule in group["rules"]} == {"ok"}
        assert prometheus.values("digits_places") == [Settings().max_in_flight]


def test_compose_starts_the_service_alone_unless_it_is_asked_for_more() -> None:
    assert compose().keys() == {"digits"}


def test_the_profile_adds_prometheus_and_grafana_with_the_files_that_exist() -> None:
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
    identities = [panel["id"] for panel in dashboard["panels"]]
    assert len(identities) == len(set(identities))

"""The commands of docs/kubernetes.md agree with the manifests."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.certificates import create_certificate
from tests.conftest import ROOT
from tests.deploy.manifests import OVERLAYS, filter_kind, find_named, list_workloads, render

pytestmark = pytest.mark.needs("kubectl")
PAGE = (ROOT / "docs" / "kubernetes.md").read_text()


def list_commands() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]


def test_everything_that_the_page_applies_exists() -> None:
    targets = [
        words[-1].removeprefix("deploy/kubernetes/")
        for words in list_commands()
        if words[:2] == ["kubectl", "apply"]
    ]
    assert set(targets) == {"production/namespace.yaml", "production", "ingress", "keda", "canary", "kserve"}
    assert (ROOT / "deploy" / "kubernetes" / "production" / "namespace.yaml").exists()
    assert set(targets) <= {*OVERLAYS, "production/namespace.yaml"}


def test_the_page_creates_the_secrets_that_the_manifests_use(tmp_path: Path) -> None:
    for name in ("keys.txt", "prometheus.txt"):
        (tmp_path / name).write_text("x")
    create_certificate(tmp_path, "digits.example.org")
    created = {}
    for words in list_commands():
        if words[1:3] == ["create", "secret"]:
            command = (
                words[: words.index("|")] if "|" in words else [*words, "--dry-run=client", "-o", "yaml"]
            )
            process = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
            secret = yaml.safe_load(process.stdout)
            created[secret["metadata"]["name"]] = (secret["metadata"]["namespace"], *secret["data"])
    manifests = render("production")
    (workload,) = list_workloads(manifests)
    (monitor,) = filter_kind(manifests, "ServiceMonitor")
    credentials = monitor["spec"]["endpoints"][0]["authorization"]["credentials"]
    (ingress,) = filter_kind(render("ingress"), "Ingress")
    (tls,) = ingress["spec"]["tls"]
    file = workload.settings.api_keys_file
    assert file
    assert created == {
        workload.pod["volumes"][0]["secret"]["secretName"]: ("digits", file.name),
        credentials["name"]: ("digits", credentials["key"]),
        tls["secretName"]: ("digits", "tls.crt", "tls.key"),
    }


def test_every_name_and_label_on_the_page_exists() -> None:
    names = [
        word for words in list_commands() for word in words if re.fullmatch(r"(deployment|service)/\w+", word)
    ]
    assert names
    for kind, name in (name.split("/") for name in names):
        assert find_named(render("production"), kind.capitalize(), name)
    (label,) = {word for words in list_commands() for word in words if word.startswith("app.kubernetes.io/")}
    key, value = label.split("=")
    labelled = {
        manifest["kind"]
        for manifest in render("canary")
        if manifest["metadata"].get("labels", {}).get(key) == value
    }
    (deleted,) = (
        words[2].split(",")
        for words in list_commands()
        if words[:2] == ["kubectl", "delete"] and "-l" in words
    )
    short = {"hpa": "horizontalpodautoscaler", "pdb": "poddisruptionbudget"}
    assert {kind.lower() for kind in labelled} == {short.get(kind, kind) for kind in deleted}


def test_the_timeline_of_a_pods_end_agrees_with_the_manifests() -> None:
    (workload,) = list_workloads(render("production"))
    pre_stop = workload.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    closed = pre_stop + workload.settings.drain_delay
    grace_period = workload.pod["terminationGracePeriodSeconds"]
    times = re.findall(r"^\| ([\d.]+) \|", PAGE, re.MULTILINE)
    assert [float(seconds) for seconds in times] == [
        0, pre_stop, closed, closed + 0.5 + workload.settings.graceful_timeout, grace_period,
    ]  # fmt: skip

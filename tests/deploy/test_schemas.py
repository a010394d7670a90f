"""Every manifest fits the schema of its kind, as published: no field misspelt, none of another type."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.deploy.manifests import FOLDER, OVERLAYS, Manifest, filter_kind, render
from tests.needs import CLIENTS

VERSIONS: Final = ("1.30", "1.37")  # of Kubernetes: the oldest that has all that is used, and the newest

pytestmark = pytest.mark.needs("clients", "kubectl")


def misfits(manifests: Sequence[Manifest], version: str) -> list[str]:
    """Say of each manifest where it does not fit; nothing where it does."""
    told = subprocess.run(
        [CLIENTS, Path(__file__).with_name("schemas.py"), version],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        input=json.dumps(manifests),
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[str] = json.loads(told.stdout)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_of_every_overlay_fits(version: str) -> None:
    manifests = [manifest for overlay in OVERLAYS for manifest in render(overlay)]
    manifests.append(yaml.safe_load((FOLDER / "keys.example.yaml").read_text()))
    assert not any(misfits(manifests, version))


def spoilt(overlay: str, kind: str, way: Sequence[str | int], value: object) -> Manifest:
    """Return an overlay's manifest of a kind with another value at the end of the way."""
    manifest = filter_kind(render(overlay), kind)[0]
    place: Any = manifest
    for step in way[:-1]:
        place = place[step]
    place[way[-1]] = value
    return manifest


POD: Final = ("spec", "template", "spec")
SPOILT: Final = (
    ("production", "Namespace", ("metadata", "misspelt"), "x"),
    ("production", "ConfigMap", ("misspelt",), "x"),
    ("production", "Deployment", (*POD, "containers", 0, "livenessProbe", "misspelt"), "x"),
    ("production", "Deployment", (*POD, "terminationGracePeriodSeconds"), "soon"),
    ("production", "Service", ("spec", "ports", 0, "misspelt"), "x"),
    ("production", "HorizontalPodAutoscaler", ("spec", "metrics", 0, "resource", "target", "misspelt"), "x"),
    ("production", "PodDisruptionBudget", ("spec", "misspelt"), "x"),
    ("production", "NetworkPolicy", ("spec", "ingress", 0, "ports", 0, "misspelt"), "x"),
    ("production", "ServiceMonitor", ("spec", "endpoints", 0, "authorization", "misspelt"), "x"),
    ("production", "ServiceMonitor", ("spec", "sampleLimit"), "many"),
    ("keda", "ScaledObject", ("spec", "triggers", 0, "misspelt"), "x"),
    ("keda", "ScaledObject", ("spec", "pollingInterval"), "soon"),
    ("canary", "HTTPRoute", ("spec", "rules", 0, "backendRefs", 0, "misspelt"), "x"),
    ("canary", "HTTPRoute", ("spec", "rules", 0, "backendRefs", 0, "weight"), "10"),
    ("kserve", "InferenceService", ("spec", "predictor", "misspelt"), "x"),
    ("kserve", "InferenceService", ("spec", "predictor", "containers", 0, "livenessProbe", "misspelt"), "x"),
    ("kserve", "InferenceService", ("spec", "predictor", "minReplicas"), "two"),
)


def test_a_misspelt_field_or_a_value_of_another_type_would_be_found() -> None:
    found = misfits([spoilt(*what) for what in SPOILT], VERSIONS[0])
    for (_, kind, way, value), misfit in zip(SPOILT, found, strict=True):
        assert str(way[-1] if value == "x" else value) in misfit, kind

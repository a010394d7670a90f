"""Every manifest fits the published schema of its kind: no field is misspelt or has another type."""

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

VERSIONS: Final = ("1.30", "1.37")  # of Kubernetes: the oldest that is supported, and the newest

pytestmark = pytest.mark.needs("clients", "kubectl")


def find_misfits(manifests: Sequence[Manifest], version: str) -> list[str]:
    """Describe for each manifest where it does not fit; "" if it does."""
    process = subprocess.run(
        [CLIENTS, Path(__file__).with_name("schemas.py"), version],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        input=json.dumps(manifests),
        capture_output=True,
        text=True,
        check=True,
    )
    misfits: list[str] = json.loads(process.stdout)
    return misfits


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_of_every_overlay_fits(version: str) -> None:
    manifests = [manifest for overlay in OVERLAYS for manifest in render(overlay)]
    manifests.append(yaml.safe_load((FOLDER / "keys.example.yaml").read_text()))
    assert not any(find_misfits(manifests, version))


def spoil(overlay: str, kind: str, path: Sequence[str | int], value: object) -> Manifest:
    """Return an overlay's manifest of a kind with another value at a path."""
    manifest = filter_kind(render(overlay), kind)[0]
    node: Any = manifest
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return manifest


POD: Final = ("spec", "template", "spec")
FAULTS: Final = (
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
    ("ingress", "Ingress", ("spec", "rules", 0, "http", "misspelt"), "x"),
    ("kserve", "InferenceService", ("spec", "predictor", "misspelt"), "x"),
    ("kserve", "InferenceService", ("spec", "predictor", "containers", 0, "livenessProbe", "misspelt"), "x"),
    ("kserve", "InferenceService", ("spec", "predictor", "minReplicas"), "two"),
)


def test_a_misspelt_field_and_a_value_of_another_type_are_found() -> None:
    misfits = find_misfits([spoil(*fault) for fault in FAULTS], VERSIONS[0])
    for (_, kind, path, value), misfit in zip(FAULTS, misfits, strict=True):
        assert str(path[-1] if value == "x" else value) in misfit, kind

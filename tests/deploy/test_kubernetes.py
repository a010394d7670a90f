"""The manifests in `deploy/kubernetes` are complete, and agree with the application and one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from app import __version__
from app.guard.keys import Keyring
from tests.deploy.manifests import (
    FOLDER,
    OVERLAYS,
    PROBES,
    Manifest,
    filter_kind,
    find_faults,
    find_named,
    list_workloads,
    render,
    wrong_settings,
)

pytestmark = pytest.mark.needs("kubectl")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_manifests_agree_with_the_application_and_one_another(overlay: str) -> None:
    manifests = render(overlay)
    assert list_workloads(manifests)
    assert not find_faults(manifests)


def set_value(manifests: list[Manifest], kind: str, path: str, value: Any) -> None:  # noqa: ANN401  YAML
    """Set the value at a dotted path in the first manifest of a kind."""
    *parents, last = path.split(".")
    node: Any = filter_kind(manifests, kind)[0]
    for step in parents:
        node = node[int(step) if isinstance(node, list) else step]
    node[last] = value


POD = "spec.template.spec"
PORTS = f"{POD}.containers.0.ports"
ALIVE = f"{POD}.containers.0.livenessProbe.httpGet.path"
SPREAD = f"{POD}.topologySpreadConstraints.1.labelSelector.matchLabels"
BACKEND = "spec.rules.0.backendRefs.1"
CANARY = {"app.kubernetes.io/name": "digits", "app.kubernetes.io/instance": "digits-canary"}


@pytest.mark.parametrize(
    ("kind", "path", "value", "fault"),
    [
        ("ConfigMap", "data.DIGITS_DRAIN", "5", "drain\n  Extra inputs are not permitted"),
        ("ConfigMap", "data.DIGITS_MAX_PIXELS", "many", "max_pixels\n  Input should be a valid integer"),
        ("ConfigMap", "data.DIGITS_DEFAULT_MODEL", "resnet", "resnet"),
        ("ConfigMap", "data.DIGITS_PORT", "9000", "has port 8000, the image 8000, and listens at 9000"),
        ("ConfigMap", "data.DIGITS_GRACEFUL_TIMEOUT", "40", "killed after 45 s, but may need 50.5"),
        ("ConfigMap", "data.DIGITS_API_KEYS_FILE", "/keys.txt", "no Secret is mounted where /keys.txt"),
        ("Deployment", f"{POD}.securityContext.runAsUser", 1000, "not the image's 10001:10001"),
        ("Deployment", f"{POD}.volumes.0.secret.defaultMode", 0o400, "can't read /etc/digits/keys.txt"),
        ("Deployment", f"{POD}.terminationGracePeriodSeconds", 30, "killed after 30 s"),
        ("Deployment", PORTS, [{"name": "http", "containerPort": 80}], "has port 80, the image 8000"),
        ("Deployment", PORTS, [{"name": "web", "containerPort": 8000}], "a port http, which does not exist"),
        ("Deployment", ALIVE, "/healthz", "/healthz, which does not exist"),
        ("Deployment", ALIVE, "/models", "no key, but /models needs one"),
        ("Deployment", SPREAD, {}, "spread by kubernetes.io/hostname counts other pods"),
        ("Deployment", "spec.template.metadata.labels", CANARY, "digits: has the labels of another"),
        ("Deployment", "spec.replicas", 2, "not by one scaler alone"),
        ("HorizontalPodAutoscaler", "spec.scaleTargetRef.name", "digit", "not by one scaler alone"),
        ("Service", "spec.ports.0.targetPort", "web", "no container has a port web"),
        ("Service", "spec.selector", CANARY, "Service digits: selects other pods"),
        ("PodDisruptionBudget", "spec.selector", {}, "PodDisruptionBudget digits: selects other pods"),
        ("NetworkPolicy", "spec.podSelector", {}, "NetworkPolicy digits: selects other pods"),
        ("NetworkPolicy", "spec.egress", [{}], "or connections out"),
        ("ServiceMonitor", "spec.endpoints.0.path", "/prometheus", "/prometheus, which does not exist"),
        ("ServiceMonitor", "spec.endpoints.0.port", "web", "does not find Service digits"),
        ("HTTPRoute", f"{BACKEND}.name", "canary", "splits between"),
        ("HTTPRoute", f"{BACKEND}.weight", 20, "splits between"),
    ],
)
def test_every_check_finds_its_fault(kind: str, path: str, value: Any, fault: str) -> None:  # noqa: ANN401  YAML
    manifests = render("canary")
    set_value(manifests, kind, path, value)
    assert fault in "\n".join(find_faults(manifests))


@pytest.mark.parametrize(
    ("kind", "path", "value", "fault"),
    [
        ("Ingress", "spec.tls.0.hosts", ["example.org"], "digits.example.org has no TLS"),
        ("Ingress", "spec.rules.0.http.paths.0.backend.service.name", "digit", "there is no digit"),
        ("Ingress", "spec.rules.0.http.paths.0.backend.service.port.name", "web", "with a port web"),
        ("ConfigMap", "data.DIGITS_MAX_BODY_BYTES", "20000000", "accepts 10m, the service up to 20000000"),
    ],
)
def test_every_check_of_the_entrance_finds_its_fault(
    kind: str,
    path: str,
    value: Any,  # noqa: ANN401  YAML
    fault: str,
) -> None:
    manifests = render("ingress")
    set_value(manifests, kind, path, value)
    assert fault in "\n".join(find_faults(manifests))


def test_pods_get_no_variables_of_services() -> None:
    assert all(not workload.pod["enableServiceLinks"] for workload in list_workloads(render("base")))


@pytest.mark.parametrize(
    ("overlay", "scaler"), [("base", "HorizontalPodAutoscaler"), ("keda", "ScaledObject")]
)
def test_every_kind_of_manifest_is_there(overlay: str, scaler: str) -> None:
    kinds = {manifest["kind"] for manifest in render(overlay)}
    assert kinds >= {"Deployment", "Service", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy", scaler}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_pods_meet_the_restricted_security_standard(overlay: str) -> None:
    for workload in list_workloads(render(overlay)):
        pod, container = workload.pod["securityContext"], workload.container["securityContext"]
        assert pod["runAsNonRoot"]
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not container["allowPrivilegeEscalation"]
        assert container["readOnlyRootFilesystem"]
        assert container["capabilities"] == {"drop": ["ALL"]}
        assert not workload.pod["automountServiceAccountToken"]


def test_kserve_runs_the_pod_of_the_deployment() -> None:
    (deployment,) = list_workloads(render("production"))
    (kserve,) = list_workloads(render("kserve"))
    assert kserve.environment == {**deployment.environment, "PROTOCOL": "v2"}
    different = {"name", "ports", "env", "envFrom", *PROBES}
    for field in (kserve.container.keys() | deployment.container.keys()) - different:
        assert kserve.container[field] == deployment.container[field]
    for field in deployment.pod.keys() - {"containers", "topologySpreadConstraints"}:
        assert kserve.pod[field] == deployment.pod[field]
    for probe in PROBES:
        path = "/v2" + deployment.container[probe]["httpGet"]["path"]
        assert kserve.container[probe] == {
            **deployment.container[probe],
            "httpGet": {"path": path, "port": "http1"},
        }


def test_the_canary_is_another_version_that_gets_a_tenth() -> None:
    manifests = render("canary")
    stable, canary = list_workloads(manifests)
    assert stable.container["image"] != canary.container["image"]
    (route,) = find_named(manifests, "HTTPRoute", "digits")
    shares = {backend["name"]: backend["weight"] for backend in route["spec"]["rules"][0]["backendRefs"]}
    assert shares == {stable.name: 90, canary.name: 10}


def test_a_canary_whose_image_lacks_its_version_is_a_fault() -> None:
    manifests = render("canary")
    stable, canary = list_workloads(manifests)
    assert (stable.settings.default_model, canary.settings.default_model) == ("cnn", "cnn@2")
    for manifest in filter_kind(manifests, "Deployment"):
        manifest["spec"]["template"]["spec"]["containers"][0]["image"] = stable.container["image"]
    (fault,) = wrong_settings(manifests)
    assert fault.startswith(f"{canary.name}: the default model 'cnn@2' is not in")


@pytest.mark.parametrize("overlay", ["production", "kserve"])
def test_the_image_has_this_version(overlay: str) -> None:
    (workload,) = list_workloads(render(overlay))
    assert workload.container["image"].endswith(f"/digits:{__version__}")


def test_the_example_secret_is_the_one_that_pods_mount_and_the_service_reads(tmp_path: Path) -> None:
    example = yaml.safe_load((FOLDER / "keys.example.yaml").read_text())
    (workload,) = list_workloads(render("production"))
    assert workload.pod["volumes"][0]["secret"]["secretName"] == example["metadata"]["name"]
    file = workload.settings.api_keys_file
    assert file
    (tmp_path / file.name).write_text(example["stringData"][file.name])
    (key,) = Keyring((), tmp_path / file.name).keys
    assert key.digest == bytes(32)  # the digest of no known key

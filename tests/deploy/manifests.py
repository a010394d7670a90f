"""Renders the manifests of `deploy/kubernetes` with Kustomize, and checks them against the application.

Each check yields a sentence for every fault: manifests that contradict the application or one another.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import yaml
from pydantic import ValidationError

from app import __version__
from app.digits.catalogue import Catalogue
from app.digits.errors import InvalidModel
from app.environment import ENV_PREFIX
from app.main import create_app
from app.server.process import LINGER_SECONDS
from app.settings import MEBIBYTE, Settings
from app.wire.paths import PUBLIC_PATHS
from tests.conftest import MODELS, ROOT
from tests.versions import make_two_versions

FOLDER: Final = ROOT / "deploy" / "kubernetes"
OVERLAYS: Final = sorted(str(file.parent.relative_to(FOLDER)) for file in FOLDER.rglob("kustomization.yaml"))
PROBES: Final = ("startupProbe", "readinessProbe", "livenessProbe")

Manifest = dict[str, Any]


def render(overlay: str) -> list[Manifest]:
    """Return the manifests of an overlay."""
    return list(yaml.safe_load_all(_run_kustomize(overlay)))


@cache
def _run_kustomize(overlay: str) -> str:
    command = ["kubectl", "kustomize", overlay]
    return subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment or an InferenceService, which creates pods of the service."""

    name: str
    labels: Mapping[str, str]
    pod: Mapping[str, Any]
    container: Mapping[str, Any]
    environment: Mapping[str, str]

    @property
    def settings(self) -> Settings:
        """The service's settings in its pods.

        Raises:
            ValidationError: a setting does not exist, or has an invalid value.
        """
        values: dict[str, Any] = {
            name.removeprefix(ENV_PREFIX).lower(): value
            for name, value in self.environment.items()
            if name != "PROTOCOL"  # a variable of KServe
        }
        return Settings(**values)

    @property
    def ports(self) -> dict[str, int]:
        """The container's ports by name."""
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}


def list_workloads(manifests: Sequence[Manifest]) -> list[Workload]:
    """Return the Deployments and InferenceServices."""
    workloads = []
    for manifest in manifests:
        if manifest["kind"] == "Deployment":
            template = manifest["spec"]["template"]
            labels, pod = template["metadata"]["labels"], template["spec"]
        elif manifest["kind"] == "InferenceService":
            labels, pod = {}, manifest["spec"]["predictor"]
        else:
            continue
        (container,) = pod["containers"]
        environment = _read_environment(container, manifests)
        workloads.append(Workload(manifest["metadata"]["name"], labels, pod, container, environment))
    return workloads


def _read_environment(container: Mapping[str, Any], manifests: Sequence[Manifest]) -> dict[str, str]:
    variables: dict[str, str] = {}
    for source in container.get("envFrom", []):
        (config,) = find_named(manifests, "ConfigMap", source["configMapRef"]["name"])
        variables |= config["data"]
    return variables | {variable["name"]: variable["value"] for variable in container.get("env", [])}


def filter_kind(manifests: Sequence[Manifest], *kinds: str) -> list[Manifest]:
    """Return the manifests of some kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def find_named(manifests: Sequence[Manifest], kind: str, name: str) -> list[Manifest]:
    """Return the manifests with a kind and a name; there should be exactly one."""
    return [manifest for manifest in filter_kind(manifests, kind) if manifest["metadata"]["name"] == name]


@cache
def list_paths() -> frozenset[str]:
    """Return the paths that the application answers to a GET request."""
    document = create_app(Settings()).openapi()
    return frozenset(path for path, operations in document["paths"].items() if "get" in operations)


def _search_dockerfile(pattern: str) -> tuple[int, ...]:
    (groups,) = re.findall(pattern, (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return tuple(map(int, (groups,) if isinstance(groups, str) else groups))


def wrong_settings(manifests: Sequence[Manifest]) -> Iterator[str]:
    for workload in list_workloads(manifests):
        try:
            default, image = workload.settings.default_model, workload.container["image"]
        except ValidationError as error:
            yield f"{workload.name}: {error}"
        else:
            if why := _explain_refusal(default, next_version=not image.endswith(f":{__version__}")):
                yield f"{workload.name}: {why}"


@cache
def _explain_refusal(default: str, *, next_version: bool) -> str | None:
    """Return why an image would refuse a default model; the next version's image has a second `cnn`."""
    with TemporaryDirectory() as folder:
        try:
            Catalogue.load(make_two_versions(Path(folder)) if next_version else MODELS, default=default)
        except InvalidModel as error:
            return str(error)
    return None


def wrong_ports(manifests: Sequence[Manifest]) -> Iterator[str]:
    (exposed,) = _search_dockerfile(r"^EXPOSE (\d+)$")
    for workload in list_workloads(manifests):
        listens = workload.settings.port
        for port in workload.ports.values():
            if not port == exposed == listens:
                yield f"{workload.name}: has port {port}, the image {exposed}, and listens at {listens}"


def wrong_user(manifests: Sequence[Manifest]) -> Iterator[str]:
    user, group = _search_dockerfile(r"^USER (\d+):(\d+)$")
    for workload in list_workloads(manifests):
        context = workload.pod["securityContext"]
        if (context["runAsUser"], context["runAsGroup"]) != (user, group):
            yield f"{workload.name}: the user is not the image's {user}:{group}"


def wrong_probes(manifests: Sequence[Manifest]) -> Iterator[str]:
    for workload in list_workloads(manifests):
        for probe in PROBES:
            target = workload.container[probe]["httpGet"]
            if target["path"] not in list_paths():
                yield f"{workload.name}: {probe} requests {target['path']}, which does not exist"
            if target["path"] not in PUBLIC_PATHS:
                yield f"{workload.name}: {probe} has no key, but {target['path']} needs one"
            if target["port"] not in workload.ports:
                yield f"{workload.name}: {probe} uses a port {target['port']}, which does not exist"


def too_short_grace(manifests: Sequence[Manifest]) -> Iterator[str]:
    for workload in list_workloads(manifests):
        pre_stop = workload.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        settings, grace_period = workload.settings, workload.pod["terminationGracePeriodSeconds"]
        needed = pre_stop + settings.drain_delay + LINGER_SECONDS + settings.graceful_timeout
        if grace_period <= needed:
            yield f"{workload.name}: it is killed after {grace_period} s, but may need {needed:g}"


def unreadable_keys(manifests: Sequence[Manifest]) -> Iterator[str]:
    for workload in list_workloads(manifests):
        file = workload.settings.api_keys_file or Path()
        secrets = {volume["name"]: volume["secret"] for volume in workload.pod["volumes"]}
        mounted = {
            mount["mountPath"]: secrets.get(mount["name"]) for mount in workload.container["volumeMounts"]
        }
        secret = mounted.get(str(file.parent))
        if not secret:
            yield f"{workload.name}: no Secret is mounted where {file} should be"
        elif secret["defaultMode"] != 0o440 or "fsGroup" not in workload.pod["securityContext"]:
            yield f"{workload.name}: the service can't read {file}"


def wrong_selectors(manifests: Sequence[Manifest]) -> Iterator[str]:
    labels_by_name = {workload.name: workload.labels for workload in list_workloads(manifests)}
    for manifest in filter_kind(manifests, "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"):
        name = manifest["metadata"]["name"]
        if _read_selector(manifest) != labels_by_name.get(name):
            yield f"{manifest['kind']} {name}: selects other pods than those of the Deployment with its name"
    for workload in list_workloads(manifests):
        if sum(workload.labels == labels for labels in labels_by_name.values()) > 1:
            yield f"{workload.name}: has the labels of another Deployment's pods"
        for spread in workload.pod.get("topologySpreadConstraints", []):
            if spread["labelSelector"]["matchLabels"] != workload.labels:
                yield f"{workload.name}: spread by {spread['topologyKey']} counts other pods than its own"


def _read_selector(manifest: Manifest) -> dict[str, str]:
    selector = manifest["spec"].get("podSelector") or manifest["spec"].get("selector") or {}
    labels: dict[str, str] = selector.get("matchLabels", selector)
    return labels


def wrong_scalers(manifests: Sequence[Manifest]) -> Iterator[str]:
    for deployment in filter_kind(manifests, "Deployment"):
        name = deployment["metadata"]["name"]
        scalers = [
            scaler["kind"]
            for scaler in filter_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject")
            if scaler["spec"]["scaleTargetRef"]["name"] == name
        ]
        if len(scalers) != 1 or "replicas" in deployment["spec"]:
            yield f"{name}: its replicas are set by {scalers}, not by one scaler alone"


def wrong_entrances(manifests: Sequence[Manifest]) -> Iterator[str]:
    known = {port for workload in list_workloads(manifests) for port in workload.ports}
    for service in filter_kind(manifests, "Service"):
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in known:
                yield f"Service {service['metadata']['name']}: no container has a port {port['targetPort']}"
    for policy in filter_kind(manifests, "NetworkPolicy"):
        entrances = [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]
        if not known.issuperset(entrances) or policy["spec"].get("egress"):
            yield f"NetworkPolicy {policy['metadata']['name']}: allows ports {entrances}, or connections out"


def wrong_monitors(manifests: Sequence[Manifest]) -> Iterator[str]:
    for monitor in filter_kind(manifests, "ServiceMonitor"):
        selector = _read_selector(monitor).items()
        for service in filter_kind(manifests, "Service"):
            ports = {port["name"] for port in service["spec"]["ports"]}
            for endpoint in monitor["spec"]["endpoints"]:
                if not selector <= service["metadata"]["labels"].items() or endpoint["port"] not in ports:
                    yield f"ServiceMonitor: does not find Service {service['metadata']['name']}"
                if endpoint["path"] not in list_paths():
                    yield f"ServiceMonitor: requests {endpoint['path']}, which does not exist"


def wrong_routes(manifests: Sequence[Manifest]) -> Iterator[str]:
    services = {
        (service["metadata"]["name"], port["port"])
        for service in filter_kind(manifests, "Service")
        for port in service["spec"]["ports"]
    }
    for route in filter_kind(manifests, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            backends = {(backend["name"], backend["port"]) for backend in rule["backendRefs"]}
            if backends != services or sum(backend["weight"] for backend in rule["backendRefs"]) != 100:
                yield f"HTTPRoute: splits between {sorted(backends)}, but there is {sorted(services)}"


def wrong_ingresses(manifests: Sequence[Manifest]) -> Iterator[str]:
    services = {
        (service["metadata"]["name"], port["name"])
        for service in filter_kind(manifests, "Service")
        for port in service["spec"]["ports"]
    }
    limits = {
        setting
        for workload in list_workloads(manifests)
        for setting in (workload.settings.max_body_bytes, workload.settings.max_batch_body_bytes)
    }
    for ingress in filter_kind(manifests, "Ingress"):
        hosts = {host for entry in ingress["spec"]["tls"] for host in entry["hosts"]}
        for rule in ingress["spec"]["rules"]:
            if rule["host"] not in hosts:
                yield f"Ingress: {rule['host']} has no TLS"
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                if (service["name"], service["port"]["name"]) not in services:
                    yield f"Ingress: there is no {service['name']} with a port {service['port']['name']}"
        size = ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"]
        if size != f"{max(limits) // MEBIBYTE}m":
            yield f"Ingress: accepts {size}, the service up to {max(limits)} bytes"


CHECKS: Final[tuple[Callable[[Sequence[Manifest]], Iterator[str]], ...]] = (
    wrong_ports,
    wrong_user,
    wrong_probes,
    too_short_grace,
    unreadable_keys,
    wrong_selectors,
    wrong_scalers,
    wrong_entrances,
    wrong_monitors,
    wrong_routes,
    wrong_ingresses,
)


def find_faults(manifests: Sequence[Manifest]) -> list[str]:
    """Return a sentence for each fault."""
    return [*wrong_settings(manifests)] or [fault for check in CHECKS for fault in check(manifests)]

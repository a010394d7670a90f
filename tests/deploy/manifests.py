"""The manifests of `deploy/kubernetes` as Kustomize makes them, and what must be true of them.

Each check yields a sentence for every fault: where the manifests name what the application does not have, or
do not fit each other.
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
from app.settings import Settings
from app.wire.paths import PUBLIC_PATHS
from tests.conftest import MODELS, ROOT
from tests.versions import make_two_versions

FOLDER: Final = ROOT / "deploy" / "kubernetes"
OVERLAYS: Final = sorted(str(file.parent.relative_to(FOLDER)) for file in FOLDER.rglob("kustomization.yaml"))
PROBES: Final = ("startupProbe", "readinessProbe", "livenessProbe")

Manifest = dict[str, Any]


def render(overlay: str) -> list[Manifest]:
    """Return the manifests of an overlay."""
    return list(yaml.safe_load_all(_rendered(overlay)))


@cache
def _rendered(overlay: str) -> str:
    command = ["kubectl", "kustomize", overlay]
    return subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True, slots=True)
class Workload:
    """What makes pods of the service."""

    name: str
    labels: Mapping[str, str]
    pod: Mapping[str, Any]
    container: Mapping[str, Any]
    environment: Mapping[str, str]

    @property
    def settings(self) -> Settings:
        """The service's settings in its pods.

        Raises:
            ValidationError: there is no such setting, or no such value.
        """
        values: dict[str, Any] = {
            name.removeprefix(ENV_PREFIX).lower(): value
            for name, value in self.environment.items()
            if name != "PROTOCOL"  # KServe's
        }
        return Settings(**values)

    @property
    def ports(self) -> dict[str, int]:
        """The container's ports by name."""
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}


def workloads(manifests: Sequence[Manifest]) -> list[Workload]:
    """Return the Deployments and InferenceServices."""
    made = []
    for manifest in manifests:
        if manifest["kind"] == "Deployment":
            template = manifest["spec"]["template"]
            labels, pod = template["metadata"]["labels"], template["spec"]
        elif manifest["kind"] == "InferenceService":
            labels, pod = {}, manifest["spec"]["predictor"]
        else:
            continue
        (container,) = pod["containers"]
        environment = _environment(container, manifests)
        made.append(Workload(manifest["metadata"]["name"], labels, pod, container, environment))
    return made


def _environment(container: Mapping[str, Any], manifests: Sequence[Manifest]) -> dict[str, str]:
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        (config,) = find_named(manifests, "ConfigMap", source["configMapRef"]["name"])
        found |= config["data"]
    return found | {variable["name"]: variable["value"] for variable in container.get("env", [])}


def filter_kind(manifests: Sequence[Manifest], *kinds: str) -> list[Manifest]:
    """Return those of some kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def find_named(manifests: Sequence[Manifest], kind: str, name: str) -> list[Manifest]:
    """Return those of a kind and name: one, where all is well."""
    return [manifest for manifest in filter_kind(manifests, kind) if manifest["metadata"]["name"] == name]


@cache
def paths() -> frozenset[str]:
    """Return what the application answers to a GET."""
    document = create_app(Settings()).openapi()
    return frozenset(path for path, operations in document["paths"].items() if "get" in operations)


def _dockerfile(pattern: str) -> tuple[int, ...]:
    (found,) = re.findall(pattern, (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return tuple(map(int, (found,) if isinstance(found, str) else found))


def wrong_settings(manifests: Sequence[Manifest]) -> Iterator[str]:
    for workload in workloads(manifests):
        try:
            default, image = workload.settings.default_model, workload.container["image"]
        except ValidationError as error:
            yield f"{workload.name}: {error}"
        else:
            if why := _refused(default, by_the_next=not image.endswith(f":{__version__}")):
                yield f"{workload.name}: {why}"


@cache
def _refused(default: str, *, by_the_next: bool) -> str | None:
    """Return why an image refuses a default model: this version's, or the next one's, with another `cnn`."""
    with TemporaryDirectory() as folder:
        try:
            Catalogue.load(make_two_versions(Path(folder)) if by_the_next else MODELS, default=default)
        except InvalidModel as error:
            return str(error)
    return None


def wrong_ports(manifests: Sequence[Manifest]) -> Iterator[str]:
    (exposed,) = _dockerfile(r"^EXPOSE (\d+)$")
    for workload in workloads(manifests):
        listens = workload.settings.port
        for port in workload.ports.values():
            if not port == exposed == listens:
                yield f"{workload.name}: has port {port}, the image {exposed}, and listens at {listens}"


def wrong_user(manifests: Sequence[Manifest]) -> Iterator[str]:
    user, group = _dockerfile(r"^USER (\d+):(\d+)$")
    for workload in workloads(manifests):
        context = workload.pod["securityContext"]
        if (context["runAsUser"], context["runAsGroup"]) != (user, group):
            yield f"{workload.name}: the user is not the image's {user}:{group}"


def wrong_probes(manifests: Sequence[Manifest]) -> Iterator[str]:
    for workload in workloads(manifests):
        for probe in PROBES:
            asked = workload.container[probe]["httpGet"]
            if asked["path"] not in paths():
                yield f"{workload.name}: {probe} asks {asked['path']}, which does not exist"
            if asked["path"] not in PUBLIC_PATHS:
                yield f"{workload.name}: {probe} has no key, and {asked['path']} needs one"
            if asked["port"] not in workload.ports:
                yield f"{workload.name}: {probe} asks a port {asked['port']}, which does not exist"


def too_short_grace(manifests: Sequence[Manifest]) -> Iterator[str]:
    for workload in workloads(manifests):
        asleep = workload.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        settings, patience = workload.settings, workload.pod["terminationGracePeriodSeconds"]
        needed = asleep + settings.drain_delay + LINGER_SECONDS + settings.graceful_timeout
        if patience <= needed:
            yield f"{workload.name}: it is killed after {patience} s, and may need {needed:g}"


def unreadable_keys(manifests: Sequence[Manifest]) -> Iterator[str]:
    for workload in workloads(manifests):
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
    own = {workload.name: workload.labels for workload in workloads(manifests)}
    for manifest in filter_kind(manifests, "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"):
        name = manifest["metadata"]["name"]
        if _selected(manifest) != own.get(name):
            yield f"{manifest['kind']} {name}: selects other pods than those of the Deployment of its name"
    for workload in workloads(manifests):
        if sum(workload.labels == labels for labels in own.values()) > 1:
            yield f"{workload.name}: has the labels of another Deployment's pods"
        for spread in workload.pod.get("topologySpreadConstraints", []):
            if spread["labelSelector"]["matchLabels"] != workload.labels:
                yield f"{workload.name}: spread by {spread['topologyKey']} counts other pods than its own"


def _selected(manifest: Manifest) -> dict[str, str]:
    selector = manifest["spec"].get("podSelector") or manifest["spec"].get("selector") or {}
    selected: dict[str, str] = selector.get("matchLabels", selector)
    return selected


def wrong_scalers(manifests: Sequence[Manifest]) -> Iterator[str]:
    for deployment in filter_kind(manifests, "Deployment"):
        name = deployment["metadata"]["name"]
        scalers = [
            scaler["kind"]
            for scaler in filter_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject")
            if scaler["spec"]["scaleTargetRef"]["name"] == name
        ]
        if len(scalers) != 1 or "replicas" in deployment["spec"]:
            yield f"{name}: what sets its replicas is {scalers}, not one scaler alone"


def wrong_entrances(manifests: Sequence[Manifest]) -> Iterator[str]:
    known = {port for workload in workloads(manifests) for port in workload.ports}
    for service in filter_kind(manifests, "Service"):
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in known:
                yield f"Service {service['metadata']['name']}: no container has a port {port['targetPort']}"
    for policy in filter_kind(manifests, "NetworkPolicy"):
        entrances = [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]
        if not known.issuperset(entrances) or policy["spec"].get("egress"):
            yield f"NetworkPolicy {policy['metadata']['name']}: in by {entrances}, out by something"


def wrong_monitors(manifests: Sequence[Manifest]) -> Iterator[str]:
    for monitor in filter_kind(manifests, "ServiceMonitor"):
        wanted = _selected(monitor).items()
        for service in filter_kind(manifests, "Service"):
            ports = {port["name"] for port in service["spec"]["ports"]}
            for endpoint in monitor["spec"]["endpoints"]:
                if not wanted <= service["metadata"]["labels"].items() or endpoint["port"] not in ports:
                    yield f"ServiceMonitor: does not find Service {service['metadata']['name']}"
                if endpoint["path"] not in paths():
                    yield f"ServiceMonitor: asks {endpoint['path']}, which does not exist"


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
                yield f"HTTPRoute: splits between {sorted(backends)}, and there is {sorted(services)}"


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
)


def find_faults(manifests: Sequence[Manifest]) -> list[str]:
    """Return a sentence for each fault."""
    return [*wrong_settings(manifests)] or [fault for check in CHECKS for fault in check(manifests)]

"""Checks manifests against the schemas of their kinds. Run by .venv-clients' Python.

kubernetes-validate checks Kubernetes' own kinds; models that were generated from their CRDs check KEDA's and
Prometheus'; the models of its client check KServe's. No package has the Gateway API's schemas, so `HTTPRoute`
below has the part of them that is used.

Reads a JSON list of manifests; writes a list of problems, "" for a manifest that fits.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module  # mypy has none of these packages, or would read megabytes of models
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

GENERATED: Final = {
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
}
MANY_OF: Final = re.compile(r"[Ll]ist\[(?P<kind>.+)\]|[Dd]ict[(\[]str, (?P<value>.+)[)\]]")
PLAIN: Final = {"str": str, "int": int, "bool": bool}
MAX_LIST_LENGTH: Final = 16  # the Gateway API's limit for most lists

Manifest = dict[str, Any]


class Part(BaseModel):
    """A part of a manifest, with these fields and no others."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Name(Part):
    """The name and namespace of a manifest."""

    name: str
    namespace: str


class Backend(Part):
    """A Service, and its share of the requests."""

    name: str
    port: Annotated[int, Field(ge=1, le=65535)]
    weight: Annotated[int, Field(ge=0, le=1_000_000)]


class Rule(Part):
    """A rule without conditions."""

    backendRefs: Annotated[list[Backend], Field(max_length=MAX_LIST_LENGTH)]  # noqa: N815  its name there


class Route(Part):
    """A route from gateways to Services."""

    parentRefs: Annotated[list[Name], Field(max_length=2 * MAX_LIST_LENGTH)]  # noqa: N815
    hostnames: Annotated[list[str], Field(max_length=MAX_LIST_LENGTH)]
    rules: Annotated[list[Rule], Field(max_length=MAX_LIST_LENGTH)]


class HTTPRoute(Part):
    """The part of the Gateway API's HTTPRoute that is used."""

    apiVersion: Literal["gateway.networking.k8s.io/v1"]  # noqa: N815
    kind: Literal["HTTPRoute"]
    metadata: Name
    spec: Route


def find_misfit(manifest: Manifest, version: str) -> str:
    """Describe where a manifest does not fit a `version` of Kubernetes; "" if it does."""
    kind, group = manifest["kind"], manifest["apiVersion"]
    if kind == "InferenceService":
        return "; ".join(list_unknown(manifest, "V1beta1InferenceService", kind))
    if kind == "HTTPRoute":
        return find_dropped(manifest, HTTPRoute)
    if group in GENERATED:
        return find_dropped(manifest, getattr(import_module(GENERATED[group]), kind))
    validator = import_module("kubernetes_validate")
    try:
        validator.validate(manifest, version, strict=True)
    except validator.ValidationError as error:
        return str(error.message)
    return ""


def find_dropped(manifest: Manifest, model: type[BaseModel]) -> str:
    """Describe what a model refuses in a manifest, or drops because it has no such field."""
    try:
        kept = model.model_validate(manifest).model_dump(mode="json", by_alias=True, exclude_unset=True)
    except ValidationError as error:
        return str(error)
    return "" if kept == manifest else f"{manifest} has more than {kept}"


def list_unknown(value: Any, kind: str, where: str) -> Iterator[str]:  # noqa: ANN401  JSON
    """Yield what KServe's and Kubernetes' clients do not accept in `value`, which should be a `kind`."""
    if match := MANY_OF.fullmatch(kind):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from list_unknown(item, match["kind"] or match["value"], f"{where}.{key}")
    elif kind in PLAIN:
        if type(value) is not PLAIN[kind]:
            yield f"{where}: {value!r} is no {kind}"
    elif kind != "object":
        yield from _list_unknown_fields(value, kind, where)


def _list_unknown_fields(value: dict[str, Any], kind: str, where: str) -> Iterator[str]:
    clients = import_module("kserve.models"), import_module("kubernetes.client")
    model: Any = next(getattr(client, kind) for client in clients if hasattr(client, kind))
    types = {field: model.openapi_types[name] for name, field in model.attribute_map.items()}
    for field, item in value.items():
        if field in types:
            yield from list_unknown(item, types[field], f"{where}.{field}")
        else:
            yield f"{where}: {kind} has no field {field}"


if __name__ == "__main__":
    json.dump([find_misfit(manifest, sys.argv[1]) for manifest in json.load(sys.stdin)], sys.stdout)

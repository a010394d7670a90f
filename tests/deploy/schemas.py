"""Say of every manifest where it does not fit the schema of its kind. Run by .venv-clients' Python.

Kubernetes' own kinds are checked by kubernetes-validate, KEDA's and Prometheus' by models that were generated
from their CRDs, KServe's by its own client's. No package brings the Gateway API's schemas: `HTTPRoute` has
the part of them that is used here.

Reads a JSON list of manifests; writes one of strings, empty where a manifest fits.
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
MANY: Final = 16  # the Gateway API's bound for most lists

Manifest = dict[str, Any]


class Part(BaseModel):
    """A part of a manifest, with these fields and no others."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Name(Part):
    """Where something is."""

    name: str
    namespace: str


class Backend(Part):
    """A Service, and its share."""

    name: str
    port: Annotated[int, Field(ge=1, le=65535)]
    weight: Annotated[int, Field(ge=0, le=1_000_000)]


class Rule(Part):
    """A rule without conditions."""

    backendRefs: Annotated[list[Backend], Field(max_length=MANY)]  # noqa: N815  its name there


class Route(Part):
    """A route from gateways to Services."""

    parentRefs: Annotated[list[Name], Field(max_length=2 * MANY)]  # noqa: N815
    hostnames: Annotated[list[str], Field(max_length=MANY)]
    rules: Annotated[list[Rule], Field(max_length=MANY)]


class HTTPRoute(Part):
    """The part of the Gateway API's HTTPRoute that is used."""

    apiVersion: Literal["gateway.networking.k8s.io/v1"]  # noqa: N815
    kind: Literal["HTTPRoute"]
    metadata: Name
    spec: Route


def misfit(manifest: Manifest, version: str) -> str:
    """Say where a manifest does not fit, for a `version` of Kubernetes."""
    kind, group = manifest["kind"], manifest["apiVersion"]
    if kind == "InferenceService":
        return "; ".join(unknown(manifest, "V1beta1InferenceService", kind))
    if kind == "HTTPRoute":
        return lost(manifest, HTTPRoute)
    if group in GENERATED:
        return lost(manifest, getattr(import_module(GENERATED[group]), kind))
    validator = import_module("kubernetes_validate")
    try:
        validator.validate(manifest, version, strict=True)
    except validator.ValidationError as error:
        return str(error.message)
    return ""


def lost(manifest: Manifest, model: type[BaseModel]) -> str:
    """Say what of a manifest its model refuses, or drops because it has no such field."""
    try:
        kept = model.model_validate(manifest).model_dump(mode="json", by_alias=True, exclude_unset=True)
    except ValidationError as error:
        return str(error)
    return "" if kept == manifest else f"{manifest} has more than {kept}"


def unknown(value: Any, kind: str, where: str) -> Iterator[str]:  # noqa: ANN401  JSON
    """Say what KServe's and Kubernetes' clients do not know in `value`, which should be a `kind`."""
    if of := MANY_OF.fullmatch(kind):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from unknown(item, of["kind"] or of["value"], f"{where}.{key}")
    elif kind in PLAIN:
        if type(value) is not PLAIN[kind]:
            yield f"{where}: {value!r} is no {kind}"
    elif kind != "object":
        yield from _unknown_fields(value, kind, where)


def _unknown_fields(value: dict[str, Any], kind: str, where: str) -> Iterator[str]:
    clients = import_module("kserve.models"), import_module("kubernetes.client")
    model: Any = next(getattr(client, kind) for client in clients if hasattr(client, kind))
    types = {field: model.openapi_types[name] for name, field in model.attribute_map.items()}
    for field, item in value.items():
        if field in types:
            yield from unknown(item, types[field], f"{where}.{field}")
        else:
            yield f"{where}: {kind} has no field {field}"


if __name__ == "__main__":
    json.dump([misfit(manifest, sys.argv[1]) for manifest in json.load(sys.stdin)], sys.stdout)

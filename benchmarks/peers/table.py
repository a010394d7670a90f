"""The peers, in their newest versions of November 2026: packages, commands and requests."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.load import PNG, build_form
from benchmarks.serving import ROOT

HERE: Final = Path(__file__).parent
ENVIRONMENTS: Final = ROOT / ".venv-peers"
WORK: Final = ENVIRONMENTS / "work"  # the network, and what peers write
COMMON: Final = ("onnxruntime==1.31.1", "numpy", "pillow==13.0.0")  # packages that every peer needs


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One way to serve a network."""

    name: str
    packages: tuple[str, ...]
    command: tuple[str, ...]  # a program of its environment; {port}, {work} and {here} are filled in
    path: str
    body: Callable[[bytes], tuple[bytes, str]]  # picture → body and Content-Type of a request
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of its virtual environment."""
        return ENVIRONMENTS / self.name.lower().replace(" ", "-")

    def fill_in_command(self, port: int) -> list[str]:
        """Return the command with its paths and the port."""
        work = WORK / self.folder.name
        program, *rest = (part.format(port=port, work=work, here=HERE) for part in self.command)
        return [str(self.folder / "bin" / program), *rest]


def build_raw_body(picture: bytes) -> tuple[bytes, str]:
    """Return the picture itself as the body."""
    return picture, PNG


def build_json_body(wrap: Callable[[str], Any], picture: bytes) -> tuple[bytes, str]:
    """Return a JSON body with the picture in base64."""
    return json.dumps(wrap(base64.b64encode(picture).decode())).encode(), "application/json"


def _build_v2_request(text: str) -> dict[str, Any]:
    content = {"content_type": "base64"}
    tensor = {"name": "picture", "shape": [1], "datatype": "BYTES", "parameters": content, "data": [text]}
    return {"inputs": [tensor]}


_FASTAPI: Final = ("fastapi==0.165.0", "uvicorn[standard]==0.54.0", "python-multipart")

PEERS: Final = (
    Peer(
        name="FastAPI",
        packages=_FASTAPI,
        command=("python", "{here}/with_fastapi.py"),
        path="/raw",
        body=build_raw_body,
    ),
    Peer(
        name="FastAPI form",
        packages=_FASTAPI,
        command=("python", "{here}/with_fastapi.py"),
        path="/form",
        body=build_form,
    ),
    Peer(
        name="TorchServe",
        packages=("torchserve==0.12.0", "torch-model-archiver==0.12.0", "torch", "pyyaml", "setuptools<81"),
        command=("python", "{here}/with_torchserve.py", "{work}", "{port}"),
        path="/predictions/digits",
        body=build_raw_body,
    ),
    Peer(
        name="KServe",
        packages=("kserve==0.21.0",),
        command=("python", "{here}/with_kserve.py"),
        path="/v1/models/digits:predict",
        body=partial(build_json_body, lambda text: {"instances": [{"b64": text}]}),
    ),
    Peer(
        name="MLServer",
        packages=("mlserver==1.7.1",),
        command=("mlserver", "start", "{here}"),
        path="/v2/models/digits/infer",
        body=partial(build_json_body, _build_v2_request),
        environment={
            "MLSERVER_HTTP_PORT": "{port}",
            "MLSERVER_PARALLEL_WORKERS": "0",  # a second process would not help on one core
            "MLSERVER_MODEL_NAME": "digits",
            "MLSERVER_MODEL_IMPLEMENTATION": "with_mlserver.Reader",
        },
    ),
    Peer(
        name="MLflow",
        packages=("mlflow==3.17.2",),
        command=("python", "{here}/with_mlflow.py", "{work}", "{port}"),
        path="/invocations",
        body=partial(build_json_body, lambda text: {"inputs": [text]}),
    ),
    Peer(
        name="BentoML",
        packages=("bentoml==1.4.39",),
        command=("bentoml", "serve", "with_bentoml:Reader", "--working-dir", "{here}", "--port", "{port}"),
        path="/form",
        body=build_form,
        environment={"BENTOML_DO_NOT_TRACK": "true"},
    ),
    Peer(
        name="LitServe",
        packages=("litserve==0.2.19", "python-multipart"),
        command=("python", "{here}/with_litserve.py"),
        path="/predict",
        body=partial(build_form, field="request"),
    ),
    Peer(
        name="Ray Serve",
        packages=("ray[serve]==2.60.0",),
        command=("python", "{here}/with_ray.py"),
        path="/",
        body=build_raw_body,
        environment={"RAY_USAGE_STATS_ENABLED": "0"},
    ),
    Peer(
        name="Keras predict",
        packages=("tensorflow-cpu==2.21.0", "keras==3.15.0", *_FASTAPI),
        command=("python", "{here}/with_keras.py"),
        path="/raw",
        body=build_raw_body,
    ),
)

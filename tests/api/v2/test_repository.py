"""Models are loaded and unloaded by who has a key, under the eyes of those who ask them."""

from __future__ import annotations

import gzip
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from app.digits.contract import Metadata
from app.settings import Settings
from tests.api.v2.wire import error, image_input, infer
from tests.conftest import MODELS
from tests.serving import serve, start_process, wait_until
from tests.tiny import GOOD, build_tiny_model

KEY = {"X-API-Key": "a key of some length"}
BLANK = image_input(np.zeros((1, 28, 28), np.uint8), binary=True)
REPOSITORY = "/v2/repository"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(MODELS / "linear", tmp_path / "linear")
    put(tmp_path, "1.0.0")
    return tmp_path


@pytest.fixture
def keyed(folder: Path) -> Iterator[httpx.Client]:
    """A service with a key, whose default is `linear`, and a client that shows the key."""
    with serve(
        Settings(models_dir=folder, default_model="linear", api_keys=("a key of some length",))
    ) as client:
        client.headers.update(KEY)
        yield client


def put(folder: Path, version: str, name: str = "tiny") -> None:
    (folder / name).mkdir(exist_ok=True)
    draft = folder / name / "draft"
    draft.write_bytes(build_tiny_model(metadata=GOOD | {Metadata.NAME: name, Metadata.VERSION: version}))
    draft.rename(folder / name / "model.onnx")


def index(client: httpx.Client, **request_json: object) -> dict[str, tuple[str, str | None]]:
    answer = client.post(f"{REPOSITORY}/index", json=request_json)
    assert answer.status_code == 200
    return {entry["name"]: (entry["state"], entry.get("version")) for entry in answer.json()}


def change(client: httpx.Client, name: str, action: str) -> httpx.Response:
    return client.post(f"{REPOSITORY}/models/{name}/{action}")


def test_a_model_is_unloaded_and_loaded_again(keyed: httpx.Client) -> None:
    linear = ("READY", "1")
    assert index(keyed) == {"linear": linear, "tiny": ("READY", "1")}
    unloaded = change(keyed, "tiny", "unload")
    assert unloaded.json() == {"name": "tiny", "state": "UNAVAILABLE", "reason": "unloaded"}
    assert index(keyed) == {"linear": linear, "tiny": ("UNAVAILABLE", "1")}
    assert index(keyed, ready=True) == {"linear": linear}
    error(infer(keyed, BLANK, model="tiny"), 404, "no model 'tiny'. The models are linear")
    assert keyed.get("/models/tiny").status_code == 404
    error(change(keyed, "tiny", "unload"), 404, "no model 'tiny'")
    loaded = change(keyed, "tiny", "load")
    assert loaded.json() == {"name": "tiny", "version": "1", "state": "READY", "reason": ""}
    assert infer(keyed, BLANK, model="tiny").status_code == 200


def test_a_model_that_is_new_in_the_folder_is_listed_and_can_be_loaded(
    keyed: httpx.Client, folder: Path
) -> None:
    put(folder, "3.0.0", "newer")
    assert index(keyed)["newer"] == ("UNAVAILABLE", "1")
    assert change(keyed, "newer", "load").status_code == 200
    assert list(index(keyed)) == ["linear", "newer", "tiny"]
    assert keyed.get("/v2/models/newer").json()["versions"] == ["1"]


def test_a_loaded_model_is_replaced_by_what_is_now_in_the_folder(keyed: httpx.Client, folder: Path) -> None:
    put(folder, "2.0.0")
    assert keyed.get("/models/tiny").json()["version"] == "1.0.0"
    assert change(keyed, "tiny", "load").json()["state"] == "READY"
    assert keyed.get("/models/tiny").json()["version"] == "2.0.0"


def test_a_file_that_cant_be_served_is_refused_and_the_old_model_stays(
    keyed: httpx.Client, folder: Path
) -> None:
    (folder / "tiny" / "model.onnx").write_bytes(b"damaged")
    detail = error(
        change(keyed, "tiny", "load"), 409, "tiny/model.onnx can't be served: onnxruntime can't load"
    )
    assert str(folder) not in detail
    assert infer(keyed, BLANK, model="tiny").status_code == 200


def test_the_default_cant_be_unloaded(keyed: httpx.Client) -> None:
    error(change(keyed, "linear", "unload"), 409, "'linear' is the default model")
    assert infer(keyed, BLANK, model="linear").status_code == 200


@pytest.mark.parametrize("name", ["..", "%2e%2e", "nothing", "%00", "*", "tin?"])
def test_a_model_that_is_not_in_the_folder_is_404(keyed: httpx.Client, folder: Path, name: str) -> None:
    (folder.parent / "model.onnx").write_bytes(build_tiny_model())
    answer = change(keyed, name, "load")
    error(answer, 404, "")


@pytest.mark.parametrize("action", ["load", "unload"])
@pytest.mark.parametrize(
    ("content", "detail"),
    [
        ('{"parameters": {"config": "{}"}}', "parameters.config"),
        ('{"parameters": {"file:1/model.onnx": "AAAA"}}', "parameters.file:1/model.onnx"),
        ("{", "the body"),
        ("[]", "the body"),
    ],
)
def test_unsupported_parameters_are_refused(
    keyed: httpx.Client, action: str, content: str, detail: str
) -> None:
    error(keyed.post(f"{REPOSITORY}/models/tiny/{action}", content=content), 400, detail)
    assert index(keyed)["tiny"] == ("READY", "1")


def test_an_index_with_an_invalid_flag_is_refused(keyed: httpx.Client) -> None:
    error(keyed.post(f"{REPOSITORY}/index", json={"ready": "yes"}), 400, "ready")


@pytest.mark.parametrize("path", ["index", "models/mlp-128/load", "models/mlp-128/unload"])
def test_without_configured_keys_the_repository_is_forbidden(client: httpx.Client, path: str) -> None:
    error(client.post(f"{REPOSITORY}/{path}", headers=KEY), 403, "set DIGITS_API_KEYS_FILE")
    assert client.get("/v2/models/mlp-128/ready").status_code == 200


@pytest.mark.parametrize("path", ["index", "models/tiny/load", "models/tiny/unload"])
def test_a_request_without_a_valid_key_is_unauthorized(keyed: httpx.Client, path: str) -> None:
    for invalid in ("", "other"):
        error(keyed.post(f"{REPOSITORY}/{path}", headers={"X-API-Key": invalid}), 401, "key")
    assert index(keyed)["tiny"] == ("READY", "1")


def test_several_workers_list_models_but_refuse_to_load_and_unload(folder: Path) -> None:
    settings = {
        "models_dir": str(folder),
        "default_model": "linear",
        "api_keys": "a key of some length",
        "workers": "2",
    }
    with start_process(**settings) as running:
        running.client.headers.update(KEY)
        assert index(running.client)["tiny"] == ("READY", "1")
        for action in ("load", "unload"):
            error(change(running.client, "tiny", action), 403, "2 workers, and a request reaches one of them")


def test_sighup_loads_unloaded_models_again(folder: Path) -> None:
    with start_process(
        models_dir=str(folder), default_model="linear", api_keys="a key of some length"
    ) as running:
        running.client.headers.update(KEY)
        assert change(running.client, "tiny", "unload").status_code == 200
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: index(running.client)["tiny"] == ("READY", "1"))


@pytest.mark.parametrize("path", ["index", "models/tiny/load", "models/tiny/unload"])
def test_a_compressed_body_is_refused_by_name(keyed: httpx.Client, path: str) -> None:
    headers = {"Content-Encoding": "gzip"}
    answer = keyed.post(f"{REPOSITORY}/{path}", content=gzip.compress(b"{}"), headers=headers)
    error(answer, 415, "The Content-Encoding 'gzip' is not supported here")


@pytest.mark.parametrize("value", [1, "true", None, []])
def test_a_value_that_is_not_a_boolean_is_refused(keyed: httpx.Client, value: object) -> None:
    error(
        keyed.post(f"{REPOSITORY}/index", json={"ready": value}),
        400,
        "ready: Input should be a valid boolean",
    )

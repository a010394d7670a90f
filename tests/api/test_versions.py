"""Two versions of a model side by side, as those who ask meet them."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from app.settings import Settings
from tests.api.v2.wire import error, image_input, infer
from tests.conftest import GOLDEN, MODELS, ROOT
from tests.serving import serve, start_process, wait_until
from tests.telemetry.scrapes import scrape
from tests.versions import NEXT_RECIPE, make_two_line_readers, make_two_versions

NINE = (GOLDEN / "9-grey.png").read_bytes()
NUMBER = (ROOT / "tests" / "data" / "numbers" / "4071.jpg").read_bytes()
PNG = {"Content-Type": "image/png"}
BLANK = image_input(np.zeros((1, 28, 28), np.uint8), binary=True)
FIRST, SECOND = (
    json.loads((MODELS / name / "metrics.json").read_text())["model"]["version"] for name in ("linear", "cnn")
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_two_versions(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def client_with_versions(folder: Path) -> Iterator[httpx.Client]:
    """A service with a key, two versions of `cnn` and one of `linear`; the client shows the key."""
    with serve(Settings(models_dir=folder, api_keys=("k",))) as client:
        client.headers["X-API-Key"] = "k"
        yield client


@pytest.fixture(scope="module")
def folder_of_line_readers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_two_line_readers(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def client_with_line_readers(folder_of_line_readers: Path) -> Iterator[httpx.Client]:
    """A service with two versions of `line-reader`."""
    with serve(Settings(models_dir=folder_of_line_readers)) as client:
        yield client


def predict_version(client: httpx.Client, query: str = "") -> dict[str, str]:
    answer = client.post(f"/predict{query}", content=NINE, headers=PNG)
    assert answer.status_code == 200, answer.text
    model: dict[str, str] = answer.json()["model"]
    return model


@pytest.mark.parametrize(
    ("query", "name", "version"),
    [
        ("", "cnn@2", SECOND),
        ("?model=cnn", "cnn@2", SECOND),
        ("?model=cnn@2", "cnn@2", SECOND),
        ("?model=cnn@1", "cnn@1", FIRST),
        ("?model=cnn%401", "cnn@1", FIRST),
        ("?model=linear", "linear", FIRST),
        ("?model=linear@1", "linear", FIRST),
    ],
)
def test_an_answer_names_the_version_that_gave_it(
    client_with_versions: httpx.Client, query: str, name: str, version: str
) -> None:
    assert predict_version(client_with_versions, query) == {"name": name, "version": version}


def test_every_route_takes_a_version(client_with_versions: httpx.Client) -> None:
    files = [("files", NINE), ("files", NINE)]
    batch = client_with_versions.post("/predict/batch?model=cnn@1", files=files).json()["results"]
    assert [one["prediction"]["model"]["name"] for one in batch] == ["cnn@1", "cnn@1"]
    assert batch[0]["prediction"]["digit_likelihood"] is None  # the first version does not tell


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("", 2),
        ("?model=cnn", 2),
        ("?model=line-reader", 2),
        ("?model=line-reader@2", 2),
        ("?model=line-reader@1", 1),
    ],
)
def test_a_number_names_the_line_reader_that_read_it(
    client_with_line_readers: httpx.Client, query: str, number: int
) -> None:
    before = scrape(client_with_line_readers)
    model = client_with_line_readers.post(f"/predict/number{query}", content=NUMBER, headers=PNG).json()[
        "model"
    ]
    after = scrape(client_with_line_readers)
    assert model["name"] == f"line-reader@{number}"
    assert (model["version"] == NEXT_RECIPE) == (number == 2)
    counts = [
        [found.value("digits_confidence_count", model=f"line-reader@{other}") for found in (before, after)]
        for other in (number, 3 - number)
    ]
    assert counts[0][0] < counts[0][1]
    assert counts[1][0] == counts[1][1]


@pytest.mark.parametrize("asked", ["line-reader@3", "line-reader@0", "reader"])
def test_an_unknown_line_reader_is_404(client_with_line_readers: httpx.Client, asked: str) -> None:
    answer = client_with_line_readers.post(f"/predict/number?model={asked}", content=NUMBER, headers=PNG)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")
    assert "The models are cnn, finder, line-reader@1, line-reader@2" in answer.json()["detail"]


def test_numbers_need_a_finder_that_is_loaded(folder_of_line_readers: Path) -> None:
    def change(what: str) -> None:
        answer = client.post(f"/v2/repository/models/finder/{what}")
        assert answer.status_code == 200, answer.text

    def read() -> int:
        return client.post("/predict/number", content=NUMBER, headers=PNG).status_code

    with serve(Settings(models_dir=folder_of_line_readers, api_keys=("k",))) as client:
        client.headers["X-API-Key"] = "k"
        index = client.post("/v2/repository/index").json()
        assert [entry["name"] for entry in index] == ["cnn", "finder", "line-reader", "line-reader"]
        change("unload")
        assert read() == 404
        assert predict_version(client)["name"] == "cnn"
        change("load")
        assert read() == 200


@pytest.mark.parametrize("asked", ["cnn@3", "cnn@0", "cnn@", "linear@2", "@1"])
def test_an_unknown_version_is_404_and_the_existing_ones_are_listed(
    client_with_versions: httpx.Client, asked: str
) -> None:
    for answer in (
        client_with_versions.post(f"/predict?model={asked}", content=NINE, headers=PNG),
        client_with_versions.get(f"/models/{asked}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")
        assert f"no model '{asked}'. The models are cnn@1, cnn@2, linear" in answer.json()["detail"]


def test_models_lists_each_version_the_default_first(client_with_versions: httpx.Client) -> None:
    models = client_with_versions.get("/models").json()["models"]
    assert [(one["name"], one["version"], one["default"]) for one in models] == [
        ("cnn@2", SECOND, True),
        ("cnn@1", FIRST, False),
        ("linear", FIRST, False),
    ]
    assert [bool(one["metrics"]) for one in models] == [True, False, True]
    for model in models:
        assert client_with_versions.get(f"/models/{model['name']}").json() == model
    assert client_with_versions.get("/models/cnn").json() == models[0]


def test_the_default_may_be_an_earlier_version(folder: Path) -> None:
    with serve(Settings(models_dir=folder, default_model="cnn@1")) as client:
        assert predict_version(client)["name"] == "cnn@1"
        assert predict_version(client, "?model=cnn")["name"] == "cnn@2"
        models = client.get("/models").json()["models"]
        assert [one["name"] for one in models if one["default"]] == ["cnn@1"] == [models[0]["name"]]
        info = scrape(client).find("digits_model_info", default="true")
    assert [sample.labels["model"] for sample in info] == ["cnn@1"]


def test_loaded_versions_have_separate_metrics(folder: Path) -> None:
    with serve(Settings(models_dir=folder)) as client:
        for query in ("", "?model=cnn", "?model=cnn@2", "?model=cnn@1", "?model=cnn@3"):
            client.post(f"/predict{query}", content=NINE, headers=PNG)
        infer(client, BLANK, model="cnn/versions/1")
        found = scrape(client)
    assert found.value("digits_predictions_total", model="cnn@2") == 3
    assert found.value("digits_predictions_total", model="cnn@1") == 2
    assert {sample.labels["model"] for sample in found.find("digits_model_info")} == {
        "cnn@1",
        "cnn@2",
        "linear",
    }
    assert {sample.labels["model"] for sample in found.find("digits_confidence_count")} == {"cnn@1", "cnn@2"}


def test_the_first_feedback_on_the_default_model_is_counted_from_0(folder: Path, tmp_path: Path) -> None:
    with serve(Settings(models_dir=folder, feedback_url=f"sqlite:///{tmp_path}/feedback.db")) as client:
        before = scrape(client).find("digits_feedback_total")
        assert client.post("/feedback?digit=9", content=NINE, headers=PNG).status_code == 201
        after = scrape(client).find("digits_feedback_total")
    assert [sample.labels for sample in before] == [sample.labels for sample in after]
    assert [sample.labels["model"] for sample in after] == ["cnn@2", "cnn@2"]
    assert (sum(sample.value for sample in before), sum(sample.value for sample in after)) == (0, 1)


def test_v2_lists_versions_by_number(client_with_versions: httpx.Client) -> None:
    for path in ("cnn", "cnn/versions/1", "cnn/versions/2", "cnn@1"):
        metadata = client_with_versions.get(f"/v2/models/{path}").json()
        assert (metadata["name"], metadata["versions"]) == ("cnn", ["1", "2"])
        assert client_with_versions.get(f"/v2/models/{path}/ready").json() == {"name": "cnn", "ready": True}
    outputs = [
        [
            output["name"]
            for output in client_with_versions.get(f"/v2/models/cnn/versions/{number}").json()["outputs"]
        ]
        for number in (1, 2)
    ]
    assert outputs == [["probabilities", "digit"], ["probabilities", "digit", "digit_likelihood"]]
    assert client_with_versions.get("/v2/models/linear").json()["versions"] == ["1"]


@pytest.mark.parametrize(
    ("path", "number"), [("cnn", "2"), ("cnn/versions/1", "1"), ("cnn/versions/2", "2"), ("cnn@1", "1")]
)
def test_v2_infers_with_the_version_in_the_path(
    client_with_versions: httpx.Client, path: str, number: str
) -> None:
    detail = infer(client_with_versions, BLANK, model=path).json()
    assert (detail["model_name"], detail["model_version"]) == ("cnn", number)
    assert ("digit_likelihood" in [output["name"] for output in detail["outputs"]]) == (number == "2")


@pytest.mark.parametrize("version", ["3", "0", "01", SECOND, "latest", "-1"])
def test_v2_refuses_other_versions(client_with_versions: httpx.Client, version: str) -> None:
    path = f"cnn/versions/{version}"
    detail = f"no model 'cnn@{version}'. The models are cnn@1, cnn@2, linear"
    error(client_with_versions.get(f"/v2/models/{path}"), 404, detail)
    error(client_with_versions.get(f"/v2/models/{path}/ready"), 404, detail)
    error(infer(client_with_versions, BLANK, model=path), 404, detail)


def test_the_repository_acts_on_one_version_or_on_all(folder: Path) -> None:
    def change(name: str, what: str) -> httpx.Response:
        return client.post(f"/v2/repository/models/{name}/{what}")

    def index() -> list[tuple[str, str, str]]:
        entries = client.post("/v2/repository/index").json()
        return [(entry["name"], entry["version"], entry["state"]) for entry in entries]

    settings = Settings(models_dir=folder, default_model="linear", api_keys=("k",))
    with serve(settings) as client:
        client.headers["X-API-Key"] = "k"
        first, second, linear = ("cnn", "1", "READY"), ("cnn", "2", "READY"), ("linear", "1", "READY")
        assert index() == [first, second, linear]
        unloaded = change("cnn@2", "unload").json()
        assert unloaded == {"name": "cnn", "version": "2", "state": "UNAVAILABLE", "reason": "unloaded"}
        assert index() == [first, linear, ("cnn", "2", "UNAVAILABLE")]
        assert infer(client, BLANK).json()["model_version"] == "1"
        error(change("cnn@2", "unload"), 404, "no model 'cnn@2'")
        loaded = change("cnn@2", "load").json()
        assert loaded == {"name": "cnn", "version": "2", "state": "READY", "reason": ""}
        assert "version" not in change("cnn", "unload").json()
        assert index() == [linear, ("cnn", "1", "UNAVAILABLE"), ("cnn", "2", "UNAVAILABLE")]
        assert change("cnn", "load").json()["version"] == "2"
        assert index() == [first, second, linear]
        error(change("cnn@3", "load"), 404, "no model 'cnn@3' in the folder, which has cnn@1, cnn@2, linear")


def test_a_version_that_appears_becomes_the_default_with_sighup_and_leaves_with_it(tmp_path: Path) -> None:
    folder = make_two_versions(tmp_path / "models")
    second = folder / "cnn" / "2"
    second.rename(tmp_path / "aside")
    with start_process(models_dir=str(folder), log_level="error") as running:
        assert predict_version(running.client) == {"name": "cnn", "version": FIRST}
        shutil.copytree(tmp_path / "aside", second)
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: predict_version(running.client)["name"] == "cnn@2")
        assert predict_version(running.client, "?model=cnn@1") == {"name": "cnn@1", "version": FIRST}
        shutil.rmtree(second)
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: predict_version(running.client) == {"name": "cnn", "version": FIRST})


def test_a_missing_default_stops_the_start_with_one_line(folder: Path) -> None:
    with start_process(models_dir=str(folder), default_model="cnn@3") as running:
        status, log = running.end()
    assert status != 0
    assert "'cnn@3' is not in" in log
    assert "which holds cnn@1, cnn@2, linear" in log
    assert "Traceback" not in log

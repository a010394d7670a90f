"""The ML backend, asked as Label Studio asks: tasks in, pre-annotations out, annotations into feedback."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from app.feedback.store import Store, hash_picture
from app.settings import MEBIBYTE, Settings
from tests.api.label_studio.wire import DIGITS, NUMBERS, build_choice, build_event, build_setup, build_tasks
from tests.conftest import GOLDEN, HOSTILE, ROOT
from tests.label_studio.files import LEGACY_TOKEN, UPLOADS, serve_files
from tests.needs import CLIENTS
from tests.serving import serve

KEY: Final = "a-key-of-ours"
HEALTH, SETUP, PREDICT, WEBHOOK = (
    f"/label-studio/{name}" for name in ("health", "setup", "predict", "webhook")
)
FILES: Final = {
    "7.jpg": (GOLDEN / "7-photo.jpg").read_bytes(),
    "3.png": (GOLDEN / "3-canvas-black-on-white.png").read_bytes(),
    "white.png": (HOSTILE / "white.png").read_bytes(),
    "large.jpg": (GOLDEN / "7-photo.jpg").read_bytes() + bytes(900_000),
    "4071.jpg": (ROOT / "tests" / "data" / "numbers" / "4071.jpg").read_bytes(),
}
DATA_URL: Final = f"data:image/jpeg;base64,{base64.b64encode(FILES['7.jpg']).decode()}"
BRUSH: Final = {"from_name": "b", "to_name": "image", "type": "brushlabels", "value": {"rle": [0] * 50_000}}


def upload(name: str) -> str:
    return f"{UPLOADS}{name}"


@pytest.fixture(scope="module")
def label_studio() -> Iterator[str]:
    with serve_files(FILES) as (url, _):
        yield url


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('feedback')}/feedback.db"


@pytest.fixture(scope="module")
def backend(label_studio: str, database: str) -> Iterator[httpx.Client]:
    """A service that is connected to Label Studio, which sends the key as a password."""
    settings = Settings(
        label_studio_url=label_studio,
        label_studio_key=LEGACY_TOKEN,
        feedback_url=database,
        api_keys=(KEY,),
        max_batch=4,
        max_body_bytes=MEBIBYTE,
        max_batch_body_bytes=2 * MEBIBYTE,
    )
    with serve(settings) as client:
        client.auth = httpx.BasicAuth("digits", KEY)
        yield client


def predict(backend: httpx.Client, label_config: str, *data: dict[str, Any]) -> list[dict[str, Any]]:
    answer = backend.post(PREDICT, json=build_tasks(label_config, data))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Server-Timing"].startswith("decode;dur=")
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def send_event(backend: httpx.Client, event: dict[str, Any]) -> dict[str, Any]:
    answer = backend.post(WEBHOOK, json=event)
    assert answer.status_code == 200, answer.text
    stored: dict[str, Any] = answer.json()
    return stored


def list_stored(database: str) -> dict[str, int | None]:
    with closing(Store(database, timeout=10)) as store:
        return {entry.id: entry.digit for entry in store.iterate_entries()}


def test_label_studio_finds_the_backend_and_its_version(backend: httpx.Client) -> None:
    assert backend.get(HEALTH).json() == {"status": "UP"}
    versions = {model["name"]: model["version"] for model in backend.get("/models").json()["models"]}
    for label_config, name in ((DIGITS, "cnn"), (NUMBERS, "line-reader")):
        answer = backend.post(SETUP, json=build_setup(label_config)).json()
        assert answer == {"model_version": f"{name} {versions[name]}"}


def test_the_key_is_needed_as_a_password_or_as_any_other_client_sends_it(backend: httpx.Client) -> None:
    with httpx.Client(base_url=backend.base_url) as stranger:
        assert stranger.get(HEALTH).status_code == 401
        assert stranger.get(HEALTH, auth=("digits", "another-key")).status_code == 401
        assert stranger.get(HEALTH, headers={"Authorization": "Basic ?"}).status_code == 401
        assert stranger.get(HEALTH, headers={"Authorization": f"Bearer {KEY}"}).status_code == 200


def test_without_the_setting_there_is_no_backend(client: httpx.Client) -> None:
    for path in (HEALTH, SETUP, PREDICT, WEBHOOK):
        assert client.get(path).json()["code"] == "not_found"


def test_without_the_setting_nothing_of_it_is_imported() -> None:
    script = "import sys; from app.main import create_app; create_app(); print(*sys.modules)"
    command = [sys.executable, "-W", "ignore", "-c", script]
    modules = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "app.main" in modules
    assert "label_studio" not in modules
    assert "httpx" not in modules


def test_digits_are_chosen_from_files_and_data_urls(backend: httpx.Client) -> None:
    seven, three, inline = predict(
        backend, DIGITS, {"image": upload("7.jpg")}, {"image": upload("3.png")}, {"image": DATA_URL}
    )
    assert [result["result"][0]["value"] for result in (seven, three)] == [
        {"choices": ["7"]},
        {"choices": ["3"]},
    ]
    assert seven == inline
    read = backend.post("/predict", files={"file": FILES["7.jpg"]}).json()
    assert seven["score"] == seven["result"][0]["score"] == read["confidence"]
    assert seven["model_version"] == f"cnn {read['model']['version']}"


def test_a_number_is_written_and_each_of_its_digits_boxed(backend: httpx.Client) -> None:
    (result,) = predict(backend, NUMBERS, {"scan": upload("4071.jpg")})
    *boxes, text = result["result"]
    assert text["value"] == {"text": ["4071"]}
    assert [box["value"]["rectanglelabels"] for box in boxes] == [["4"], ["0"], ["7"], ["1"]]
    assert len({box["id"] for box in boxes}) == 4
    number = backend.post("/predict/number", files={"file": FILES["4071.jpg"]}).json()
    size = (number["image"]["width"], number["image"]["height"])
    for box, digit in zip(boxes, number["digits"], strict=True):
        assert (box["original_width"], box["original_height"], box["image_rotation"]) == (*size, 0)
        corners = [box["value"][side] for side in ("x", "y", "width", "height")]
        assert corners == pytest.approx([100 * pixels / size[i % 2] for i, pixels in enumerate(digit["box"])])


def test_a_picture_that_cant_be_read_leaves_the_others_alone(backend: httpx.Client) -> None:
    blank, gone, missing, seven = predict(
        backend,
        DIGITS,
        {"image": upload("white.png")},
        {"image": upload("gone.png")},
        {},
        {"image": DATA_URL},
    )
    problems = [
        (result["result"], result["score"], result["problem"]["code"]) for result in (blank, gone, missing)
    ]
    assert problems == [([], 0, "no_ink"), ([], 0, "unreadable_image"), ([], 0, "malformed_request")]
    assert seven["score"] > 0.9
    assert "problem" not in seven


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("http://example.org/data/7.png", 403, "forbidden"),
        (f"{UPLOADS}elsewhere.png", 403, "forbidden"),
        (f"{UPLOADS}gone.png", 422, "unreadable_image"),
    ],
)
def test_if_no_picture_can_be_fetched_the_request_fails(
    backend: httpx.Client, address: str, status: int, code: str
) -> None:
    """Otherwise Label Studio would keep the empty predictions, and not ask again."""
    answer = backend.post(PREDICT, json=build_tasks(DIGITS, [{"image": address}] * 2))
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("label_config", "data"),
    [
        (DIGITS, [{"image": DATA_URL}] * 5),
        (DIGITS, [{"image": upload("large.jpg")}] * 3),
        (NUMBERS, [{"scan": upload("4071.jpg")}] * 2),
    ],
    ids=["more than a batch", "more bytes than a request", "numbers"],
)
def test_of_too_much_work_the_first_task_is_done(
    backend: httpx.Client, label_config: str, data: list[dict[str, Any]]
) -> None:
    """Label Studio then sends the tasks one by one."""
    (result,) = predict(backend, label_config, *data)
    assert result["result"]


def test_of_too_many_bytes_the_first_task_is_done_even_if_its_picture_arrives_last() -> None:
    with serve_files({"last.jpg": FILES["large.jpg"], "large.jpg": FILES["large.jpg"]}) as (url, _):
        settings = Settings(
            label_studio_url=url,
            label_studio_key=LEGACY_TOKEN,
            max_body_bytes=MEBIBYTE,
            max_batch_body_bytes=2 * MEBIBYTE,
        )
        with serve(settings) as backend:
            names = ("last.jpg", "large.jpg", "large.jpg")
            (result,) = predict(backend, DIGITS, *({"image": upload(name)} for name in names))
    assert result["result"]


def test_of_too_many_bytes_a_first_picture_that_is_gone_does_not_stop_the_others(
    backend: httpx.Client,
) -> None:
    """Its task gets an empty answer, and Label Studio sends the others."""
    names = ("gone.jpg", "large.jpg", "large.jpg", "large.jpg")
    (result,) = predict(backend, DIGITS, *({"image": upload(name)} for name in names))
    assert (result["result"], result["problem"]["code"]) == ([], "unreadable_image")


def test_an_annotation_is_stored_and_a_changed_one_replaces_it(backend: httpx.Client, database: str) -> None:
    seven = hash_picture(FILES["7.jpg"])
    for action, label in (
        ("ANNOTATION_CREATED", "1"),
        ("ANNOTATION_CREATED", "1"),
        ("ANNOTATION_UPDATED", "7"),
        ("ANNOTATION_UPDATED", "none"),
    ):
        event = build_event(action, [BRUSH, build_choice(label)], {"image": upload("7.jpg")})
        assert send_event(backend, event) == {"stored": True, "reason": ""}
        assert list_stored(database)[seven] == (None if label == "none" else int(label))
    send_event(backend, build_event("ANNOTATION_CREATED", [build_choice("3")], {"image": upload("3.png")}))
    assert list_stored(database).keys() == {seven, hash_picture(FILES["3.png"])}
    metrics = backend.get("/metrics").text
    assert 'digits_feedback_total{model="cnn",outcome="wrong"} 3.0' in metrics
    assert 'digits_feedback_total{model="cnn",outcome="right"} 2.0' in metrics


@pytest.mark.parametrize(
    "event",
    [
        {"action": "START_TRAINING", "project": {"id": 1}},
        {"action": "ANNOTATIONS_DELETED", "annotation": [{"id": 1}]},
        build_event("ANNOTATION_CREATED", [], {"image": "/nowhere"}),
        build_event("ANNOTATION_CREATED", [BRUSH], {"image": "/nowhere"}),
        build_event("ANNOTATION_CREATED", [build_choice("7", "8")], {"image": "/nowhere"}),
        build_event("ANNOTATION_CREATED", [build_choice("cat")], {"image": "/nowhere"}),
        build_event("ANNOTATION_CREATED", [{"type": "choices", "from_name": "digit"}], {"image": "/nowhere"}),
        build_event(
            "ANNOTATION_CREATED", [{**build_choice("7"), "from_name": "other"}], {"image": "/nowhere"}
        ),
    ],
    ids=["training", "deletion", "empty", "brush", "two digits", "no digit", "no value", "another control"],
)
def test_events_that_choose_no_digit_are_ignored(backend: httpx.Client, event: dict[str, Any]) -> None:
    answer = send_event(backend, event)
    assert answer["stored"] is False
    assert answer["reason"]


def test_a_skipped_task_is_ignored(backend: httpx.Client) -> None:
    event = build_event("ANNOTATION_CREATED", [build_choice("7")], {"image": "/nowhere"})
    event["annotation"]["was_cancelled"] = True
    assert send_event(backend, event)["stored"] is False


def test_without_feedback_annotations_are_ignored(label_studio: str) -> None:
    with serve(Settings(label_studio_url=label_studio)) as client:
        event = build_event("ANNOTATION_CREATED", [build_choice("7")], {"image": DATA_URL})
        assert "DIGITS_FEEDBACK_URL" in send_event(client, event)["reason"]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (SETUP, {"schema": "<View/>"}, 400, "malformed_request"),
        (SETUP, {}, 400, "malformed_request"),
        (PREDICT, {"tasks": [], "label_config": DIGITS}, 422, "empty_batch"),
        (PREDICT, {"tasks": [{"data": []}], "label_config": DIGITS}, 400, "malformed_request"),
        (PREDICT, {"tasks": [0] * 200_000, "label_config": DIGITS}, 400, "malformed_request"),
        (WEBHOOK, [], 400, "malformed_request"),
        (WEBHOOK, {"action": "ANNOTATION_CREATED"}, 400, "malformed_request"),
        (WEBHOOK, build_event("ANNOTATION_CREATED", [build_choice("7")], {}), 400, "malformed_request"),
    ],
)
def test_what_is_malformed_is_refused(
    backend: httpx.Client, path: str, body: object, status: int, code: str
) -> None:
    answer = backend.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_bodies_have_the_limits_of_pictures_and_batches(backend: httpx.Client) -> None:
    large = b" " * (MEBIBYTE + 1)
    assert backend.post(WEBHOOK, content=large).json()["code"] == "body_too_large"
    assert backend.post(PREDICT, content=large).json()["code"] == "malformed_request"
    assert backend.post(PREDICT, content=2 * large).json()["code"] == "body_too_large"
    request = backend.build_request("POST", PREDICT)
    del request.headers["Content-Length"]
    assert backend.send(request).json()["code"] == "length_required"


@pytest.mark.needs("clients")
def test_label_studio_accepts_the_predictions(backend: httpx.Client) -> None:
    either = DIGITS.replace("</View>", '<TextArea name="t" toName="image"/></View>')
    cases = [
        (DIGITS, predict(backend, DIGITS, {"image": upload("7.jpg")}, {"image": upload("white.png")})),
        (NUMBERS, predict(backend, NUMBERS, {"scan": upload("4071.jpg")})),
        (either, predict(backend, either, {"image": upload("4071.jpg")})),
    ]
    broken = json.loads(json.dumps(cases[0][1]).replace('["7"]', '["cat"]'))
    errors = validate([*cases, (DIGITS, broken)])
    assert errors[:3] == [[[], []], [[]], [[]]]
    assert errors[3][0], "the check itself can fail"


def validate(cases: list[tuple[str, list[dict[str, Any]]]]) -> list[list[list[str]]]:
    command = [str(CLIENTS), str(Path(__file__).with_name("validate.py"))]
    ran = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    errors: list[list[list[str]]] = json.loads(ran.stdout)
    return errors

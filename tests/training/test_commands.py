"""`python -m training`, run as a command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from PIL import Image

from app.digits.catalogue import Catalogue
from tests.conftest import GOLDEN, HOSTILE, MODELS, ROOT
from tests.data.strokes import ink
from training.__main__ import main
from training.data.uploads import encode_png

PHOTO = str(GOLDEN / "7-photo.jpg")


def run_training(
    *words: str, cwd: Path = ROOT, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "training", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )


Fail: TypeAlias = Callable[..., str]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Fail:
    """Return a function that runs a command, which must fail, and returns the last line of its errors.

    It runs in this process: importing what a command needs takes seconds, and there are many commands.
    """
    monkeypatch.chdir(ROOT)

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["training", *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 1
        return capfd.readouterr().err.rstrip().splitlines()[-1]  # TensorFlow may have printed others

    return run


def width(picture: Path) -> int:
    with Image.open(picture) as image:
        return image.width


def test_help_names_every_command() -> None:
    help_text = run_training("--help").stdout
    for command in (
        "fetch",
        "fetch-strokes",
        "draw",
        "train",
        "tune",
        "export",
        "evaluate",
        "ablate",
        "finetune",
        "list",
        "compare",
        "predict",
        "plot",
    ):
        assert f" {command} " in help_text


def test_the_command_line_starts_without_importing_slow_packages() -> None:
    code = "import sys, training.__main__; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert "typer" in loaded
    slow = {"keras", "matplotlib", "optuna", "scipy", "skimage", "sklearn", "sqlalchemy", "tensorflow"}
    assert not slow & loaded


def test_a_picture_is_read_in_the_terminal_and_drawn(tmp_path: Path) -> None:
    result = run_training("predict", PHOTO, "--plot", str(tmp_path / "seen.png"))
    assert result.returncode == 0
    row = next(line for line in result.stdout.splitlines() if "7-photo" in line)
    assert row.split()[1] == "7"
    assert width(tmp_path / "seen.png") > 1000


def test_a_picture_that_cant_be_read_does_not_stop_the_others() -> None:
    result = run_training("predict", str(HOSTILE / "white.png"), PHOTO)
    assert result.returncode == 1
    assert "Nothing is written" in result.stdout
    assert "7-photo" in result.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["train", "vgg"], "There is no network 'vgg'"),
        (["export", "vgg"], "There is no network 'vgg'"),
        (["evaluate", "vgg"], "There is no models/vgg/model.onnx"),
        (["predict", PHOTO, "--model", "vgg"], "There is no models/vgg/model.onnx"),
        (["plot", "curves", "cnn", "--run", "nowhere"], "There is no run in nowhere"),
        (["plot", "confusion", "vgg"], "There is no models/vgg/metrics.json"),
        (["plot", "reliability", "vgg"], "There is no models/vgg/metrics.json"),
        (["train", "cnn", "--resume", "--fresh"], "--resume continues a run and --fresh discards it"),
        (["train", "cnn", "--resume", "--run", "nowhere"], "There is no run in nowhere"),
        (["plot", "confusion", "cnn", "--out", "x.xyz"], "x.xyz can't be written"),
        (["list", "--models", "tests"], "No network below tests has been evaluated"),
        (["train", "cnn", "--set", "momentum=0.9"], "'momentum=0.9' can't be set: write NAME=VALUE"),
        (
            ["train", "cnn", "--set", "epochs=ten"],
            "'epochs=ten' can't be set: Input should be a valid integer",
        ),
        (["train", "linear", "--set", "dropout=0.5"], "linear has no hidden layer"),
        (["train", "--dropout", "0.5", "linear"], "linear has no hidden layer"),
        (["tune", "linear", "--resume", "--run", "nowhere"], "There is no search in nowhere"),
        (["plot", "search", "linear", "--run", "nowhere"], "There is no search in nowhere"),
        (["compare", "--test"], "--data, --real, --test and --plot need two networks"),
        (["compare", "cnn", "vgg"], "There is no models/vgg/model.onnx"),
        (["compare", "cnn", "cnn@0"], "'cnn@0' names no version: write NAME@N"),
        (["compare", "cnn", "linear", "--data", "nowhere"], "There is no folder or CSV file nowhere"),
        (
            ["compare", "cnn", "linear", "--data", "docs", "--test"],
            "--data FOLDER, --real and --test each choose the pictures",
        ),
        (["compare", "cnn", "linear", "--real", "none"], "none holds no readable picture of a digit"),
        (
            ["evaluate", "cnn@2"],
            "There is no models/cnn/2/model.onnx: `python -m training export cnn --version 2`",
        ),
        (["plot", "confusion", "cnn@2"], "There is no models/cnn/2/metrics.json"),
        (["train", "linear", "--data", "none.npz"], "There is no file none.npz"),
        (["fetch", "--data", "README.md"], "README.md can't be read as MNIST"),
        (["finetune", "--data", "nowhere"], "There is no folder or CSV file nowhere"),
        (
            ["finetune", "--data", "tests", "--name", "linear"],
            "models/linear already holds a network: --force",
        ),
        (["finetune", "--data", "tests", "--name", "../cnn"], "'../cnn' can't be the name of a network"),
        (["finetune", "--data", "tests", "--from", "vgg"], "There is no models/vgg/model.onnx"),
    ],
)
def test_an_error_that_the_user_can_solve_is_one_line(words: list[str], line: str, fail: Fail) -> None:
    assert fail(*words).startswith(line)


def test_list_shows_the_networks_and_so_does_the_earlier_call() -> None:
    listed = run_training("list", "--markdown")
    assert "| `cnn` |" in listed.stdout
    earlier = run_training("compare", "--markdown")
    assert earlier.stdout == listed.stdout
    assert earlier.stderr.splitlines() == ["Use list instead of compare without two networks."]
    assert " cnn " in run_training("list").stdout


def test_earlier_options_of_train_still_work_and_name_their_replacement() -> None:
    result = run_training("train", "linear", "--batch-size=64", "--weight-decay", "-1")
    *notices, error = result.stderr.splitlines()
    assert notices == [
        "Use --set batch_size=64 instead of --batch-size.",
        "Use --set weight_decay=-1 instead of --weight-decay.",
    ]
    assert error == "'weight_decay=-1' can't be set: Input should be greater than or equal to 0."


def test_two_networks_are_compared_on_the_users_pictures(tmp_path: Path) -> None:
    for name in ("3-canvas-bold.png", "7-photo.jpg"):
        (tmp_path / name[0]).mkdir()
    shutil.copy(GOLDEN / "3-canvas-black-on-white.png", tmp_path / "3")
    shutil.copy(PHOTO, tmp_path / "7")
    shutil.copy(HOSTILE / "white.png", tmp_path / "7")
    picture = tmp_path / "differences.png"
    result = run_training("compare", "linear@1", "cnn", "--data", str(tmp_path), "--plot", str(picture))
    assert result.returncode == 0, result.stderr
    assert re.search(r"│ all +│ 2 +│ \d", result.stdout)
    assert "1 uploads are left out" in result.stdout
    assert "McNemar" in result.stdout or "same pictures" in result.stdout
    assert width(picture) > 1000


@pytest.mark.parametrize(("content", "line"), [("{", "is damaged"), ('{"model": {}}', "has no calibration")])
def test_unusable_metrics_are_reported_with_the_remedy(
    tmp_path: Path, content: str, line: str, fail: Fail
) -> None:
    (tmp_path / "linear").mkdir()
    (tmp_path / "linear" / "metrics.json").write_text(content)
    message = fail("plot", "reliability", "linear", "--models", str(tmp_path))
    assert line in message
    assert "training evaluate linear" in message


def test_offline_the_download_fails_with_the_remedy(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"  # the discard port, where nobody listens
    environment = {
        "KERAS_HOME": str(tmp_path),
        "DIGITS_MNIST": "",
        "https_proxy": nowhere,
        "HTTPS_PROXY": nowhere,
    }
    result = run_training("fetch", environment=environment)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    line = result.stderr.rstrip().splitlines()[-1]
    assert "MNIST could not be downloaded" in line
    assert "--data FILE or DIGITS_MNIST" in line


@pytest.mark.mnist
@pytest.mark.training
def test_a_network_is_trained_exported_evaluated_and_plotted(mnist_file: Path, tmp_path: Path) -> None:
    environment = {"DIGITS_MNIST": str(mnist_file)}

    def step(*words: str) -> subprocess.CompletedProcess[str]:
        return run_training(*words, cwd=tmp_path, environment=environment)

    for words in (["train", "linear", "--set", "epochs=2"], ["export", "linear"]):
        result = step(*words)
        assert result.returncode == 0, result.stderr
    evaluated = step("evaluate", "linear")
    assert "accuracy" in evaluated.stdout
    assert (tmp_path / "models" / "linear" / "metrics.json").exists()
    for words in (
        ["plot", "samples"],
        ["plot", "curves", "linear"],
        ["plot", "confusion", "linear"],
        ["plot", "reliability", "linear"],
        ["plot", "corruptions"],
        ["plot", "predictions", "linear"],
        ["plot", "uploads", PHOTO, "--model", "linear"],
    ):
        assert step(*words).returncode == 0
        assert width(tmp_path / f"{words[1]}.png") > 200
    again = step("train", "linear", "--set", "epochs=2")
    assert again.returncode == 1
    assert "--fresh" in again.stderr


@pytest.mark.mnist
@pytest.mark.training
def test_a_killed_search_resumes_and_prints_the_command_that_trains_with_its_values(
    mnist_file: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DIGITS_MNIST": str(mnist_file)}
    command = ["tune", "linear", "--epochs", "1", "--examples", "100"]
    with subprocess.Popen(
        [sys.executable, "-m", "training", *command],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        trial = process.stdout.readline()
        process.kill()
    assert trial.startswith("trial 0: loss ")
    again = run_training(*command, "--resume", "--minutes", "0", cwd=tmp_path, environment=environment)
    assert again.returncode == 0, again.stderr
    (row,) = (line.split() for line in again.stdout.splitlines() if line.split()[:1] == ["0"])
    assert f"trial 0: loss {row[1]}, {row[2]} errors, 1 epochs: --set learning_rate={row[3]} " in trial
    assert "python -m training train linear --set learning_rate=" in again.stdout
    drawn = run_training("plot", "search", "linear", cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    assert width(tmp_path / "search.png") > 1000


@pytest.mark.mnist
@pytest.mark.training
def test_a_network_is_fine_tuned_to_a_folder_of_pictures(mnist_file: Path, tmp_path: Path) -> None:
    for digit in "17":
        (tmp_path / "own" / digit).mkdir(parents=True)
        for slant in range(8):
            drawing = 255 - ink(int(digit), (80, 80), box=(20, 10, 40, 60), pen=6, slant=slant / 2 - 2)
            (tmp_path / "own" / digit / f"{slant}.png").write_bytes(encode_png(drawing))
    shutil.copy(HOSTILE / "white.png", tmp_path / "own" / "7")
    shutil.copytree(MODELS / "cnn", tmp_path / "models" / "cnn")
    words = ["finetune", "--data", "own", "--rounds", "1", "--name", "cnn@2"]
    result = run_training(*words, cwd=tmp_path, environment={"DIGITS_MNIST": str(mnist_file)})
    assert result.returncode == 0, result.stderr
    assert "own/7/white.png is left out: Nothing is written" in result.stdout
    assert "16 pictures for training, 1 left out" in result.stdout
    row = next(line for line in result.stdout.splitlines() if "MNIST test" in line)
    assert row.split()[2] == "10,000"
    assert Catalogue.load(tmp_path / "models", default="cnn").get("cnn@2").metrics


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("train", "finder", "--set", "epochs=2"), "finder takes no --set"),
        (("train", "line-reader", "--examples", "100"), "line-reader takes no --examples"),
        (("export", "finder", "--version", "2"), "finder takes no --version"),
    ],
)
def test_options_of_classifiers_are_refused_for_finder_and_line_reader(
    words: tuple[str, ...], what: str, fail: Fail
) -> None:
    assert what in fail(*words)


def test_strokes_that_are_missing_are_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Fail
) -> None:
    monkeypatch.setenv("DIGITS_STROKES", str(tmp_path))
    monkeypatch.setenv("DIGITS_MNIST", PHOTO)
    assert "training fetch-strokes" in fail("train", "finder", "--run", str(tmp_path))

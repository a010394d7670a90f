"""The notebook tells the truth: it runs, and what it shows as kept is of a full run of these very cells."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import nbformat
import pytest
from nbformat import NotebookNode

from notebooks.__main__ import METADATA, NOTEBOOK, execute, hash_cells
from tests.conftest import MODELS
from tests.serving import wait_until
from training.export.parity import TOLERANCE

LARGEST = 1_000_000  # bytes: pages that show it load it whole


def read() -> NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-any-return]


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def read_output(notebook: NotebookNode, cell: str) -> str:
    """Return all text that a cell shows."""
    (outputs,) = (one.outputs for one in code(notebook) if one.id == cell)
    return "".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def accuracies(text: str) -> list[float]:
    return [float(percent) for percent in re.findall(r"accuracy (\d+\.\d+)%", text)]


def is_serving(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health/live").is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def short(mnist_file: Path) -> NotebookNode:
    """The notebook after a short run, in a kernel of its own."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DIGITS_NOTEBOOK_SHORT", "1")
        environment.setenv("DIGITS_MNIST", str(mnist_file))
        return execute(read())


@pytest.fixture(scope="module")
def kept() -> NotebookNode:
    return read()


@pytest.mark.mnist
@pytest.mark.training
class TestAShortRun:
    def test_goes_through_without_an_error_or_a_warning(self, short: NotebookNode) -> None:
        outputs = [output for cell in code(short) for output in cell.outputs]
        assert len(outputs) > 15
        assert not [output for output in outputs if output.output_type == "error"]
        assert not [output.text for output in outputs if output.get("name") == "stderr"]

    def test_trains_three_networks_each_better_than_the_one_before(self, short: NotebookNode) -> None:
        linear, hidden, convolutions = accuracies(read_output(short, "scores"))
        assert 82 < linear < hidden < convolutions < 99
        assert hidden > 87

    def test_exports_files_that_score_as_keras_does(self, short: NotebookNode) -> None:
        assert accuracies(read_output(short, "exported")) == accuracies(read_output(short, "scores"))[:2]

    def test_gets_the_same_answer_from_the_service_as_from_keras(self, short: NotebookNode) -> None:
        output = read_output(short, "ask")
        (served,) = re.findall(r"service reads (\d)", output)
        (by_keras,) = re.findall(r"Keras reads (\d)", output)
        (apart,) = re.findall(r"more than (\S+)\.", output)
        assert served == by_keras
        assert float(apart) < TOLERANCE

    def test_is_refused_a_blank_sheet(self, short: NotebookNode) -> None:
        assert read_output(short, "refused").startswith("422 no_ink: ")

    def test_reads_a_number_step_by_step_as_the_service_does(self, short: NotebookNode) -> None:
        likeliest, *_ = read_output(short, "spelled").split()
        assert likeliest == "4071"
        assert "The service reads 4071," in read_output(short, "spelled")

    def test_ends_the_service_with_the_kernel(self, short: NotebookNode) -> None:
        (sheet,) = (cell.outputs[0].data["text/html"] for cell in code(short) if cell.id == "draw")
        (address,) = re.findall(r"fetch\(`(http://[\d.:]+)/predict", sheet)
        wait_until(lambda: not is_serving(address))


class TestWhatIsKept:
    def test_is_of_these_very_cells_in_order(self, kept: NotebookNode) -> None:
        assert kept.metadata == {**METADATA, "cells_sha256": hash_cells(kept)}, "make notebook"
        assert [cell.execution_count for cell in code(kept)] == list(range(1, len(code(kept)) + 1))
        assert [cell.id for cell in code(kept) if not cell.outputs] == ["setup"]
        pictures = [
            output for cell in code(kept) for output in cell.outputs if "image/png" in output.get("data", {})
        ]
        assert len(pictures) >= 13

    def test_is_of_a_full_run(self, kept: NotebookNode) -> None:
        assert read_output(kept, "load") == "55,000 to learn from, 5,000 to choose by, 10,000 to test with\n"
        assert "Epoch 5/5" in read_output(kept, "train-linear")
        assert "Epoch 10/10" in read_output(kept, "train-hidden")
        assert "Epoch 6/6" in read_output(kept, "train-conv")
        assert "service reads 3" in read_output(kept, "ask")

    def test_scores_as_the_committed_networks_do(self, kept: NotebookNode) -> None:
        committed = [
            json.loads((MODELS / name / "metrics.json").read_text())["test"]["accuracy"]
            for name in ("linear", "mlp-128")
        ]
        *dense, convolutions = accuracies(read_output(kept, "scores"))
        assert dense == pytest.approx([100 * share for share in committed], abs=0.3)
        assert convolutions > 98.5
        assert accuracies(read_output(kept, "exported")) == dense

    def test_has_no_error_no_path_of_a_machine_and_a_moderate_size(self, kept: NotebookNode) -> None:
        outputs = [output for cell in code(kept) for output in cell.outputs]
        assert {output.output_type for output in outputs} == {"stream", "display_data", "execute_result"}
        assert {output.name for output in outputs if output.output_type == "stream"} == {"stdout"}
        for cell in code(kept):
            assert not re.search(r"(?<![\w.])/\w+/", read_output(kept, cell.id))
        assert NOTEBOOK.stat().st_size < LARGEST

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx import TensorProto

from app.digits.classifier import Classifier
from app.digits.contract import Metadata
from app.digits.errors import InvalidModel
from tests.tiny import GOOD, build_tiny_model


def predict_digits(count: int) -> np.ndarray:
    """A picture whose top row has that many bright pixels."""
    picture = np.zeros((28, 28), np.uint8)
    picture[0, :count] = 255
    return picture


def test_a_model_that_conforms_to_the_contract_is_loaded() -> None:
    classifier = Classifier.load(build_tiny_model())
    scores = classifier.classify(np.stack([predict_digits(count) for count in range(1, 11)]))
    assert scores.probabilities.shape == (10, 10)
    assert scores.probabilities.dtype == np.float32
    np.testing.assert_allclose(scores.probabilities.sum(axis=1), 1, atol=1e-5)
    assert scores.digit_likelihood is None
    assert (classifier.name, classifier.recipe_version) == ("tiny", "0.0.1")


def test_the_digit_likelihood_is_returned_if_the_network_estimates_it() -> None:
    scores = Classifier.load(build_tiny_model(likelihood=0.25)).classify(
        np.stack([predict_digits(1), predict_digits(2)])
    )
    assert scores.digit_likelihood is not None
    np.testing.assert_array_equal(scores.digit_likelihood, np.array([0.25, 0.25], np.float32))


def test_no_copy_of_the_file_is_kept() -> None:
    onnx = build_tiny_model()
    references = sys.getrefcount(onnx)
    loaded = Classifier.load(onnx)
    assert sys.getrefcount(onnx) == references, f"{loaded} refers to its file"


def test_one_session_serves_many_threads_and_batches_do_not_mix(classifier: Classifier) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (64, 28, 28), np.uint8)
    in_batches = classifier.classify(pictures).probabilities
    with ThreadPoolExecutor(8) as pool:
        one_by_one = list(
            pool.map(lambda picture: classifier.classify(picture[None]).probabilities[0], pictures)
        )
    np.testing.assert_allclose(np.stack(one_by_one), in_batches, atol=1e-5)


@pytest.mark.parametrize(
    ("onnx", "reason"),
    [
        (b"", "can't load it as an ONNX model"),
        (b"this is no model", "can't load it as an ONNX model"),
        (build_tiny_model()[:-40], "can't load it as an ONNX model"),
        (build_tiny_model(metadata={}), "lacks 'digits.contract_version'"),
        (build_tiny_model(metadata=GOOD | {Metadata.CONTRACT_VERSION: "0"}), "exported for version 0"),
        (build_tiny_model(input_name="input"), "its inputs are {'input'"),
        (build_tiny_model(input_type=TensorProto.FLOAT), r"tensor\(float\)"),
        (build_tiny_model(side=32), r"'batch', 32, 32"),
        (build_tiny_model(softmax=False), "do not sum to 1"),
        (build_tiny_model(output_name="scores"), "its outputs are {'scores'"),
    ],
    ids=["empty", "text", "truncated", "foreign", "older", "name", "dtype", "shape", "no-softmax", "output"],
)
def test_a_file_that_breaks_the_contract_is_refused_with_the_reason(onnx: bytes, reason: str) -> None:
    with pytest.raises(InvalidModel, match=reason):
        Classifier.load(onnx)

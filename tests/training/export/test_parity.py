from __future__ import annotations

import keras
import pytest

from tests.training.runs import QUICK, TRAINS
from training.errors import ExportError
from training.export import keras_to_onnx, parity
from training.learn.networks import NETWORKS
from training.learn.runs import Origin, Run
from training.recipe import find_recipe

pytestmark = TRAINS


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_keeps_the_contract_and_gives_the_same_answers_in_onnx(name: str) -> None:
    model = NETWORKS[name]()
    origin = Origin(recipe=find_recipe("cnn"), data_sha256="0", commit="0")
    parity.verify_equal(model, keras_to_onnx.convert(model, origin))


def test_a_network_that_the_service_would_refuse_is_refused() -> None:
    image = keras.Input((28, 28), dtype="uint8")
    model = keras.Model(
        image, keras.layers.Dense(10)(keras.layers.Flatten()(keras.layers.Rescaling(1.0)(image)))
    )
    onnx_bytes = keras_to_onnx.convert(model, Origin(recipe=QUICK, data_sha256="0", commit="0"))
    with pytest.raises(ExportError, match=r"can't be served: .* do not sum to 1"):
        parity.verify_equal(model, onnx_bytes)


def test_a_file_that_differs_from_keras_is_refused(trained: Run) -> None:
    origin = trained.read_origin()
    other = keras_to_onnx.convert(NETWORKS["mlp_128"](), origin)
    with pytest.raises(ExportError, match=r"At batch size 1, ONNX differs from Keras by"):
        parity.verify_equal(keras.models.load_model(trained.model), other)

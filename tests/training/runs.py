"""A recipe that trains in seconds, with pictures to train on: neither needs MNIST."""

from __future__ import annotations

import pytest

from tests.training.hands import draw_digits
from training.recipe import Augmentation, Recipe

# the marks of test modules that train or export
TRAINS = [
    pytest.mark.training,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # TensorFlow's and tf2onnx' own
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
QUICK = Recipe(
    name="mlp-128",
    network="mlp_128",
    epochs=3,
    batch_size=32,
    learning_rate=0.01,
    schedule="cosine",
    augmentation=Augmentation(),
    target=0.9,
)
TRAINING, VALIDATION = draw_digits(600, seed=1), draw_digits(200, seed=2)

"""The network that all peers serve: about 29 million multiply-adds, trained for one epoch of MNIST.

python -m benchmarks.peers.network FOLDER     writes FOLDER/peer/model.onnx and FOLDER/peer.keras
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import keras
import onnx
from keras import layers

from app.digits.contract import CLASSES, INPUT, PROBABILITIES, SIDE
from training.data.mnist import find, load_training
from training.export.keras_to_onnx import convert
from training.export.onnx_graph import count_multiply_adds
from training.export.parity import verify_equal
from training.learn.runs import Origin, get_current_commit
from training.recipe import Recipe

RECIPE: Final = Recipe(
    name="peer", network="peer", epochs=1, batch_size=128, learning_rate=0.001, target=0.97
)


def build() -> keras.Model:
    """Return the untrained network: pairs of convolutions, as in most tutorials."""
    image = keras.Input((SIDE, SIDE), dtype="uint8", name=INPUT)
    x = layers.Reshape((SIDE, SIDE, 1))(layers.Rescaling(1 / 255)(image))
    for filters in (40, 80):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    probabilities = layers.Dense(CLASSES, activation="softmax", name=PROBABILITIES)(layers.Flatten()(x))
    return keras.Model(image, probabilities, name=RECIPE.network)


def main() -> None:
    """Train the network, and write both files."""
    folder = Path(sys.argv[1])
    keras.utils.set_random_seed(RECIPE.seed)
    training, validation = load_training(find(None))
    model = build()
    optimizer = keras.optimizers.Adam(RECIPE.learning_rate)
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(training.pictures, training.digits, batch_size=RECIPE.batch_size, verbose=2)
    _, accuracy = model.evaluate(validation.pictures, validation.digits, batch_size=500, verbose=0)
    if accuracy < RECIPE.target:
        sys.exit(f"The accuracy on validation is {accuracy:.1%}, but must be at least {RECIPE.target:.1%}.")
    exported = convert(model, Origin(recipe=RECIPE, data_sha256=training.sha256, commit=get_current_commit()))
    verify_equal(model, exported)
    (folder / "peer").mkdir(parents=True, exist_ok=True)
    model.save(folder / "peer.keras")
    (folder / "peer" / "model.onnx").write_bytes(exported)
    millions = count_multiply_adds(onnx.load_from_string(exported)) / 1e6
    print(f"{millions:.1f} million multiply-adds, {accuracy:.2%} on validation")


if __name__ == "__main__":
    main()

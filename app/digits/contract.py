"""What training and serving agree on. Imports nothing of ours.

A network is served only if its ONNX file carries the version in `CONTRACT_VERSIONS` of its kind. Raise the
classifiers' whenever `preprocessing` brings the same digit into another canonical form, and that of the
finder or the line reader whenever it is shown the same picture differently; then train and export again.
Which part of a photograph is the digit may change without it.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

CLASSES: Final = 10  # the digits 0 to 9; the index of a probability is its digit
SIDE: Final = 28  # pixels: width and height of a canonical picture
INK_SIDE: Final = 20  # pixels: the ink's longest side in it, as in MNIST
CENTRE: Final = 14.0  # pixel coordinate of the ink's centre of mass, x and y, as in MNIST
MIN_DIGIT_LIKELIHOOD: Final = 0.5  # a picture that is at least this likely a digit counts as one

INPUT: Final = "image"  # uint8 (batch, 28, 28)
PROBABILITIES: Final = "probabilities"  # float32 (batch, 10), each row sums to 1
DIGIT_LIKELIHOOD: Final = "digit_likelihood"  # float32 (batch,), optional
BATCH: Final = "batch"  # the name of the free dimension

CLASSIFIER: Final = "classifier"  # kinds of networks: of canonical pictures,
FINDER: Final = "finder"  # of characters on a page,
LINE_READER: Final = "line-reader"  # of a line of characters
CONTRACT_VERSIONS: Final[Mapping[str, int]] = {CLASSIFIER: 4, FINDER: 3, LINE_READER: 3}

# The classes of the finder and the line reader, in order; the last one stands for all other writing.
CHARACTERS: Final = "0123456789.,-/:()+=~"
OTHER_WRITING: Final = CHARACTERS.index("~")
STRIP_HEIGHT: Final = 32  # pixels: height of the line reader's input
FINDER_STRIDE: Final = 4  # pixels of the input per cell of the finder's output
READER_STRIDE: Final = 4  # pixels of the input per frame of the line reader's output
FINDER_MULTIPLE: Final = 16  # pixels: width and height of the finder's input are multiples of this
BOX_WIDTH: Final = 16.0  # pixels: the finder's sizes are relative to this width and height
BOX_HEIGHT: Final = 24.0
# finder: float32 (batch, rows, columns, 20), log-odds that a character's centre lies in a cell
HEAT: Final = "heat"
# finder: float32 (batch, rows, columns, 4), log width and log height, and the centre's offset in x and y
BOXES: Final = "boxes"
LOGITS: Final = "logits"  # line reader: float32 (batch, frames, 21); the last class is CTC's blank

GreyPicture: TypeAlias = NDArray[np.uint8]  # (height, width), any polarity
CanonicalPicture: TypeAlias = NDArray[np.uint8]  # (28, 28), ink 255 on 0
DigitBatch: TypeAlias = NDArray[np.uint8]  # (batch, 28, 28), ink 255 on 0
Probabilities: TypeAlias = NDArray[np.float32]  # (batch, 10), each row sums to 1
Likelihoods: TypeAlias = NDArray[np.float32]  # (batch,), 1 is certainly a digit


class Metadata:
    """Keys of the ONNX file's `metadata_props`; every value is a string."""

    CONTRACT_VERSION: Final = "digits.contract_version"
    NAME: Final = "digits.name"
    VERSION: Final = "digits.version"
    RECIPE: Final = "digits.recipe"  # JSON of the recipe that trained it
    DATA_SHA256: Final = "digits.data_sha256"
    COMMIT: Final = "digits.commit"  # of the code that trained it
    PARENT: Final = "digits.parent"  # JSON: name, version, sha256 of the network that was fine-tuned
    PARAMETERS: Final = "digits.parameters"
    MULTIPLY_ADDS: Final = "digits.multiply_adds"  # for one picture
    KIND: Final = "digits.kind"  # of network; a file without it is a classifier
    CHARACTERS: Final = "digits.characters"  # of the finder and the line reader, in order

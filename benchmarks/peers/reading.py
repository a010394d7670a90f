"""What every peer runs for one picture: the same network, decoded by Pillow, and nothing else.

Needs onnxruntime, NumPy and Pillow alone, so that it can be imported in every peer's own environment.
PEER_MODEL tells the network's file.
"""

import io
import os

import numpy as np
import onnxruntime
from PIL import Image

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = 1  # one core is what each gets
_session = onnxruntime.InferenceSession(
    os.environ["PEER_MODEL"], _options, providers=["CPUExecutionProvider"]
)


def decode(picture):
    """Return the picture as uint8 (28, 28)."""
    return np.asarray(Image.open(io.BytesIO(picture)).convert("L").resize((28, 28)))


def classify(batch):
    """Return the answers for uint8 (batch, 28, 28)."""
    (probabilities,) = _session.run(None, {"image": batch})
    return [{"digit": int(row.argmax()), "probabilities": row.tolist()} for row in probabilities]


def read(picture):
    """Return the answer for one encoded picture."""
    return classify(decode(picture)[None])[0]

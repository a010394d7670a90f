"""Reads a picture, for every peer: Pillow decodes it, and the peers' network classifies it.

Needs only onnxruntime, NumPy and Pillow, so that every peer's environment can import it. The environment
variable PEER_MODEL names the network's file.
"""

import io
import os

import numpy as np
import onnxruntime
from PIL import Image

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = 1  # each peer gets one core
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

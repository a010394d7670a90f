"""What decided: how much each part of a canonical picture's ink speaks for the digit that was read.

A patch that moves over the picture erases its ink; where the digit becomes less likely, that ink spoke for it
(occlusion sensitivity: Zeiler and Fergus, 2014, https://arxiv.org/abs/1311.2901).
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .classifier import Classifier
from .contract import SIDE, CanonicalPicture, DigitBatch

HeatMap: TypeAlias = NDArray[np.float64]  # (28, 28), above 0 where ink speaks for the digit
_Patches: TypeAlias = NDArray[np.bool_]  # (patches, 28, 28), true in the patch

# Pixels, the patch's width and height: strokes are 2 to 4 wide. With 3, half of the digits lose hardly
# anything anywhere, since the network bridges the gap; with 7, the map is too coarse to tell strokes apart.
PATCH: Final = 5
# Copies that the network reads at once. A digit takes some 330 of them, and no picture more than 784, which
# take `cnn` 18 and 40 ms of processor time; all at once, they would take 30 MB.
_BATCH: Final = 64
_MIN_PROBABILITY: Final = 1e-9  # smaller ones make no difference that anybody could see


def map_heat(classifier: Classifier, picture: CanonicalPicture, digit: int) -> HeatMap:
    """Return by how much the log-odds of a digit drop, on average, if the ink around each pixel is erased.

    The patch is filled with background: the network knows pictures with less ink, but none with a grey patch.
    """
    patches = _place_patches(picture)
    copies = np.concatenate([picture[None], np.where(patches, np.uint8(0), picture)])
    batches = [copies[start : start + _BATCH] for start in range(0, len(copies), _BATCH)]
    log_odds = np.concatenate([_read_log_odds(classifier, batch, digit) for batch in batches])
    total = np.tensordot(log_odds[0] - log_odds[1:], patches, axes=1)
    return np.asarray(total / np.maximum(patches.sum(axis=0), 1))


def _place_patches(picture: CanonicalPicture) -> _Patches:
    """Return the patches around all pixels, except those with no ink to erase."""
    pixels = np.arange(SIDE)
    is_near = abs(pixels[:, None] - pixels) <= PATCH // 2
    patches = (is_near[:, None, :, None] & is_near[None, :, None, :]).reshape(-1, SIDE, SIDE)
    return patches[(patches & (picture > 0)).any(axis=(1, 2))]


def _read_log_odds(classifier: Classifier, batch: DigitBatch, digit: int) -> NDArray[np.float64]:
    probabilities = classifier.classify(batch).probabilities.astype(np.float64)
    others = np.delete(probabilities, digit, axis=1).sum(axis=1)  # more precise than 1 - the digit's own
    own, rest = np.log(np.maximum((probabilities[:, digit], others), _MIN_PROBABILITY))
    return np.asarray(own - rest)

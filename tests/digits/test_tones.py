from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.typing import NDArray

from app.digits import tones
from app.digits.components import label_components, mask_components
from app.digits.scaling import shrink

PICTURES = nps.arrays(np.uint8, nps.array_shapes(min_dims=2, max_dims=2, max_side=40))


@given(PICTURES, st.floats(0, 100))
def test_medians_and_percentiles_equal_numpys(pixels: NDArray[np.uint8], percent: float) -> None:
    counts = tones.histogram(pixels)
    assert tones.median(counts) == np.median(pixels)
    assert tones.percentile(counts, percent) == pytest.approx(np.percentile(pixels, percent), abs=1e-9)
    assert tones.mean_and_deviation(counts) == pytest.approx((pixels.mean(), pixels.std()), abs=1e-6)


@given(PICTURES)
def test_the_threshold_splits_the_pixels_as_opencvs_does(pixels: NDArray[np.uint8]) -> None:
    opencvs, _ = cv2.threshold(pixels, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    ours = tones.otsu_threshold(tones.histogram(pixels))

    def between(threshold: float) -> float:
        low, high = pixels[pixels <= threshold], pixels[pixels > threshold]
        return low.size * high.size * (low.mean() - high.mean()) ** 2 if low.size and high.size else 0.0

    assert between(ours) == pytest.approx(between(opencvs), rel=1e-4)


@given(PICTURES, st.integers(1, 6))
def test_the_border_is_the_picture_without_its_inner_part(pixels: NDArray[np.uint8], rim: int) -> None:
    inner = np.zeros(pixels.shape, np.bool_)
    inner[rim:-rim, rim:-rim] = True
    if min(pixels.shape) > 2 * rim:
        expected = np.bincount(pixels[~inner], minlength=256)
        np.testing.assert_array_equal(tones.border_histogram(pixels, width=rim), expected)


@given(PICTURES)
def test_components_equal_opencvs(pixels: NDArray[np.uint8]) -> None:
    mask = (pixels > 200).astype(np.uint8)
    labels, stats = label_components(mask)
    _, _, expected, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    assert sorted(map(tuple, stats[1:].tolist())) == sorted(map(tuple, expected[1:].tolist()))
    for row, (left, top, width, height, area) in enumerate(stats[1:].tolist()):
        own = mask_components(labels, np.arange(len(stats) - 1) == row)
        assert own.sum() == area
        assert cv2.boundingRect(own) == (left, top, width, height)


@pytest.mark.parametrize(
    "size", [(1, 1), (4, 3000), (100, 100), (256, 192), (300, 200), (1000, 750), (4032, 3024)]
)
def test_a_copy_fits_the_requested_side_and_keeps_shape_and_tone(size: tuple[int, int]) -> None:
    width, height = size
    slope = np.linspace(0, 250, width).astype(np.uint8)
    copy = shrink(np.tile(slope, (height, 1)), 128)
    assert max(copy.shape) == min(128, max(size))
    assert copy.shape[1] / copy.shape[0] == pytest.approx(width / height, rel=0.05) or min(copy.shape) == 1
    assert copy.mean() == pytest.approx(slope.mean(), abs=3)
    assert copy.mean(axis=0)[-1] >= copy.mean(axis=0)[0]

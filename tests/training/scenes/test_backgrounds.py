from __future__ import annotations

import numpy as np
import pytest

from training.scenes import backgrounds
from training.scenes.backgrounds import draw_dark_ink

SIZE = (40, 120)


@pytest.mark.parametrize(
    "draw",
    [
        backgrounds.draw_cheque,
        backgrounds.draw_desk,
        lambda size, rng: backgrounds.draw_paper(size, rng, unit=20, ruled=1.0),
    ],
)
def test_grounds_have_their_size_and_come_again(draw: backgrounds.DrawGround) -> None:
    grounds = [draw(SIZE, np.random.default_rng(3)) for _ in range(2)]
    assert grounds[0].shape == SIZE
    assert np.array_equal(grounds[0], grounds[1])
    assert np.ptp(grounds[0]) > 1


def test_the_light_is_brightest_somewhere_and_never_out() -> None:
    lights = [backgrounds.draw_light(SIZE, np.random.default_rng(seed)) for seed in range(40)]
    assert all(light.shape == SIZE and light.min() > 0 for light in lights)
    assert np.median([np.ptp(light) for light in lights]) > 0.05


@pytest.mark.parametrize("level", [30.0, 90.0, 250.0])
def test_ink_can_be_told_from_its_ground(level: float) -> None:
    ground = np.full(SIZE, level, np.float32)
    for seed in range(60):
        ink = draw_dark_ink(ground, np.random.default_rng(seed))
        assert (level - ink.tone) * ink.opacity >= min(backgrounds.MIN_CONTRAST, 0.8 * level) - 4


def test_blending_covers_as_much_as_the_cover_says() -> None:
    ground, cover = np.full((1, 3), 200, np.float32), np.array([[0, 51, 255]], np.uint8)
    assert backgrounds.blend(ground, cover, 100).tolist() == [[200, 180, 100]]
    assert backgrounds.darken(ground, cover, 250).tolist() == [[200, 200, 200]]


def test_a_camera_keeps_the_size() -> None:
    scene = np.full(SIZE, 300, np.float32)
    assert backgrounds.take_picture(scene, np.random.default_rng(0), unit=20).shape == SIZE

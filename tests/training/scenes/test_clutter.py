from __future__ import annotations

import numpy as np
import pytest

from app.digits.contract import OTHER_WRITING
from tests.training.drawn import make_surface
from training.scenes import clutter
from training.scenes.handwriting import Material


def test_a_scrawl_is_other_writing(material: Material) -> None:
    surface = make_surface()
    clutter.scrawl(surface, material)
    assert [mark.label for mark in surface.marks] == [OTHER_WRITING]
    assert surface.picture.min() < 200


@pytest.mark.parametrize(
    "put_thing", [clutter.put_pen, clutter.put_ring, clutter.put_thumb, clutter.bind, clutter.sprinkle]
)
def test_things_are_seen_and_are_no_writing(material: Material, put_thing: clutter.PutThing) -> None:
    surface = make_surface(3)
    put_thing(surface, material)
    assert not surface.marks
    assert np.ptp(surface.picture) > 10


@pytest.mark.usefixtures("drawn_fonts")
@pytest.mark.parametrize("put_thing", [clutter.put_stamp, clutter.write_words])
def test_words_are_other_writing(material: Material, put_thing: clutter.PutThing) -> None:
    surface = make_surface()
    put_thing(surface, material)
    assert surface.marks
    assert all(mark.label >= 10 for mark in surface.marks)

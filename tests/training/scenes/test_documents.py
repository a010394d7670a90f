from __future__ import annotations

import numpy as np
import pytest

from app.digits.contract import OTHER_WRITING
from training.scenes.documents import SIDE, DocumentKind, clip_marks, draw_document
from training.scenes.handwriting import Material
from training.scenes.surfaces import COVERED

KINDS: list[DocumentKind] = [
    "note", "single", "form", "grid", "table", "card", "badge", "slate", "display", "label", "screen",
    "cheque", "empty",
]  # fmt: skip


@pytest.mark.usefixtures("drawn_fonts")
@pytest.mark.parametrize("kind", KINDS)
def test_a_document_of_each_kind_knows_its_characters(material: Material, kind: DocumentKind) -> None:
    rng = np.random.default_rng(1)
    drawn = [draw_document(material, rng, kind=kind) for _ in range(5)]
    assert {document.picture.shape for document in drawn} == {(SIDE, SIDE)}
    labels = np.concatenate([document.marks[:, 0] for document in drawn])
    assert set(labels) <= set(range(COVERED, OTHER_WRITING + 1))
    assert bool(((labels >= 0) & (labels < 10)).any()) == (kind != "empty")


@pytest.mark.usefixtures("drawn_fonts")
def test_equal_generators_draw_equal_documents(material: Material) -> None:
    one, other = (draw_document(material, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one.picture, other.picture)
    assert np.array_equal(one.marks, other.marks)


def test_what_the_edge_cuts_is_no_character_and_what_lies_outside_is_dropped() -> None:
    marks = np.array(
        [(3, 10, 10, 20, 30), (4, -8, 0, 2, 20), (5, 300, 0, 310, 9), (6, -2, 50, 18, 70)], np.float32
    )
    assert clip_marks(marks, 100)[:, 0].tolist() == [3, COVERED, 6]

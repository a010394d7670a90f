from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.scenes import shards
from training.scenes.handwriting import Material
from training.scenes.shards import Shelf, Shelves, draw_shard, save

# What a version draws from the samples of tests/training/drawn.py: texts, and mean grey levels. If one of
# these changes, so does the drawing: raise DRAWING_VERSION, or trainings go on with shards of two kinds.
VERSION = 1
TEXTS = [
    "",
    "",
    "31.003",
    "761",
    "78378",
    "48",
    "181929.-",
    "14408",
    "08872370",
    "5569658",
    "+3175348",
    "3390461",
]
LEVELS = {"strips": 144, "documents": 148}


@pytest.mark.usefixtures("drawn_fonts")
def test_the_version_changes_when_the_drawing_changes(material: Material) -> None:
    strips = draw_shard("strips", 0, material, split="training", count=12)
    documents = draw_shard("documents", 0, material, split="training", count=4)
    assert shards.DRAWING_VERSION == VERSION
    assert [text for group in strips for text in group.texts] == TEXTS
    for kind, groups in (("strips", strips), ("documents", documents)):
        level = float(np.mean([group.pictures.mean() for group in groups]))
        assert level == pytest.approx(LEVELS[kind], abs=1.5)  # processors round differently


@pytest.mark.usefixtures("drawn_fonts")
def test_a_shard_depends_on_its_kind_number_and_split_alone(material: Material) -> None:
    def draw(number: int, split: shards.Split) -> bytes:
        groups = draw_shard("strips", number, material, split=split, count=3)
        return b"".join(group.pictures.tobytes() for group in groups)

    assert draw(4, "training") == draw(4, "training")
    assert len({draw(4, "training"), draw(5, "training"), draw(4, "validation")}) == 3


def test_what_was_kept_is_what_was_drawn(shelves: Shelves, tmp_path: Path) -> None:
    groups = shelves.training.load("strips", 0)
    assert sum(map(len, groups)) == 24
    save(groups, tmp_path / "again.npz")
    shelf = Shelf("training", tmp_path, tmp_path, tmp_path)
    (tmp_path / "again.npz").rename(shelf.locate("strips", 7))
    for one, other in zip(groups, shelf.load("strips", 7), strict=True):
        assert np.array_equal(one.pictures, other.pictures)
        assert one.texts.tolist() == other.texts.tolist()
        assert [marks.tolist() for marks in one.marks] == [marks.tolist() for marks in other.marks]


def test_marks_are_kept_to_a_quarter_of_a_pixel(shelves: Shelves) -> None:
    marks = np.concatenate(
        [marks for group in shelves.training.load("documents", 0) for marks in group.marks]
    )
    assert marks[:, 0].min() >= -1
    assert np.array_equal(marks[:, 0], marks[:, 0].round())
    assert np.abs(marks[:, 1:]).max() < 512  # half precision keeps quarters up to there


def test_only_what_is_missing_is_drawn_kinds_in_turns(shelves: Shelves) -> None:
    missing = list(shelves.training._list_missing({"strips": 4, "documents": 3}))  # noqa: SLF001
    assert missing == [("strips", 2), ("documents", 2), ("strips", 3)]


def test_nothing_is_fetched_where_all_is_drawn(shelves: Shelves, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIGITS_FONTS", "/nowhere")
    monkeypatch.setenv("PATH", "")
    assert shelves.training.draw_missing({"strips": 2, "documents": 2}) == 0
    assert len(shelves.training.load_or_draw("strips", 1)) >= 1


@pytest.mark.mnist
def test_shards_lie_in_a_folder_of_their_version(
    mnist_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strokes_folder = tmp_path / "strokes"
    strokes_folder.mkdir()
    monkeypatch.setenv("DIGITS_STROKES", str(strokes_folder))
    found = []
    for content in (b"one", b"two"):
        for name in ("unipen", "uji"):
            (strokes_folder / f"{name}.npz").write_bytes(content)
        found.append(shards.open_shelves(mnist_file, folder=tmp_path))
    assert found[0].training.folder != found[1].training.folder
    assert found[0].sha256 != found[1].sha256
    assert found[0].training.locate("strips", 3).name == "strips-training-0003.npz"

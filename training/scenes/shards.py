"""Strips and documents on disk, in shards that are drawn once, by all cores, and shown in every epoch.

A shard is drawn from its kind and number alone, so the same ones come out whatever the number of cores, and a
drawing that was stopped goes on where it was. They lie in a folder of their own for each version of the
drawing and each state of the strokes and digits: a changed drawing never mixes with an earlier one.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from app.digits.process import set_up_process
from training.data import fonts, mnist, strokes
from training.files import open_draft
from training.recipe import ShardKind
from training.scenes.documents import draw_document
from training.scenes.handwriting import Material
from training.scenes.strips import Marks, draw_strip

Split: TypeAlias = Literal["training", "validation"]

DRAWING_VERSION: Final = (
    1  # raise it with every change of what is drawn: tests/training/scenes/test_shards.py
)
SHARD_SIZES: Final[dict[ShardKind, int]] = {"strips": 2000, "documents": 500}  # pictures: some ten seconds
_SEEDS: Final = {"strips": 0, "documents": 1, "training": 0, "validation": 1}


@dataclass(frozen=True)
class Group:
    """Pictures of one size, with what is in them."""

    pictures: NDArray[np.uint8]  # (pictures, height, width)
    marks: tuple[Marks, ...]  # of each picture
    texts: NDArray[np.str_]  # of each strip; empty for documents

    def __len__(self) -> int:
        return len(self.pictures)

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> Group:
        """Return some of its pictures."""
        return Group(self.pictures[rows], tuple(self.marks[row] for row in rows), self.texts[rows])


@dataclass(frozen=True)
class Shelf:
    """Where shards of one split lie, and what they are drawn from."""

    split: Split
    mnist_file: Path
    strokes_folder: Path
    folder: Path

    def locate(self, kind: ShardKind, number: int) -> Path:
        """Return the file of a shard, drawn or not."""
        return self.folder / f"{kind}-{self.split}-{number:04d}.npz"

    def load(self, kind: ShardKind, number: int) -> list[Group]:
        """Return a shard's pictures, by their size."""
        with np.load(self.locate(kind, number)) as archive:
            return [_unpack(archive, width) for width in archive["widths"].tolist()]

    def load_or_draw(self, kind: ShardKind, number: int) -> list[Group]:
        """Return a shard's pictures, drawn now if they were not before."""
        if not self.locate(kind, number).exists():
            fonts.fetch()
            _draw_to_file(self, (kind, number))
        return self.load(kind, number)

    def draw_missing(self, counts: dict[ShardKind, int], *, processes: int | None = None) -> int:
        """Draw the shards that are not there yet; return how many pictures that were.

        Raises:
            DataError: fonts or strokes are missing.
        """
        tasks = list(self._list_missing(counts))
        if not tasks:
            return 0
        fonts.fetch()
        # spawned, since a fork of a process that runs TensorFlow's threads can hang
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes or os.cpu_count(), context, set_up_process) as workers:
            drawing = workers.map(partial(_draw_to_file, self), tasks)
            return sum(track(drawing, f"Drawing {self.split} shards", total=len(tasks), transient=True))

    def _list_missing(self, counts: dict[ShardKind, int]) -> Iterator[tuple[ShardKind, int]]:
        """Yield what is not there yet, kinds in turns: training may go on with the first of each."""
        tasks = [(number / count, kind, number) for kind, count in counts.items() for number in range(count)]
        for _, kind, number in sorted(tasks):
            if not self.locate(kind, number).exists():
                yield kind, number


@dataclass(frozen=True)
class Shelves:
    """Shards to train on and to choose by, and the hash of all that they are drawn from."""

    training: Shelf
    validation: Shelf
    sha256: str


def open_shelves(mnist_file: Path, *, folder: Path | None = None) -> Shelves:
    """Return where shards lie: `folder`, else `DIGITS_DRAWINGS`, else the user's cache.

    Raises:
        DataError: the strokes are missing.
    """
    digest = hashlib.sha256(f"{DRAWING_VERSION} {mnist.SHA256['x_train']}".encode())
    for file in strokes.find_files().values():
        digest.update(strokes.hash_file(file).encode())
    version = f"{DRAWING_VERSION}-{digest.hexdigest()[:12]}"
    place = (folder or find_folder()) / version
    shelves = {
        split: Shelf(split, mnist_file.resolve(), strokes.find_folder().resolve(), place)
        for split in ("training", "validation")
    }
    return Shelves(**shelves, sha256=digest.hexdigest())


def find_folder() -> Path:
    """Return where shards are kept: `DIGITS_DRAWINGS`, else a folder of the user's cache."""
    named = os.environ.get("DIGITS_DRAWINGS")
    return Path(named) if named else Path.home() / ".cache" / "digits" / "drawings"


def draw_shard(kind: ShardKind, number: int, material: Material, *, split: Split, count: int) -> list[Group]:
    """Draw the pictures of a shard, grouped by their size."""
    rng = np.random.default_rng((_SEEDS[kind], _SEEDS[split], number))
    if kind == "strips":
        strips = [draw_strip(material, rng) for _ in range(count)]
        drawn = [(strip.picture, strip.marks, strip.text) for strip in strips]
    else:
        documents = [draw_document(material, rng) for _ in range(count)]
        drawn = [(document.picture, document.marks, "") for document in documents]
    return list(_group(drawn))


def save(groups: Iterable[Group], file: Path) -> None:
    """Write a shard in one step."""
    groups = list(groups)
    arrays: dict[str, Any] = {"widths": np.array([group.pictures.shape[2] for group in groups])}
    for group in groups:
        width = group.pictures.shape[2]
        arrays |= {
            f"pictures{width}": group.pictures,
            f"texts{width}": group.texts,
            f"counts{width}": np.array([len(marks) for marks in group.marks], np.int32),
            f"marks{width}": np.concatenate(group.marks).astype(np.float16),  # to an eighth of a pixel
        }
    with open_draft(file) as draft:
        np.savez(draft, **arrays)


def _unpack(archive: np.lib.npyio.NpzFile, width: int) -> Group:
    marks = archive[f"marks{width}"].astype(np.float32)
    ends = np.cumsum(archive[f"counts{width}"])[:-1]
    return Group(archive[f"pictures{width}"], tuple(np.split(marks, ends)), archive[f"texts{width}"])


def _group(drawn: Iterable[tuple[NDArray[np.uint8], Marks, str]]) -> Iterator[Group]:
    by_width = defaultdict(list)
    for one in drawn:
        by_width[one[0].shape[1]].append(one)
    for _, ones in sorted(by_width.items()):
        pictures, marks, texts = zip(*ones, strict=True)
        yield Group(np.stack(pictures), marks, np.array(texts))


def _draw_to_file(shelf: Shelf, task: tuple[ShardKind, int]) -> int:
    kind, number = task
    shelf.folder.mkdir(parents=True, exist_ok=True)
    material = _load_material(shelf.split, shelf.mnist_file, shelf.strokes_folder)
    save(
        draw_shard(kind, number, material, split=shelf.split, count=SHARD_SIZES[kind]),
        shelf.locate(kind, number),
    )
    return SHARD_SIZES[kind]


@cache
def _load_material(split: Split, mnist_file: Path, strokes_folder: Path) -> Material:
    training, validation = mnist.load_training(mnist_file)
    samples = strokes.load(strokes_folder)
    if split == "training":
        return Material.of(samples.training, training)
    return Material.of(samples.validation, validation)


def measure_speed(shelf: Shelf, kind: ShardKind, *, count: int = 200) -> float:
    """Return how many pictures one core draws a second of its time."""
    material = _load_material(shelf.split, shelf.mnist_file, shelf.strokes_folder)
    draw_shard(kind, 0, material, split=shelf.split, count=20)  # fonts are loaded once
    start = time.process_time()
    draw_shard(kind, 1, material, split=shelf.split, count=count)
    return count / (time.process_time() - start)

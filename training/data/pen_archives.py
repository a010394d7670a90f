"""Pen strokes from the archives that publish them: downloaded, checked, and brought into one form.

UNIPEN train_r01_v07: Zenodo record 1195803; UJIpenchars2: UCI data set 177. Both are CC BY 4.0.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from training.data import strokes
from training.data.downloads import download, has_hash
from training.data.strokes import DIGITS, Line, Sample, Writer
from training.errors import DataError
from training.files import open_draft, write_atomically

UNIPEN_RECORD: Final = "https://zenodo.org/api/records/1195803"  # says the MD5 of its files
UNIPEN_URL: Final = f"{UNIPEN_RECORD}/files/unipen-CDROM-train_r01_v07.tgz/content"
UJI_URL: Final = "https://archive.ics.uci.edu/static/public/177/uji+pen+characters+version+2.zip"
UJI_SHA256: Final = "0881b522911b99d9922820289441b50fd3d307f71cd7f9cc70e86872424a5f90"
UJI_MEMBER: Final = "ujipenchars2.txt"
SUMS: Final = "SHA256SUMS"  # beside files that were made here

CATEGORIES: Final = ("1a", "1b", "1c", "1d")  # isolated digits, capitals, lower case, symbols
LONGEST_SIDE: Final = 1000  # units of a sample
MIN_DIGITS: Final = 5  # by which a writer's size is known
_REMEDY: Final = "Check the network, or name a folder of copies with DIGITS_STROKES."
_SEGMENT: Final = re.compile(r'\.SEGMENT\s+CHARACTER\s+(\S+)\s+\S+\s+"(.)"')
_WORD: Final = re.compile(r"WORD\s+(\S)\s+(\S+)-\d+$")


@dataclass(frozen=True)
class Recording:
    """A character as an archive has it, in units of its own tablet, y downwards."""

    label: str
    writer: str
    lines: tuple[Line, ...]

    @property
    def length(self) -> float:
        """The larger side."""
        return float(np.ptp(np.concatenate(self.lines), axis=0).max())


def fetch(*, unipen_url: str = UNIPEN_URL, uji_url: str = UJI_URL, uji_sha256: str = UJI_SHA256) -> Path:
    """Return the folder of the strokes: checked if it is there, else downloaded and brought into our form.

    Raises:
        DataError: a download failed, or a file is another one than it was.
    """
    folder = strokes.find_folder()
    if strokes.are_present():
        _check(folder)
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    _write("uji", parse_uji(_download(uji_url, "sha256", uji_sha256)), folder)
    archive = _download(unipen_url, "md5", _read_published_md5(unipen_url))
    with tempfile.TemporaryDirectory() as unpacked:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            unpack(files, Path(unpacked))
        _write("unipen", parse_unipen(Path(unpacked)), folder)
    sums = "".join(
        f"{strokes.hash_file(file)}  {file.name}\n" for file in strokes.find_files(folder).values()
    )
    write_atomically(folder / SUMS, sums.encode())
    return folder


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Write the archive's files below `folder`; those that would lie elsewhere are left out.

    `extractall(filter="data")` does so, too, but only from Python 3.11.4 on.
    """
    for member in archive:
        target = (folder / member.name).resolve()
        content = archive.extractfile(member) if member.isfile() else None
        if content is not None and target.is_relative_to(folder.resolve()):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.read())


def parse_uji(archive: bytes) -> Iterator[Recording]:
    """Yield the ASCII characters of UJIpenchars2."""
    with zipfile.ZipFile(io.BytesIO(archive)) as members:
        text = members.read(UJI_MEMBER).decode("latin-1")
    for record in re.split(r"^(?=WORD )", text, flags=re.MULTILINE):
        header, *rest = record.split("\n")
        found = _WORD.match(header.strip())
        points = [line.partition("#")[2].split() for line in rest if line.strip().startswith("POINTS")]
        lines = tuple(np.array(one, np.float32).reshape(-1, 2) for one in points if one)
        if found and found[1].isascii() and lines:
            yield Recording(found[1], found[2], lines)


def parse_unipen(root: Path) -> Iterator[Recording]:
    """Yield the isolated characters below a folder that holds UNIPEN's `data` and `include`."""
    data = next((folder for folder in root.rglob("data") if (folder / CATEGORIES[0]).is_dir()), None)
    if data is None:
        msg = f"The archive of UNIPEN holds no folder data/{CATEGORIES[0]}."
        raise DataError(msg)
    for category in CATEGORIES:
        for file in sorted((data / category).rglob("*.dat")):
            yield from _parse_session(file, data.parent / "include")


def _parse_session(file: Path, include: Path) -> Iterator[Recording]:
    """Yield what a file marks as characters; strokes are counted over all that it includes."""
    own = file.read_text("latin-1")
    names = re.findall(r"^\.INCLUDE\s+(\S+)", own, flags=re.MULTILINE)
    included = [(include / name).read_text("latin-1") for name in names if (include / name).is_file()]
    text = "\n".join([*included, own])
    writer = re.search(r"^\.WRITER_ID\s+(\S+)", text, flags=re.MULTILINE)
    lines = list(_parse_pen_downs(text))
    for components, label in _SEGMENT.findall(own):
        drawn = tuple(lines[number] for number in _parse_components(components) if number < len(lines))
        if drawn and label.isascii():
            yield Recording(label, f"{file.parts[-2]}/{writer[1] if writer else file.stem}", drawn)


def _parse_pen_downs(text: str) -> Iterator[Line]:
    for part in re.split(r"^\.PEN_DOWN", text, flags=re.MULTILINE)[1:]:
        rows = [row.split()[:2] for row in re.split(r"^\.", part, flags=re.MULTILINE)[0].splitlines()]
        points = [(float(row[0]), -float(row[1])) for row in rows if len(row) > 1]  # UNIPEN's y grows upwards
        if points:
            yield np.array(points, np.float32)


def _parse_components(text: str) -> Iterator[int]:
    """Yield the numbers of strokes such as 0-1,4; points within one, after a colon, are not looked at."""
    for part in text.split(","):
        first, _, last = part.partition("-")
        start, end = (int(number.partition(":")[0]) for number in (first, last or first))
        yield from range(start, end + 1)


def _write(source: str, recordings: Iterable[Recording], folder: Path) -> None:
    """Write recordings as `strokes` reads them."""
    by_writer: Mapping[str, list[Recording]] = defaultdict(list)
    for recording in recordings:
        by_writer[recording.writer].append(recording)
    samples = [
        sample
        for number, (_, own) in enumerate(sorted(by_writer.items()))
        for sample in _scale_recordings(own, Writer(source, number))
    ]
    if not samples:
        msg = f"The archive of {source} holds no character that can be read."
        raise DataError(msg)
    lines = [line for sample in samples for line in sample.lines]
    with open_draft(folder / f"{source}.npz") as draft:
        np.savez_compressed(
            draft,
            points=np.rint(np.concatenate(lines)).astype(np.int16),
            stroke_starts=np.cumsum([0, *map(len, lines)], dtype=np.int32),
            sample_starts=np.cumsum([0, *(len(sample.lines) for sample in samples)], dtype=np.int32),
            label=np.array([sample.label for sample in samples]),
            kind=np.array([sample.kind for sample in samples]),
            writer=np.array([sample.writer.number for sample in samples], np.int32),
            size=np.array([sample.size for sample in samples], np.float16),
            bottom=np.array([sample.bottom for sample in samples], np.float16),
        )


def _scale_recordings(recordings: Sequence[Recording], writer: Writer) -> Iterator[Sample]:
    """Scale a writer's characters to one length, and note how long they were beside his digits."""
    digits = [one.length for one in recordings if one.label in DIGITS]
    usual = float(np.median(digits)) if len(digits) >= MIN_DIGITS else float("nan")
    for one in recordings:
        scale = LONGEST_SIDE / max(one.length, 1.0)
        corner = np.concatenate(one.lines).min(axis=0)
        lines = tuple((line - corner) * np.float32(scale) for line in one.lines)
        sample = Sample(one.label, _find_kind(one.label), writer, lines, one.length / usual, float("nan"))
        # a dot of one point has no length to be scaled to
        yield sample if one.length else replace(sample, lines=lines[:1])


def _find_kind(label: str) -> str:
    if label.isalpha():
        return "capital" if label.isupper() else "lower"
    return "digit" if label in DIGITS else "symbol"


def _check(folder: Path) -> None:
    """Compare files with what they were when they were published, or made here."""
    known = set(strokes.SHA256.values())
    if (folder / SUMS).exists():
        known |= {line.split()[0] for line in (folder / SUMS).read_text().splitlines()}
    for file in strokes.find_files(folder).values():
        if strokes.hash_file(file) not in known:
            msg = f"{file} is not the file that it was, its SHA-256 differs. Delete it and fetch it again."
            raise DataError(msg)


def _read_published_md5(url: str) -> str:
    """Return the MD5 that the record says of a file."""
    record, _, name = url.removesuffix("/content").partition("/files/")
    files = json.loads(_read(record))["files"]
    checksum: str = next(file["checksum"] for file in files if file["key"] == name)
    return checksum.removeprefix("md5:")


def _download(url: str, algorithm: str, expected: str) -> bytes:
    content = _read(url)
    if not has_hash(content, algorithm, expected):
        msg = f"{url} sent another file than it published. {_REMEDY}"
        raise DataError(msg)
    return content


def _read(url: str) -> bytes:
    return download(url, name=url, remedy=_REMEDY)

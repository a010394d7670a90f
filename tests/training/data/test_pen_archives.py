"""Archives in the form of the published ones, made here: the real ones are 100 MB."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.training.file_server import serve_files
from training.data import pen_archives, strokes
from training.errors import DataError

UJI = """
//
WORD 7 trn_UJI_W01-01
  NUMSTROKES 2
  POINTS 3 # 10 10 60 10 30 90
  POINTS 2 # 20 50 55 45
WORD , trn_UJI_W01-01
  NUMSTROKES 1
  POINTS 2 # 5 80 3 95
WORD ñ trn_UJI_W02-02
  NUMSTROKES 1
  POINTS 2 # 0 0 9 9
"""
HEADER = ".VERSION 1.0\n.COORD X Y\n"
SESSION = """.WRITER_ID somebody
.PEN_DOWN
\t0\t0
\t0\t100
.PEN_UP
.PEN_DOWN
\t40\t10
\t80\t10
\t60\t90
.PEN_UP
.PEN_DOWN
\t5\t5
.PEN_UP
"""
MARKED = """.VERSION 1.0
.INCLUDE x/x.doc
.INCLUDE x/1.dat
.SEGMENT CHARACTER 0 ? "1"
.SEGMENT CHARACTER 0-1 OK "4"
.SEGMENT CHARACTER 2 ? "."
"""


def pack_uji() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("ujipenchars2.txt", UJI.encode("latin-1"))
    return packed.getvalue()


def pack_unipen() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        files = {"data/1a/x/1.dat": MARKED, "include/x/x.doc": HEADER, "include/x/1.dat": SESSION}
        for name, text in files.items():
            member = tarfile.TarInfo(f"CDROM/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def fetch_from(server: str, *, uji_sha256: str | None = None) -> Path:
    return pen_archives.fetch(
        unipen_url=f"{server}/records/1/files/unipen.tgz/content",
        uji_url=f"{server}/uji.zip",
        uji_sha256=uji_sha256 or hashlib.sha256(pack_uji()).hexdigest(),
    )


def publish(md5: str | None = None) -> dict[str, bytes]:
    unipen = pack_unipen()
    checksum = md5 or hashlib.md5(unipen).hexdigest()  # noqa: S324  as the record publishes it
    record = {"files": [{"key": "unipen.tgz", "checksum": f"md5:{checksum}"}]}
    return {
        "/records/1": json.dumps(record).encode(),
        "/records/1/files/unipen.tgz/content": unipen,
        "/uji.zip": pack_uji(),
    }


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIGITS_STROKES", str(tmp_path / "strokes"))
    return tmp_path / "strokes"


def test_both_archives_are_fetched_once_into_one_form(empty: Path) -> None:
    with serve_files(publish()) as server:
        assert fetch_from(server) == empty
    assert pen_archives.fetch(unipen_url="http://127.0.0.1:9", uji_url="http://127.0.0.1:9") == empty
    uji = list(strokes.read_samples(empty / "uji.npz", "uji"))
    assert [(sample.label, sample.kind) for sample in uji] == [("7", "digit"), (",", "symbol")]
    assert [len(line) for line in uji[0].lines] == [3, 2]
    unipen = list(strokes.read_samples(empty / "unipen.npz", "unipen"))
    assert [sample.label for sample in unipen] == ["1", "4", "."]
    assert all(np.concatenate(sample.lines).min() == 0 for sample in unipen)


def test_unipens_y_is_turned_to_grow_downwards(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(pack_unipen())) as archive:
        pen_archives.unpack(archive, tmp_path)
    one = next(recording for recording in pen_archives.parse_unipen(tmp_path) if recording.label == "1")
    assert one.lines[0][:, 1].tolist() == [0, -100]


def test_another_file_than_was_published_is_not_kept(empty: Path) -> None:
    with serve_files(publish()) as server, pytest.raises(DataError, match="sent another file"):
        fetch_from(server, uji_sha256="0" * 64)
    with serve_files(publish(md5="0" * 32)) as server, pytest.raises(DataError, match="sent another file"):
        fetch_from(server)
    assert not (empty / "unipen.npz").exists()


def test_without_a_network_the_remedy_is_named(empty: Path) -> None:
    with pytest.raises(DataError, match=r"could not be downloaded .*DIGITS_STROKES"):
        pen_archives.fetch(unipen_url="http://127.0.0.1:9", uji_url="http://127.0.0.1:9")
    assert not list(empty.iterdir())


def test_a_file_that_changed_is_refused(empty: Path) -> None:
    with serve_files(publish()) as server:
        fetch_from(server)
    (empty / "uji.npz").write_bytes(b"something else")
    with pytest.raises(DataError, match="SHA-256 differs"):
        pen_archives.fetch()


@pytest.mark.parametrize(("text", "numbers"), [("4", [4]), ("0-2,5", [0, 1, 2, 5]), ("3:2-4:17", [3, 4])])
def test_components_are_numbers_and_ranges(text: str, numbers: list[int]) -> None:
    assert list(pen_archives._parse_components(text)) == numbers  # noqa: SLF001

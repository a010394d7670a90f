"""Creates a folder of models with two versions of one of them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import onnx

from app.digits.contract import Metadata
from tests.conftest import MODELS

NEXT_RECIPE = "99.0.0"  # of the second line reader


def make_two_versions(folder: Path) -> Path:
    """Put `linear` there, and of `cnn` two versions: 1, which is `linear` under another name, and 2."""
    shutil.copytree(MODELS / "linear", folder / "linear")
    shutil.copytree(MODELS / "cnn", folder / "cnn" / "2")
    copy_with_metadata(MODELS / "linear", folder / "cnn", {Metadata.NAME: "cnn"})
    return folder


def make_two_line_readers(folder: Path) -> Path:
    """Put `cnn`, `finder` and two versions of `line-reader` there, whose recipes have different versions."""
    for name in ("cnn", "finder", "line-reader"):
        shutil.copytree(MODELS / name, folder / name)
    copy_with_metadata(MODELS / "line-reader", folder / "line-reader" / "2", {Metadata.VERSION: NEXT_RECIPE})
    return folder


def copy_with_metadata(source: Path, target: Path, metadata: Mapping[str, str]) -> None:
    """Copy a model to another folder, with other values in its metadata."""
    proto = onnx.load(source / "model.onnx")
    for member in proto.metadata_props:
        member.value = metadata.get(member.key, member.value)
    target.mkdir(exist_ok=True)
    onnx.save(proto, target / "model.onnx")

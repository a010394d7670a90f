"""Creates a folder of models with two versions of one of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx

from app.digits.contract import Metadata
from tests.conftest import MODELS


def make_two_versions(folder: Path) -> Path:
    """Put `linear` there, and of `cnn` two versions: 1, which is `linear` under another name, and 2."""
    shutil.copytree(MODELS / "linear", folder / "linear")
    shutil.copytree(MODELS / "cnn", folder / "cnn" / "2")
    proto = onnx.load(MODELS / "linear" / "model.onnx")
    for member in proto.metadata_props:
        if member.key == Metadata.NAME:
            member.value = "cnn"
    onnx.save(proto, folder / "cnn" / "model.onnx")
    return folder

"""PP-OCRv6 small, as `rapidocr` brings it: its preprocessing, its detection and its recogniser.

Three things differ from `RapidOCR()`. The recogniser may read digits alone: other characters are masked in
the output of its network, before CTC takes the likeliest. Text is taken to stand upright: the network that
turns lines that are upside down takes some digits for such lines (of 108 cheques, 89 instead of 95 were
read right with it). And onnxruntime gets one thread, as in the service.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from app.digits.process import set_up_process
from benchmarks.rivals.readers import NOTHING, Reader, Reading
from benchmarks.rivals.sets import is_single_line
from training.data.real_sets import UploadSet

ONE_THREAD: Final = {
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    "Global.log_level": "error",  # not a line for each picture without text
}
# How PaddleOCR itself prepares pictures. RapidOCR enlarges them until the shorter side has 736 pixels, which
# takes many times as long and finds fewer of the cheques' numbers.
PADDLE_SETTINGS: Final = {
    "Det.limit_side_len": 64,
    "Det.mean": [0.485, 0.456, 0.406],
    "Det.std": [0.229, 0.224, 0.225],
    "Det.use_dilation": False,
}
MIN_DETECTED_SIDE: Final = 64  # pixels: in a smaller picture there is nothing to find
BLANK: Final = 0  # CTC's class for no character, the first
Decode = Callable[..., Any]


def build_readers() -> list[Reader]:
    """Return PP-OCR with detection, in two settings, and the recogniser alone.

    Raises:
        ModuleNotFoundError: rapidocr is not installed.
    """
    engine = _load_engine({})
    paddle_engine = _load_engine(PADDLE_SETTINGS)
    return [
        Reader("PP-OCR", lambda upload: _read(engine, upload, detect=True), has_large_pictures),
        Reader(
            "PP-OCR, PaddleOCR's settings",
            lambda upload: _read(paddle_engine, upload, detect=True),
            has_large_pictures,
        ),
        Reader(
            "PP-OCR, recognition alone",
            lambda upload: _read(engine, upload, detect=False),
            is_single_line,
        ),
    ]


def has_large_pictures(upload_set: UploadSet) -> bool:
    """Tell whether there is something to find on most pictures of a set."""
    sides = [max(picture.size) for upload in upload_set.uploads if (picture := open_picture(upload))]
    return bool(sides) and float(np.median(sides)) >= MIN_DETECTED_SIDE


def _load_engine(settings: Mapping[str, Any]) -> Any:  # noqa: ANN401  a RapidOCR, which .venv-dev lacks
    set_up_process()
    from rapidocr import RapidOCR  # noqa: PLC0415  after `set_up_process`, and only in .venv-rivals

    engine = RapidOCR(params={**ONE_THREAD, **settings})
    blank = np.full((48, 320, 3), 255, np.uint8)
    engine(
        blank, use_det=False, use_cls=False, use_rec=True
    )  # the recogniser is loaded when it is first used
    recogniser = engine.text_rec
    recogniser.postprocess_op = allow_digits_alone(
        recogniser.postprocess_op, recogniser.postprocess_op.character
    )
    return engine


def allow_digits_alone(decode: Decode, characters: Sequence[str]) -> Decode:
    """Return a CTC decoder that gives every character but digits and the blank no score.

    Args:
        decode: takes scores (lines, frames, characters).
        characters: of these scores.
    """
    is_allowed = np.array([character in set("0123456789") for character in characters])
    is_allowed[BLANK] = True

    def decode_digits(scores: NDArray[np.float32], *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        return decode(np.where(is_allowed, scores, 0), *arguments, **options)

    return decode_digits


def _read(engine: Any, upload: bytes, *, detect: bool) -> Reading:  # noqa: ANN401  see `_load_engine`
    picture = open_picture(upload)
    if picture is None:
        return NOTHING
    result = engine(picture, use_det=detect, use_cls=False, use_rec=True)
    return join_lines(result.txts or (), result.scores or ())


def open_picture(upload: bytes) -> Image.Image | None:
    """Decode an upload for RapidOCR, which leaves palettes and a camera's orientation as they are."""
    try:
        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(upload)))
        return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    except OSError:  # which Pillow's errors are
        return None


def join_lines(texts: Sequence[str], scores: Sequence[float]) -> Reading:
    """Join the lines that RapidOCR read.

    Its score of a line is the mean of the scores of its characters; the confidence is that of all of them.
    """
    lengths = [len(text) for text in texts]
    if not any(lengths):
        return NOTHING
    return Reading("".join(texts), float(np.average(scores, weights=lengths)))

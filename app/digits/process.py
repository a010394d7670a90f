"""Settings of Pillow, OpenCV and onnxruntime that apply to a whole process.

Nothing is set at import. Code that starts a process to read pictures calls `set_up_process`, and so does code
that loads a network, because onnxruntime reads the environment when it is imported.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

import cv2
from PIL import Image, _imaging


def set_up_process() -> None:
    """Configure the libraries; calling this again changes nothing."""
    # onnxruntime's Linux wheels (1.29 and later) phone home unless this is set before they are imported
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    Image.MAX_IMAGE_PIXELS = None  # `images.identify` checks the header against a limit of its own
    cv2.setNumThreads(1)  # pictures are small: threads would wait for each other
    # OpenCV would otherwise print a line about every damaged file that anybody sends
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    _silence_libtiff()


def _silence_libtiff() -> None:
    """Keep Pillow's libtiff from printing a line about every damaged file; Pillow has no option for it."""
    with suppress(OSError, AttributeError):  # it is linked statically, or not at all
        library = ctypes.CDLL(_imaging.__file__)
        for set_handler in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            set_handler.restype = ctypes.c_void_p
            set_handler(None)

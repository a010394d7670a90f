"""What Pillow, OpenCV and onnxruntime hold for a whole process.

Nothing is set at import. Whoever starts a process that reads pictures calls `set_up_process`; so does
whatever loads a network, since onnxruntime reads the environment when it is imported.
"""

from __future__ import annotations

import os

import cv2
from PIL import Image


def set_up_process() -> None:
    """Set the limits and the manners of the libraries; to do so again changes nothing."""
    # onnxruntime's Linux wheels (1.29 and later) phone home unless this is set before they are imported
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    Image.MAX_IMAGE_PIXELS = None  # `images.identify` checks the header against a limit of its own
    cv2.setNumThreads(1)  # pictures are small: threads would wait for each other
    # OpenCV would write a line of its own about every damaged file, whoever sends it
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

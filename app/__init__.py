"""The service: reads pictures of handwritten digits over HTTP."""

import os

__version__ = "1.0.0"

# onnxruntime's Linux wheels (1.29 and later) phone home unless this is set before they are
# imported, and every module that imports them lies below this package.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

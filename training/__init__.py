"""The workshop: trains, exports and evaluates the networks that the service serves."""

import os

# TensorFlow prints a page of start-up notices at its default level; errors stay visible.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

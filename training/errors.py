"""Errors that a user of the training commands can solve. The command line prints each as one line.

TrainingError
├── DataError      a data set is missing, damaged or not the expected one
├── RunError       a training run is missing or unfinished, or would be overwritten
└── ExportError    the ONNX file differs from the Keras model
"""


class TrainingError(Exception):
    """A problem that the user can solve; the message says how."""


class DataError(TrainingError):
    """A data set is missing or damaged, or is not the expected one."""


class RunError(TrainingError):
    """A training run is missing or unfinished, or would be overwritten."""


class ExportError(TrainingError):
    """The exported file differs from the model that it was exported from."""

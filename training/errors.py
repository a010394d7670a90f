"""Errors that a user of the workshop can solve. The command line prints each as one line.

WorkshopError
├── DataError      a data set is missing, damaged or not the expected one
├── RunError       a training run is missing or unfinished, or would be overwritten
└── ExportError    the ONNX file differs from the Keras model
"""


class WorkshopError(Exception):
    """A problem that the user can solve; the message says how."""


class DataError(WorkshopError):
    """A data set is missing or damaged, or is not the expected one."""


class RunError(WorkshopError):
    """A training run is missing or unfinished, or would be overwritten."""


class ExportError(WorkshopError):
    """The exported file differs from the model that it was exported from."""

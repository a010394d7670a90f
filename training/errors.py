"""What can go wrong in the workshop, each told in one line.

WorkshopError
├── DataError      MNIST is missing, damaged or not MNIST
├── RunError       a training run is missing, unfinished or in the way
└── ExportError    the ONNX file does not do what the Keras model does
"""


class WorkshopError(Exception):
    """A problem that the person at the terminal can mend; its text says how."""


class DataError(WorkshopError):
    """The data set is missing, damaged, or is another one."""


class RunError(WorkshopError):
    """A training run is missing, unfinished, or would be overwritten."""


class ExportError(WorkshopError):
    """The exported file differs from the model that it was exported from."""

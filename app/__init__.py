"""The service: reads pictures of handwritten digits over HTTP."""

__version__ = "1.0.0"

"""Turns Keras models into ONNX files that the service reads, and proves that they are equal."""

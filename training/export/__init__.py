"""Converts Keras models to ONNX files for the service, and verifies that both give the same answers."""

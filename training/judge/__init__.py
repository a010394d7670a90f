"""Evaluates and compares exported networks through the service's own code; imports no Keras."""

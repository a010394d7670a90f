"""Measures exported networks through the service's own path, and compares them; imports no Keras."""

"""The workshop: trains, exports and evaluates the networks that the service serves."""

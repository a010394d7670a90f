"""Trains, exports and evaluates the networks that the service serves."""

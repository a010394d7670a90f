"""Trains networks: their layers, the batches, runs on disk, calibration, fine-tuning."""

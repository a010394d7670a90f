"""Trains networks: layers, batches, runs on disk, calibration and fine-tuning."""

"""Draws pictures to train and evaluate networks with: scenes, numbers, augmentation and corruptions."""

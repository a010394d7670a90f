"""Draws pictures to learn from and to be judged by: digits and numbers in scenes, bent or damaged."""

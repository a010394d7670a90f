"""Measurements, which are no tests: each prints medians, to be compared as ratios."""

"""Measures speed and memory. Every benchmark prints medians, whose ratios can be compared."""

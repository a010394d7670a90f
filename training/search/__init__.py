"""Searches hyper-parameters: what may vary, the trials on disk, and the search itself."""

"""The command `digits`, which is `python -m app` in the repository."""

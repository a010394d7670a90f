"""Compares other ways to serve a network over HTTP, each used as in its own documentation."""

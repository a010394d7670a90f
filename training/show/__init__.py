"""Builds tables for the terminal, and draws figures."""

"""Paths, problems and keys of the ASGI scope, which all layers share. Imports only the core's errors."""

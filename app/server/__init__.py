"""Processes and sockets: how the application is started, reached, reloaded and ended."""

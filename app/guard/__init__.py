"""Protection in pure ASGI that runs before a body is read."""

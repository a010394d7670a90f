"""ASGI middleware that accepts or refuses a request before its body is read."""

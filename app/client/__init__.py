"""`python -m app.client PATH…`: has a running service read pictures.

It needs httpx, and nothing of the service; with rich, it shows a progress bar.
"""

"""`python -m app.client FOLDER --csv out.csv`: has a running service read a folder of pictures.

It needs httpx and rich, and nothing of the service.
"""

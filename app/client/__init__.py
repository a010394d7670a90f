"""`python -m app.client FOLDER --csv out.csv`: asks a running service to read a folder of pictures.

Needs httpx and rich, and nothing of the service, which knows nothing of it.
"""

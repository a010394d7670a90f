"""Access to Label Studio, whose ML backend this service can be.

Imported only if `DIGITS_LABEL_STUDIO_URL` is set: it needs httpx, which the rest of the service does not.
"""

"""Pictures and their correct digits, stored in a database.

Imported only if `DIGITS_FEEDBACK_URL` is set: it needs SQLAlchemy, which the rest of the service does not.
"""

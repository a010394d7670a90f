"""Pictures that people have told the right digit of, kept in a database; off unless one is named.

Imported only where `DIGITS_FEEDBACK_URL` is set: it needs SQLAlchemy, which the service does not.
"""

"""`python -m app` starts the service; see `python -m app --help` for the other commands."""

import sys

from .cli.main import serve_by_default

if __name__ == "__main__":
    sys.exit(serve_by_default())

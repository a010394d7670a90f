"""Run the command, or say what is not installed."""

import sys

from .command import main

MISSING = "python -m app.client needs httpx: pip install 'httpx>=0.28'"

if __name__ == "__main__":
    try:
        sys.exit(main())
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != "httpx":
            raise
        sys.exit(f"{MISSING} ({error.name} is not installed)")

"""Run the command, or say what is not installed."""

import sys

MISSING = "python -m app.client needs httpx and rich: pip install 'httpx>=0.28' 'rich>=14.0'"

if __name__ == "__main__":
    try:
        from app.client.command import main
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in {"httpx", "rich"}:
            raise
        sys.exit(f"{MISSING} ({error.name} is not installed)")
    sys.exit(main())

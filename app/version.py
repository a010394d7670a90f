"""The version of the service and of the package."""

from typing import Final

VERSION: Final = "2.0.0"

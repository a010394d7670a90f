"""The core: bytes of a picture in, arrays and probabilities out. No HTTP, no environment, no clock."""

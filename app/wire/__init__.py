"""What the layers pass to each other: scope keys, problems, paths. Imports only the core's errors."""

"""What the layers leave for each other. Imports nothing of ours but the core's errors."""

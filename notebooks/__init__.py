"""The story for a learner, and what runs it."""

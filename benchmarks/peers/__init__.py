"""Other ways to serve the same network over HTTP, each as its own documentation shows it."""

"""The service, and the reading of many pictures, on a Ray cluster."""

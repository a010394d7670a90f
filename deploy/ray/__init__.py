"""Runs the service on a Ray cluster, and scores many pictures with Ray."""

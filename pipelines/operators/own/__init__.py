"""The user's own class in a worker process."""

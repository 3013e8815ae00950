"""LwM2M 1.0 and 1.1: clients register here, and are asked to report."""

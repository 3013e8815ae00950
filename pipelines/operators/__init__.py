"""The operators: one file each, listed in :mod:`pipelines.registry`."""
